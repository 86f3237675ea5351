"""The critic's shapes, its dependence on pose and batch, and R1 against closed forms."""

import copy

import pytest
import torch
import torch.nn.functional as F

from nerf3d.errors import InputError
from nerf3d.models.critic import Critic, CriticBlock, CriticConfig, batch_deviation, dual, r1_penalty

TINY = CriticConfig(channels=(8, 6, 4), condition=5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, side: int = 16, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, side, side, channels, generator=rng(1))


def conditions(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 5, generator=rng(2))


@pytest.mark.parametrize(("levels", "side"), [(4, 32), (5, 64), (6, 128)])
@torch.no_grad()
def test_one_score_a_picture_at_every_size(levels, side):
    config = CriticConfig(channels=(6,) * (levels - 1) + (4,))
    assert config.resolution == side
    scores = config.build(rng())(pictures(3, side))
    assert scores.shape == (3,)
    assert float(scores.std()) > 0


@torch.no_grad()
def test_dual_input_sees_both_pictures():
    critic = CriticConfig(channels=(8, 6, 4), picture_channels=6).build(rng())
    sharp, raw = pictures(), pictures(side=8)
    both = dual(sharp, raw)
    assert both.shape == (4, 16, 16, 6)
    assert torch.equal(both[..., :3], sharp)
    torch.testing.assert_close(
        both[:, 1:-1, 1:-1, 3:],  # away from the border antialiasing changes nothing on the way up
        F.interpolate(raw.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear").permute(0, 2, 3, 1)[:, 1:-1, 1:-1],
    )
    flat = torch.full((1, 8, 8, 3), 0.25)
    torch.testing.assert_close(dual(sharp[:1], flat)[..., 3:], torch.full((1, 16, 16, 3), 0.25))
    scores = critic(both)
    assert not torch.allclose(critic(dual(sharp, 1 - raw)), scores)
    assert not torch.allclose(critic(dual(1 - sharp, raw)), scores)


@torch.no_grad()
def test_conditions_are_projected():
    """The score is the product of features with the condition's embedding, over the root of their number."""
    critic, x, c = TINY.build(rng()), pictures(), conditions()
    scores = critic(x, c)
    assert not torch.allclose(critic(x, c.roll(1, 0)), scores)
    embedded = critic.embedding(torch.zeros(4, 0), c)
    features = torch.stack([_feature(critic, x, c, k) for k in range(8)], 1)
    torch.testing.assert_close(scores, (features * embedded).sum(1) / 8**0.5)


def _feature(critic: Critic, x: torch.Tensor, c: torch.Tensor, k: int) -> torch.Tensor:
    """One feature of the pictures, read off a critic of which all other features are 0."""
    alone = copy.deepcopy(critic)
    alone.last_layer.weight[:k].zero_()
    alone.last_layer.weight[k + 1 :].zero_()
    return alone(x, c) * 8**0.5 / critic.embedding(torch.zeros(4, 0), c)[:, k]


@torch.no_grad()
def test_a_block_is_its_formula():
    block = CriticBlock(2, 3, rng()).double()
    x = torch.randn(1, 2, 6, 6, generator=rng(1), dtype=torch.float64)

    def rectified(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = F.conv2d(x, w / (9 * x.shape[1]) ** 0.5, padding=1)
        return torch.where(y > 0, y, 0.2 * y) * 2**0.5

    def pooled(x: torch.Tensor) -> torch.Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    residual = rectified(pooled(rectified(x, block.first.weight)), block.second.weight)
    straight = torch.einsum("oi,bihw->bohw", block.skip.weight[:, :, 0, 0] / 2**0.5, pooled(x))
    torch.testing.assert_close(block(x), (residual + straight) / 2**0.5)


@torch.no_grad()
def test_the_batchs_deviation_tells_equal_pictures_from_different_ones():
    x = torch.randn(8, 3, 2, 2, generator=rng(), dtype=torch.float64)
    deviation = batch_deviation(x, 4)
    assert deviation.shape == (8, 1, 2, 2)
    for first in (0, 1):
        expected = x[first::2].std(0, correction=0).mean()
        torch.testing.assert_close(deviation[first::2], expected.expand(4, 1, 2, 2))
    torch.testing.assert_close(batch_deviation(x[:5], 4)[0, 0, 0, 0], x[:5].std(0, correction=0).mean())  # one group
    assert float(batch_deviation(x[:1].expand(4, -1, -1, -1), 4).max()) == pytest.approx(1e-4)
    critic = CriticConfig(channels=(8, 6, 4)).build(rng())
    same = pictures(1).expand(4, -1, -1, -1)
    mixed = torch.cat([same[:1], pictures(4)[1:]])
    assert float((critic(mixed)[0] - critic(same)[0]).abs()) > 1e-4


def test_r1_of_a_linear_critic_is_the_square_of_its_slope():
    slope = torch.randn(16, 16, 3, generator=rng(), requires_grad=True)
    offset = torch.zeros((), requires_grad=True)

    def linear(x: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return (x * slope).sum((1, 2, 3)) + offset

    penalty = r1_penalty(linear, pictures())
    torch.testing.assert_close(penalty, slope.square().sum())
    to_slope, to_offset = torch.autograd.grad(penalty, [slope, offset], allow_unused=True)
    torch.testing.assert_close(to_slope, 2 * slope)  # and the second derivative
    assert to_offset is None or float(to_offset) == 0


def test_r1_weighs_every_picture_with_its_own_slope_and_condition():
    """D = c |x|^2 has the slope 2 c x, and R1 is the mean of 4 c^2 |x|^2."""
    x, c = pictures(), conditions()

    def square(x: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        assert condition is not None
        return condition[:, 0] * x.square().sum((1, 2, 3))

    expected = (4 * c[:, 0].square() * x.square().sum((1, 2, 3))).mean()
    torch.testing.assert_close(r1_penalty(square, x, c), expected)


def test_r1_of_the_critic_and_its_gradient_are_finite_differences():
    critic, x, c = TINY.build(rng()).double(), pictures(2).double(), conditions(2).double()
    chance = rng(3)
    step = torch.randn(x.shape, generator=chance, dtype=torch.float64)
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(y, c).sum(), y)
    with torch.no_grad():
        slope = (critic(x + 1e-6 * step, c) - critic(x - 1e-6 * step, c)).sum() / 2e-6
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-5, atol=1e-8)
    penalty = r1_penalty(critic, x, c)
    torch.testing.assert_close(penalty, gradient.square().sum() / 2)
    penalty.backward()
    change = {n: torch.randn(p.shape, generator=chance, dtype=torch.float64) for n, p in critic.named_parameters()}
    exact = sum((p.grad * change[n]).sum() for n, p in critic.named_parameters() if p.grad is not None)

    def moved(size: float) -> torch.Tensor:
        other = copy.deepcopy(critic)
        with torch.no_grad():
            for name, parameter in other.named_parameters():
                parameter.add_(size * change[name])
        return r1_penalty(other, x, c).detach()

    torch.testing.assert_close(exact, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-8)
    assert not x.requires_grad


def test_r1_is_finite_for_equal_pictures():
    """A batch without any deviation stands where a square root has no slope."""
    critic = TINY.build(rng())
    penalty = r1_penalty(critic, pictures(1).expand(4, -1, -1, -1), conditions())
    penalty.backward()
    assert bool(torch.isfinite(penalty))
    assert all(bool(torch.isfinite(p.grad).all()) for p in critic.parameters() if p.grad is not None)


def test_gradients_reach_all_parameters():
    critic = TINY.build(rng())
    F.softplus(critic(pictures(), conditions())).sum().backward()
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_parameters_come_from_the_given_generator_only():
    before = torch.get_rng_state()
    first, again, other = TINY.build(rng(5)), TINY.build(rng(5)), TINY.build(rng(6))
    assert torch.equal(torch.get_rng_state(), before)
    x, c = pictures(), conditions()
    assert torch.equal(first(x, c), again(x, c))
    assert not torch.equal(first(x, c), other(x, c))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x, c), other(x, c))


