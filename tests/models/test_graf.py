"""GRAF: what shape and appearance bend, where patches lie, and a critic whose layers all have the norm 1."""

import copy

import pytest
import torch
import torch.nn.functional as F

from nerf3d.core import Box, Field
from nerf3d.core.numerics import normalize
from nerf3d.data.collections.poses import PosePrior
from nerf3d.errors import InputError
from nerf3d.fields.encodings import frequency
from nerf3d.models.critic import r1_penalty
from nerf3d.models.graf import (
    GRAFGeneratorConfig,
    PatchCriticConfig,
    even_grid,
    look_up,
    patch_grids,
)

BOX = Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
TINY = GRAFGeneratorConfig(
    shape=3, appearance=2, width=8, depth=3, skip=2, position_octaves=2, direction_octaves=1, color_width=5
)
CRITIC = PatchCriticConfig(channels=(6, 8))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    u = 0.02 + 0.96 * torch.rand(count, 3, generator=rng(2))
    return BOX.from_unit(u), normalize(torch.randn(count, 3, generator=rng(3)))


def z(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 5, generator=rng(1))


@torch.no_grad()
def test_the_answer_is_the_formula():
    generator = TINY.build(BOX, rng())
    x, d = points()
    out = generator.fields(z())[1](x, d)
    shape, appearance = z()[1, :3].expand(60, 3), z()[1, 3:].expand(60, 2)
    told = torch.cat([frequency(2 * BOX.to_unit(x) - 1, 2), shape], 1)
    h = told
    for i, layer in enumerate(generator.trunk):
        h = torch.relu(layer(torch.cat([h, told], 1) if i == 2 else h))
    density = generator.density_head(h)[:, 0]
    torch.testing.assert_close(out.density, torch.log1p(torch.exp(density - 1)))
    hidden = generator.color_layer(torch.cat([generator.bottleneck(h), frequency(d, 1), appearance], 1))
    torch.testing.assert_close(out.color, torch.sigmoid(generator.color_head(torch.relu(hidden))))


@torch.no_grad()
def test_shapes_bend_the_density_and_appearances_the_color_only():
    generator = TINY.build(BOX, rng())
    x, d = points()
    code = z(1)
    field = generator.fields(code)[0]
    assert isinstance(field, Field)
    out = field(x, d)
    assert torch.equal(field.density(x), out.density)
    painted = generator.fields(torch.cat([code[:, :3], -code[:, 3:]], 1))[0](x, d)
    assert torch.equal(painted.density, out.density)
    assert float((painted.color - out.color).abs().max()) > 1e-2
    bent = generator.fields(torch.cat([-code[:, :3], code[:, 3:]], 1))[0](x, d)
    assert float((bent.density - out.density).abs().max()) > 1e-2
    turned = field(x, -d)
    assert torch.equal(turned.density, out.density)
    assert float((turned.color - out.color).abs().max()) > 1e-3
    assert field.density(torch.tensor([[1.1, 0.0, 0.5]])).tolist() == [0.0]
    assert float(generator.usual().abs().max()) == 0


@torch.no_grad()
def test_noise_is_that_of_raw_densities():
    generator = TINY.build(BOX, rng())
    x, _ = points(2000)
    still, noisy = generator.fields(z(1))[0], generator.fields(z(1), rng(4), 0.5)[0]
    raw = [torch.log(torch.expm1(density)) for density in (still.density(x), noisy.density(x))]
    assert 0.47 < float((raw[1] - raw[0]).std()) < 0.53


