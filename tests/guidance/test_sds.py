import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nerf3d.core import Cameras, Guidance
from nerf3d.core.schedules import Constant
from nerf3d.guidance.cfg import Conditions
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.sds import SDS
from nerf3d.guidance.text import Text
from nerf3d.guidance.timesteps import Timesteps


def at(t: int) -> Timesteps:
    return Timesteps(Constant((t + 0.5) / 100), Constant((t + 0.5) / 100))


def gradient(guidance: Guidance, images: torch.Tensor, cameras: Cameras, rng: torch.Generator | None) -> torch.Tensor:
    """For the latents of each picture, as if each were alone: the loss is a mean, and pixels are stretched by 2."""
    leaf = images.clone().requires_grad_()
    guidance(leaf, cameras, 0.0, rng)["guidance"].backward()
    return leaf.grad.permute(0, 3, 1, 2) * len(images) / 2


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_the_mean_gradient_for_a_gaussian(
    kind: str, gaussian: Callable[..., Denoiser], prompts, around: Callable[..., Cameras], rng: torch.Generator
) -> None:
    """E[w (eps_hat - eps)] = w alpha sigma (scale (x - m) / D + (1 - scale) (x - m') / D'),  D = alpha^2 s^2 + sigma^2."""
    denoiser, t, scale, count = gaussian(kind), 55, 3.0, 4000
    picture = torch.rand(1, 4, 4, 3, generator=rng).expand(count, 4, 4, 3)
    cameras = around([0.0] * count)
    config = SDS(scale=scale, weighting="variance", timesteps=at(t))
    found = gradient(config.build(denoiser, prompts(0.5, 0.4, -0.2, 0.8)), picture, cameras, rng)
    alpha, sigma = float(denoiser.schedule.alpha[t]), float(denoiser.schedule.sigma[t])
    w = sigma**2 / (alpha**2 + sigma**2)
    x = denoiser.encode(picture[:1])
    pull = [(x - m) / (alpha**2 * s**2 + sigma**2) for m, s in ((0.5, 0.4), (-0.2, 0.8))]
    expected = w * alpha * sigma * (scale * pull[0] + (1 - scale) * pull[1])
    error = found.std(0) / math.sqrt(count)
    assert ((found.mean(0) - expected[0]).abs() < 5 * error).all()
    assert expected.abs().min() > 0.0
    assert (found.mean(0) - expected[0]).abs().mean() < 0.2 * expected.abs().mean()


class Pictures:
    """A teacher that knows two pictures and nothing else: its estimate is the mean of the two, weighed by likelihood."""

    def __init__(self, denoiser: Denoiser, pictures: torch.Tensor) -> None:
        self.schedule, self.pictures = denoiser.schedule, pictures

    def __call__(self, x_t: torch.Tensor, time: torch.Tensor, text: Text) -> torch.Tensor:
        t = time.long()
        alpha, sigma = (v[t][:, None, None, None] for v in (self.schedule.alpha, self.schedule.sigma))
        apart = (x_t[:, None] - alpha[:, None] * self.pictures).flatten(2).square().sum(2)
        share = torch.softmax(-apart / (2 * sigma[:, :, 0, 0] ** 2), 1)
        return (x_t - alpha * torch.einsum("bk,kchw->bchw", share, self.pictures)) / sigma


