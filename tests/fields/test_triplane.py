"""Tri-planes: which plane sees which axes, the decoder's formula, and what every field keeps to.

The contract test runs on what is built from a configuration; a tri-plane is built from planes, so its part stands here.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from nerf3d.core import Box, Field, Rays
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane, TriPlaneDecoder, triplane_lookup
from nerf3d.render.render import render
from nerf3d.render.stratified import Stratified

BOX = Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0]))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planes(seed: int = 1, features: int = 4, side: int = 5) -> torch.Tensor:
    return torch.randn(3, features, side, side, generator=rng(seed))


def decoder(box: Box = BOX, channels: int = 3) -> TriPlaneDecoder:
    return TriPlaneDecoder(box, 4, 8, channels, rng())


def points(count: int = 60, box: Box = BOX) -> tuple[torch.Tensor, torch.Tensor]:
    chance = rng(2)
    u = 0.02 + 0.96 * torch.rand(count, 3, generator=chance)
    return box.from_unit(u), normalize(torch.randn(count, 3, generator=chance))


@pytest.mark.parametrize(("plane", "axes"), [(0, [0, 1]), (1, [0, 2]), (2, [1, 2])])
def test_the_planes_are_xy_xz_yz(plane, axes):
    """EG3D's released code has XZ transposed in the third place: there z and x would move it, here y and z do."""
    alone = torch.zeros(3, 5, 5, 1)
    alone[plane, :, :, 0] = torch.randn(5, 5, generator=rng())
    u = torch.rand(1, 3, generator=rng(3))
    moved = u + 0.3 * torch.eye(3) * (1 - 2 * (u > 0.5).float())
    changed = (triplane_lookup(alone, moved) - triplane_lookup(alone, u))[:, 0].abs() > 1e-4
    assert changed.nonzero().flatten().tolist() == axes


def test_the_first_axis_runs_along_columns_and_the_faces_hold_the_outermost_features():
    steps = torch.arange(4.0)
    # Plane XY holds column + 10 row, XZ 100 times and YZ 10000 times that: the sum reads off where each was asked.
    one = steps[None, :] + 10 * steps[:, None]
    p = 3 * torch.stack([one, 100 * one, 10000 * one])[..., None]
    u = torch.tensor([[1 / 3, 2 / 3, 1.0], [0.0, 0.0, 0.0], [1.0, 0.5, 0.0]])
    x, y, z = (3 * u).unbind(1)
    expected = (x + 10 * y) + 100 * (x + 10 * z) + 10000 * (y + 10 * z)
    torch.testing.assert_close(triplane_lookup(p, u)[:, 0], expected)


@torch.no_grad()
def test_the_answer_is_the_formula():
    """Against grid_sample, and the two layers written out."""
    d, p = decoder(channels=5), planes()
    x, direction = points()
    g = 2 * BOX.to_unit(x) - 1
    looked_up = [
        F.grid_sample(p[k][None], g[None, None][..., list(axes)], padding_mode="border", align_corners=True)[
            0, :, 0
        ].t()
        for k, axes in enumerate([(0, 1), (0, 2), (1, 2)])
    ]
    f = sum(looked_up) / 3
    hidden = torch.log1p(torch.exp(f @ d.hidden_layer.weight.t() + d.hidden_layer.bias))
    raw = hidden @ d.last_layer.weight.t() + d.last_layer.bias
    out = d(p)(x, direction)
    torch.testing.assert_close(out.density, torch.log1p(torch.exp(raw[:, 0] - 1.0)))  # half the longest side is 1
    torch.testing.assert_close(out.color, 1 / (1 + torch.exp(-raw[:, 1:])))


@torch.no_grad()
def test_it_is_a_field():
    field = decoder(channels=6)(planes())
    assert isinstance(field, Field)
    x, d = points()
    out = field(x, d)
    assert out.color.shape == (60, 6)
    assert bool(((out.color >= 0) & (out.color <= 1)).all())
    assert float(out.color.std(0).min()) > 0
    assert bool((out.density > 0).all())
    assert torch.equal(field.density(x), out.density)
    torch.testing.assert_close(field(x, -d).color, out.color)
    assert field(x[:0], d[:0]).color.shape == (0, 6)


def test_there_is_nothing_outside_of_the_box():
    field = decoder()(planes())
    x = torch.tensor([[1.2, 0.0, 0.5], [0.0, -0.6, 0.5], [0.0, 0.0, 7.0]], requires_grad=True)
    density = field.density(x)
    assert density.tolist() == [0.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(density.sum(), x)
    assert bool((gradient == 0).all())


@torch.no_grad()
def test_twice_the_scene_has_half_the_density():
    x, d = points()
    small, large = decoder()(planes()), decoder(Box(2 * BOX.low, 2 * BOX.high))(planes())
    torch.testing.assert_close(large(2 * x, d).density, 0.5 * small(x, d).density)
    torch.testing.assert_close(large(2 * x, d).color, small(x, d).color)


def test_planes_decoder_and_positions_have_true_first_and_second_derivatives():
    box = Box(BOX.low.double(), BOX.high.double())
    d = decoder(box).double()
    x = box.from_unit(torch.tensor([[0.31, 0.64, 0.11], [0.83, 0.42, 0.57]], dtype=torch.float64)).requires_grad_()
    p = planes(side=3).double().requires_grad_()

    def answer(x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        out = d(p)(x, torch.ones_like(x))
        return torch.cat([out.density[:, None], out.color], 1)

    assert torch.autograd.gradcheck(answer, (x, p))
    assert torch.autograd.gradgradcheck(answer, (x, p))


def test_gradients_reach_the_planes_and_all_parameters_through_the_renderer():
    d, p = decoder(channels=4), planes().requires_grad_()
    origin = torch.tensor([[0.0, 0.2, -2.0], [0.4, -0.1, -2.0]])
    rays = Rays(origin, torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3), torch.zeros(2), torch.full((2,), 9.0))
    out = render(d(p), rays, Stratified(BOX, 16))
    assert out.color.shape == (2, 4)
    (out.color * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    for name, tensor in [*d.named_parameters(), ("planes", p)]:
        assert tensor.grad is not None, name
        assert bool((tensor.grad != 0).any()), name


@torch.no_grad()
def test_parameters_come_from_the_given_generator_and_the_box_travels_with_them():
    before = torch.get_rng_state()
    first, again = decoder(), decoder()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = TriPlaneDecoder(Box.cube(3.0), 4, 8, 3, rng(6))
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    x, d = points()
    field: TriPlane = other(planes())
    assert torch.equal(field(x, d).density, first(planes())(x, d).density)


def test_planes_of_another_model_and_colorless_fields_are_refused():
    with pytest.raises(InputError, match="hold 7 features, but this decoder reads 4"):
        decoder()(planes(features=7))
    with pytest.raises(InputError, match="at least 3 channels"):
        decoder(channels=2)