def test_gradients_reach_all_parameters_and_the_codes():
    generator = TINY.build(BOX, rng())
    x, d = points()
    code = z().requires_grad_()
    out = generator.fields(code)[1](x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, tensor in [*generator.named_parameters(), ("codes", code)]:
        assert tensor.grad is not None, name
        assert bool((tensor.grad != 0).any()), name
    assert bool((code.grad[1] != 0).all())
    assert bool((code.grad[[0, 2]] == 0).all())


def test_patches_lie_where_a_slow_reference_puts_them():
    found = patch_grids(3, 4, 0.3, rng(7))
    chance = rng(7)
    scales = torch.rand(3, 1, 1, 1, generator=chance).flatten().tolist()
    shifts = torch.rand(3, 1, 1, 2, generator=chance).reshape(3, 2).tolist()
    for patch, share, (right, down) in zip(found, scales, shifts, strict=True):
        scale = 0.3 + 0.7 * share
        for row in range(4):
            for column in range(4):
                x = right * (1 - scale) + scale * (column + 0.5) / 4
                y = down * (1 - scale) + scale * (row + 0.5) / 4
                assert patch[row, column].tolist() == pytest.approx([x, y], abs=1e-6)


def test_patches_of_all_sizes_come_from_all_over_the_picture():
    side = 8
    grids = patch_grids(4000, side, 0.25, rng())
    scale = (grids[:, 0, 1, 0] - grids[:, 0, 0, 0]) * side
    assert 0.25 <= float(scale.min()) < 0.26
    assert 0.99 < float(scale.max()) <= 1
    assert float(scale.mean()) == pytest.approx(0.625, abs=0.01)
    corner = grids[:, 0, 0] - scale[:, None] / (2 * side)
    assert float(corner.min()) > -1e-6
    assert float((corner + scale[:, None]).max()) < 1 + 1e-6
    shift = corner[scale < 0.9] / (1 - scale[scale < 0.9, None])
    assert shift.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert float(shift.std(0).mean()) == pytest.approx(12**-0.5, abs=0.01)
    assert torch.equal(patch_grids(1, side, 1.0, rng())[0], even_grid(side, side))


def test_pictures_between_pixels_are_bilinear():
    pictures = torch.rand(2, 5, 7, 3, generator=rng())
    grids = torch.rand(2, 6, 4, 2, generator=rng(1))
    found = look_up(pictures, grids)
    assert found.shape == (2, 6, 4, 3)
    for b, i, j in [(0, 0, 0), (0, 5, 3), (1, 2, 1), (1, 4, 0), (1, 3, 2)]:
        x, y = float(grids[b, i, j, 0]) * 7 - 0.5, float(grids[b, i, j, 1]) * 5 - 0.5
        expected = torch.zeros(3)
        for column in range(-1, 8):
            for row in range(-1, 6):
                weight = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                expected += weight * pictures[b, min(max(row, 0), 4), min(max(column, 0), 6)]
        torch.testing.assert_close(found[b, i, j], expected)


def test_the_whole_grid_is_a_smaller_pictures_pixels_for_rays_and_for_pictures():
    cameras = PosePrior().cameras(2, 16, rng())
    pixels = (even_grid(4, 4) * 16).reshape(-1, 2)
    rays = cameras.rays_at(torch.full((16,), 1), pixels)
    torch.testing.assert_close(rays.direction, cameras.scaled_to(4, 4).rays(1).direction)
    pictures = torch.rand(2, 16, 16, 4, generator=rng())
    torch.testing.assert_close(look_up(pictures, even_grid(16, 16).expand(2, -1, -1, -1)), pictures)


def test_every_layer_of_the_critic_has_the_norm_1():
    critic = CRITIC.build(rng())
    with torch.no_grad():
        for convolution in (*critic.convolutions, critic.last):
            convolution.parametrizations.weight.original.mul_(7.0)
        for _ in range(30):  # each look is a step of the power iteration
            critic(torch.rand(2, 16, 16, 3, generator=rng(1)))
        for convolution in (*critic.convolutions, critic.last):
            assert float(torch.linalg.matrix_norm(convolution.weight.flatten(1), 2)) == pytest.approx(1, abs=1e-3)


def test_the_critic_is_its_formula_and_sees_every_patch_alone():
    critic = CRITIC.build(rng()).eval()
    patches = torch.rand(3, 16, 16, 3, generator=rng(1))
    scores = critic(patches)
    assert scores.shape == (3,)
    torch.testing.assert_close(critic(patches[1:2]), scores[1:2])
    first, second = critic.convolutions
    x = F.conv2d(2 * patches.permute(0, 3, 1, 2) - 1, first.weight, first.bias, stride=2, padding=1)
    x = torch.where(x > 0, x, 0.2 * x)
    x = F.conv2d(x, second.weight, second.bias, stride=2, padding=1)
    x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    x = torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close((x * critic.last.weight).sum((1, 2, 3)) + critic.last.bias, scores)


def test_r1_reaches_the_critic_and_is_the_square_of_its_slope():
    critic = CRITIC.build(rng()).double().eval()
    patches = torch.rand(2, 16, 16, 3, generator=rng(1), dtype=torch.float64)
    step = torch.randn(patches.shape, generator=rng(2), dtype=torch.float64)
    x = patches.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    with torch.no_grad():
        expected = (critic(patches + 1e-6 * step) - critic(patches - 1e-6 * step)).sum() / 2e-6
    torch.testing.assert_close((slope * step).sum(), expected, rtol=1e-5, atol=1e-8)
    critic.train()
    penalty = r1_penalty(critic, patches)
    # The look in between was one more step of the power iteration.
    assert float(penalty.detach()) == pytest.approx(float(slope.square().sum()) / 2, rel=0.2)
    penalty.backward()
    weights = [c.parametrizations.weight.original.grad for c in (*critic.convolutions, critic.last)]
    assert all(g is not None and bool(g.isfinite().all()) and bool((g != 0).any()) for g in weights)


@torch.no_grad()
def test_parameters_come_from_the_given_generator_only():
    before = torch.get_rng_state()
    first, again, other = CRITIC.build(rng(5)), CRITIC.build(rng(5)), CRITIC.build(rng(6))
    generators = [TINY.build(BOX, rng(seed)) for seed in (5, 5)]
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(generators[0].parameters(), generators[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    patches = torch.rand(2, 16, 16, 3, generator=rng(1))
    assert not torch.equal(first.eval()(patches), other.eval()(patches))
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(first(patches), other(patches))


def test_what_they_were_not_made_for_is_refused():
    generator, critic = TINY.build(BOX, rng()), CRITIC.build(rng())
    assert CRITIC.resolution == 16
    with pytest.raises(InputError, match="is 4 numbers, but this model takes 5"):
        generator.fields(torch.zeros(1, 4))
    with pytest.raises(InputError, match="holds 25 numbers, but this model depends on 0"):
        generator.codes(torch.zeros(1, 5), torch.zeros(1, 25))
    with pytest.raises(InputError, match="are 8 x 8 with 3 channels, but this critic judges 16 x 16 with 3"):
        critic(torch.zeros(1, 8, 8, 3))
    with pytest.raises(InputError, match="holds 25 numbers"):
        critic(torch.zeros(1, 16, 16, 3), torch.zeros(1, 25))
    with pytest.raises(InputError, match="at least 1"):
        GRAFGeneratorConfig(shape=0).build(BOX, rng())
    with pytest.raises(InputError, match="at least 1"):
        PatchCriticConfig(channels=()).build(rng())