def test_the_mean_gradient_for_two_pictures(
    gaussian: Callable[..., Denoiser], around: Callable[..., Cameras], rng: torch.Generator
) -> None:
    """Only the noise along the line between the two decides, so the mean over all noise is an integral in one variable."""
    plain, t, count = gaussian(), 70, 4000
    pictures = torch.rand(2, 3, 4, 4, generator=rng) - 0.5
    denoiser = Denoiser(Pictures(plain, pictures), plain.codec, plain.schedule)
    image = torch.rand(1, 4, 4, 3, generator=rng).expand(count, 4, 4, 3)
    nothing = Text(torch.zeros(count, 1, 1))
    config = SDS(scale=1.0, weighting="uniform", timesteps=at(t))
    found = gradient(config.build(denoiser, lambda _: Conditions(nothing, nothing)), image, around([0.0] * count), rng)

    alpha, sigma = float(plain.schedule.alpha[t]), float(plain.schedule.sigma[t])
    x = plain.encode(image[:1])[0]
    line = pictures[1] - pictures[0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    middle = float(((x - 0.5 * (pictures[0] + pictures[1])) * line).sum())
    logit = alpha / sigma**2 * (alpha * middle + sigma * float(line.norm()) * nodes)
    second = float((weights / (1 + np.exp(-logit))).sum() / weights.sum())
    expected = alpha / sigma * (x - pictures[0] - second * line)
    assert 0.05 < second < 0.95
    error = found.std(0) / math.sqrt(count)
    assert ((found.mean(0) - expected).abs() < 5 * error).all()
    assert (found.mean(0) - expected).norm() < 0.1 * expected.norm()


def test_descent_ends_at_the_wanted_mean(
    gaussian: Callable[..., Denoiser], prompts, around, rng: torch.Generator
) -> None:
    images = torch.rand(16, 4, 4, 3, generator=rng).requires_grad_()
    guidance = SDS(scale=1.0).build(gaussian(), prompts(0.5, 0.4))
    optimizer = torch.optim.Adam([images], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        guidance(images, around([0.0] * 16), 0.0, rng)["guidance"].backward()
        optimizer.step()
    assert float(images.detach().mean()) == pytest.approx(0.75, abs=0.05)  # 0.5 in [-1, 1]


def test_the_reconstruction_form_is_a_weight(gaussian, prompts, around, rng: torch.Generator) -> None:
    """|x - x_hat|^2 / 2 has the gradient sigma / alpha (eps_hat - eps)."""
    images, cameras, denoiser = torch.rand(3, 4, 4, 3, generator=rng), around([0.0] * 3), gaussian()
    config = SDS(scale=4.0, weighting="uniform", timesteps=at(60))
    told = prompts(negative_s=0.9)
    epsilon = gradient(config.build(denoiser, told), images, cameras, None)
    whole = gradient(replace(config, form="reconstruction").build(denoiser, told), images, cameras, None)
    ratio = denoiser.schedule.sigma[60] / denoiser.schedule.alpha[60]
    torch.testing.assert_close(whole, ratio * epsilon, rtol=1e-3, atol=1e-4)
    tamed = replace(config, form="reconstruction", rescale=1.0).build(denoiser, told)
    assert not torch.allclose(gradient(tamed, images, cameras, None), whole)


def test_weights_and_batches(gaussian, prompts, around, rng: torch.Generator) -> None:
    images, cameras, denoiser = torch.rand(2, 4, 4, 3, generator=rng), around([0.0, 0.0]), gaussian()
    config = SDS(scale=4.0, weighting="uniform", timesteps=at(30))
    assert isinstance(config.build(denoiser, prompts()), Guidance)
    plain = gradient(config.build(denoiser, prompts()), images, cameras, None)
    alpha_bar = denoiser.schedule.alpha[30] ** 2
    for weighting, factor in (("variance", 1 - alpha_bar), ("fantasia3d", alpha_bar.sqrt() * (1 - alpha_bar))):
        found = gradient(replace(config, weighting=weighting).build(denoiser, prompts()), images, cameras, None)
        torch.testing.assert_close(found, factor * plain)
    same = gradient(config.build(denoiser, prompts()), images, cameras, None)
    assert torch.equal(same, plain)
    stream = torch.Generator().manual_seed(7)
    one = gradient(config.build(denoiser, prompts()), images, cameras, stream)
    assert not torch.equal(one, gradient(config.build(denoiser, prompts()), images, cameras, stream))
    again = gradient(config.build(denoiser, prompts()), images, cameras, torch.Generator().manual_seed(7))
    assert torch.equal(one, again)