def test_it_learns_to_tell_bright_from_dark():
    critic = CriticConfig(channels=(8, 8)).build(rng())
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2, betas=(0.0, 0.99))
    bright, dark = 0.5 + 0.5 * pictures(side=8), 0.5 * pictures(side=8)
    for _ in range(25):
        optimizer.zero_grad()
        loss = F.softplus(-critic(bright)).mean() + F.softplus(critic(dark)).mean() + 0.1 * r1_penalty(critic, bright)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert float(critic(bright).min()) > float(critic(dark).max()) + 0.5


def test_it_has_the_published_number_of_parameters():
    """By formula, which gives the 29,012,513 of StyleGAN2's for 1024 x 1024; built here at an eighth of the width."""

    def count(channels: tuple[int, ...]) -> int:
        down, last = channels[::-1], channels[0]
        blocks = sum(9 * i * i + i + 9 * i * o + o + i * o for i, o in zip(down, down[1:]))
        end = 9 * (last + 1) * last + last + 16 * last * last + last + last + 1
        return 3 * down[0] + down[0] + blocks + end

    published = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert count(published) == 29_012_513
    narrow = tuple(c // 8 for c in published)
    assert sum(p.numel() for p in CriticConfig(channels=narrow).build(rng()).parameters()) == count(narrow)


def test_what_it_was_not_made_for_is_refused():
    critic = TINY.build(rng())
    with pytest.raises(InputError, match="are 8 x 8 with 3 channels, but this critic judges 16 x 16 with 3"):
        critic(pictures(side=8), conditions())
    with pytest.raises(InputError, match="are 16 x 16 with 6 channels"):
        critic(pictures(channels=6), conditions())
    with pytest.raises(InputError, match="holds 0 numbers, but this model depends on 5"):
        critic(pictures())
    for bad in (CriticConfig(channels=()), CriticConfig(group=0), CriticConfig(condition=-1)):
        with pytest.raises(InputError, match="at least 1"):
            bad.build(rng())
