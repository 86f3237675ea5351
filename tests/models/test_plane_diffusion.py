"""A diffusion whose right answers are known: for planes that are normally distributed all of it has closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.models.plane_codes import PlaneCodesConfig
from nerf3d.models.plane_denoiser import PlaneDenoiserConfig
from nerf3d.models.plane_diffusion import PlaneDiffusion, levels

PLANES = PlaneCodesConfig(features=2, resolution=4, bound=100.0)
SMALL = PlaneDenoiserConfig(channels=(8, 16), told=16)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(condition: int = 0) -> PlaneDiffusion:
    return PlaneDiffusion(SMALL, PLANES, condition, rng())


class Optimal(nn.Module):
    """The best v for numbers that are normally distributed, each by itself; a condition is their mean."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.variance = mean, deviation**2

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        alpha, sigma = (level[:, None, None, None] for level in levels(t))
        mean = self.mean if condition is None else condition[:, :1, None, None]
        share = alpha * self.variance / (alpha**2 * self.variance + sigma**2)
        x = mean + share * (x_t - alpha * mean)
        return (alpha * x_t - x) / sigma


def normal(mean: float, deviation: float) -> PlaneDiffusion:
    diffusion = made()
    diffusion.denoiser = Optimal(mean, deviation)
    return diffusion


def test_signal_and_noise_make_one() -> None:
    alpha, sigma = levels(torch.linspace(0, 1, 11))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(11))
    assert (float(alpha[0]), float(sigma[0])) == (1.0, 0.0)
    assert float(alpha[-1]) == pytest.approx(0.0, abs=1e-6)
    assert torch.all(alpha[1:] < alpha[:-1])


def ddim(deviation: float, steps: int) -> float:
    """What becomes of 1 on the way from t = 1 to 0, step by step, if all answers are the best ones and the mean is 0."""
    x_t = 1.0
    for i in range(steps):
        angle, after = (0.5 * math.pi * (1 - k / steps) for k in (i, i + 1))
        x = math.cos(angle) * deviation**2 / (math.cos(angle) ** 2 * deviation**2 + math.sin(angle) ** 2) * x_t
        e = (x_t - math.cos(angle) * x) / math.sin(angle)
        x_t = math.cos(after) * x + math.sin(after) * e
    return x_t


def test_the_best_answers_lead_to_the_distribution_they_belong_to() -> None:
    """The exact way from noise z ends at mean + deviation z, and DDIM, which is of first order, near it."""
    z = torch.randn(100, *PLANES.shape, generator=rng(1))
    for steps, off in ((25, 0.06), (100, 0.015)):
        found = normal(1.5, 0.5).sample(100, rng(1), steps=steps)
        assert torch.allclose(found, 1.5 + ddim(0.5, steps) * z, atol=1e-3)
        assert float(found.mean()) == pytest.approx(1.5, abs=0.02)
        assert float(found.std()) == pytest.approx(0.5, rel=off)


def test_planes_of_variance_1_need_one_step() -> None:
    z = torch.randn(3, *PLANES.shape, generator=rng(1))
    assert torch.allclose(normal(0.0, 1.0).sample(3, rng(1), steps=1), torch.zeros_like(z), atol=1e-5)
    assert torch.allclose(normal(0.0, 1.0).sample(3, rng(1), steps=200), z * ddim(1.0, 200), atol=1e-3)
    assert ddim(1.0, 200) == pytest.approx(1.0, abs=0.01)


def test_truncation_draws_towards_the_middle() -> None:
    whole, half = (normal(1.5, 0.5).sample(20, rng(1), truncation=share) for share in (1.0, 0.5))
    assert torch.allclose(half - 1.5, 0.5 * (whole - 1.5), atol=1e-4)


def test_planes_are_drawn_in_their_own_units_and_bound() -> None:
    planes = PlaneCodesConfig(features=2, resolution=4, bound=6.0)
    diffusion = PlaneDiffusion(SMALL, planes, 0, rng())
    diffusion.denoiser = Optimal(0.0, 0.5)
    diffusion.mean.fill_(5.0)
    diffusion.deviation.fill_(2.0)
    found = diffusion.sample(50, rng(1))
    z = torch.randn(found.shape, generator=rng(1))
    assert torch.allclose(found, (5 + 2 * ddim(0.5, 25) * z).clamp(max=6.0), atol=1e-3)
    assert float(found.max()) == 6.0


def test_the_loss_of_no_answer_is_known() -> None:
    """v = 0, as a fresh network answers: alpha sigma (alpha^2 + sigma^2 q) has the mean (1 + q) / (2 pi), and without
    alpha sigma it is (1 + q) / 2.
    """
    diffusion = made()
    diffusion.mean.fill_(1.0)
    diffusion.deviation.fill_(2.0)
    planes = 1 + 2 * math.sqrt(3) * torch.randn(600, *PLANES.shape, generator=rng(1)).sign()  # q = 3
    assert diffusion.loss(planes, None, rng(2)).item() == pytest.approx(4 / (2 * math.pi) + 0.1 * 2, rel=0.02)


def test_the_best_answers_have_the_least_loss() -> None:
    """For variance s^2 the mean square of v^ - v is s^2 / (alpha^2 s^2 + sigma^2), and weighs alpha sigma + 0.1."""
    planes = 0.5 + 0.7 * torch.randn(600, *PLANES.shape, generator=rng(1))
    alpha, sigma = levels((torch.arange(1000) + 0.5) / 1000)
    expected = ((alpha * sigma + 0.1) * 0.49 / (alpha**2 * 0.49 + sigma**2)).mean()
    best = float(normal(0.5, 0.7).loss(planes, None, rng(2)))
    assert best == pytest.approx(float(expected), rel=0.02)
    assert best < min(
        float(normal(*other).loss(planes, None, rng(2))) for other in ((0.3, 0.7), (0.5, 0.5), (0.5, 1.0))
    )


def test_the_loss_teaches_the_network_and_draws_at_the_planes() -> None:
    diffusion = made(condition=3)
    for layer in diffusion.modules():  # those that begin with 0 would hide what is behind them
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.2, generator=rng(1))
    planes = torch.randn(4, *PLANES.shape, generator=rng(1), requires_grad=True)
    diffusion.loss(planes, torch.eye(3)[[0, 1, 2, 0]], rng(2)).backward()
    silent = [name for name, p in diffusion.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0]
    assert silent == []
    assert planes.grad is not None
    assert float(planes.grad.abs().min()) > 0


def test_the_loss_draws_planes_to_what_is_usual() -> None:
    planes = torch.full((8, *PLANES.shape), 3.0, requires_grad=True)
    normal(0.0, 0.5).loss(planes, None, rng(1)).backward()
    assert planes.grad is not None
    assert float((planes.grad > 0).float().mean()) > 0.9


def test_mean_and_spread_follow() -> None:
    diffusion = made()
    planes = 3 + torch.randn(64, *PLANES.shape, generator=rng(1)) * torch.tensor([0.5, 2.0])[:, None, None]
    diffusion.track(planes)
    assert torch.allclose(diffusion.mean, planes.mean(0), atol=1e-5)
    assert diffusion.deviation.flatten().tolist() == pytest.approx([0.5, 2.0] * 3, rel=0.1)
    for _ in range(500):
        diffusion.track(planes - 4)
    assert torch.allclose(diffusion.mean, planes.mean(0) - 4, atol=0.1)
    assert diffusion.deviation.flatten().tolist() == pytest.approx([0.5, 2.0] * 3, rel=0.1)


def test_a_judge_moves_what_is_drawn() -> None:
    target = torch.linspace(-1, 1, 96).reshape(1, *PLANES.shape)
    wrong = [
        float((normal(0.0, 1.0).sample(1, rng(1), judge=judge) - target).square().mean())
        for judge in (None, lambda planes: (planes - target).square().mean())
    ]
    assert wrong[1] < 0.05 < 1 < wrong[0]


def test_guidance_goes_on_beyond_the_condition() -> None:
    diffusion = PlaneDiffusion(SMALL, PLANES, 2, rng())
    diffusion.denoiser = Optimal(0.0, 1e-3)
    told = torch.tensor([[3.0, 0.0]])
    assert float(diffusion.sample(1, rng(1), told).mean()) == pytest.approx(3.0, abs=0.01)
    assert float(diffusion.sample(1, rng(1), told, scale=2.0).mean()) == pytest.approx(6.0, abs=0.01)
    assert float(diffusion.sample(1, rng(1)).mean()) == pytest.approx(0.0, abs=0.01)


def test_it_learns_two_objects_and_which_is_which() -> None:
    objects = torch.stack([torch.full(PLANES.shape, 1.0), torch.full(PLANES.shape, -1.0)])
    objects[:, :, :, :2] *= 0.5
    diffusion = made(condition=2)
    diffusion.track(objects)
    optimizer, chance = torch.optim.Adam(diffusion.parameters()), rng(1)
    which = torch.arange(32) % 2
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 250)
        optimizer.zero_grad()
        diffusion.loss(objects[which], torch.eye(2)[which], chance).backward()
        optimizer.step()
    for kind in (0, 1):
        found = diffusion.sample(8, rng(2), torch.eye(2)[[kind] * 8])
        assert float((found - objects[kind]).square().mean().sqrt()) < 0.25
    free = diffusion.sample(32, rng(2)).mean((1, 2, 3, 4))
    assert 0.2 < float((free > 0).float().mean()) < 0.8


def test_no_condition_is_one_of_nan() -> None:
    network = SMALL.build(2, 4, 3, rng())
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.2, generator=rng(1))
    x, t = torch.randn(2, 6, 4, 4, generator=rng(2)), torch.tensor([0.2, 0.7])
    free = network(x, t)
    assert torch.equal(free, network(x, t, torch.full((2, 3), torch.nan)))
    assert not torch.allclose(free, network(x, t, torch.eye(3)[:2]), atol=1e-3)
    with pytest.raises(InputError, match="condition"):
        network(x, t, torch.zeros(2, 2))


def test_a_seed_says_all() -> None:
    one, other, third = (SMALL.build(2, 4, 0, rng(seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one)


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be halved 2 times"):
        PlaneDenoiserConfig(channels=(8, 8, 8)).build(2, 6, 0, rng())
    for config in (PlaneDenoiserConfig(channels=()), PlaneDenoiserConfig(channels=(12,)), PlaneDenoiserConfig(told=0)):
        with pytest.raises(InputError, match="multiples of 8"):
            config.build(2, 8, 0, rng())
