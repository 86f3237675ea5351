"""What every field must keep to, run on every member of the union."""

import copy
from typing import get_args

import pytest
import torch
from torch import nn

from nerf3d.core import Box, Field, Radiance
from nerf3d.core.numerics import normalize
from nerf3d.core.spaces import Contracted, Space
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.fields.mlp_field import FrequencyMLP
from nerf3d.fields.sdf import SignedDistance
from nerf3d.fields.tensorf import VectorMatrix
from nerf3d.fields.union import FieldConfig
from nerf3d.kernels.hash_grid import GridLayout

TINY = {
    HashGrid: HashGrid(GridLayout(levels=3, features=2, log2_table_size=9, coarsest=4, finest=12), width=16),
    FrequencyMLP: FrequencyMLP(width=32, depth=4, skip=2, position_octaves=3, direction_octaves=2, color_width=16),
    SignedDistance: SignedDistance(
        GridLayout(levels=3, features=2, log2_table_size=9, coarsest=4, finest=12), width=12, beta=0.3, least_beta=0.05
    ),
    VectorMatrix: VectorMatrix(resolution=6, density_rank=3, color_rank=4, color_features=5, width=16),
}
"""Small sizes, for speed; a member that is not here is built from its defaults."""

SPACES: dict[str, Space] = {
    "box": Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0])),
    "contracted": Contracted(Box.cube(0.7, center=(0.3, 0.0, -0.2))),
}

every_field = pytest.mark.parametrize("config", get_args(FieldConfig), ids=lambda member: member.__name__)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def build(config: type, space: Space, seed: int = 0) -> nn.Module:
    return TINY.get(config, config()).build(space, torch.Generator().manual_seed(seed))


def awake(config: type, space: Space) -> nn.Module:
    """A field with some life in it: parameters as training might leave them, not the careful beginning."""
    field = build(config, space)
    rng = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
    return field


def points(space: Space, count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    u = 0.02 + 0.96 * torch.rand(count, 3, generator=rng)
    return space.from_unit(u), normalize(torch.randn(count, 3, generator=rng))


@every_space
@every_field
@torch.no_grad()
def test_it_is_a_field_with_sane_answers(config, space):
    field = awake(config, space)
    x, d = points(space)
    out = field(x, d)
    assert isinstance(field, Field)
    assert isinstance(out, Radiance)
    assert out.density.shape == (200,)
    assert out.color.shape == (200, 3)
    assert bool(torch.isfinite(out.density).all())
    assert bool((out.density >= 0).all())
    assert float(out.density.max()) > 0
    assert bool(((out.color >= 0) & (out.color <= 1)).all())
    assert float(out.color.std(0).min()) > 0
    torch.testing.assert_close(field.density(x), out.density)


@every_field
def test_there_is_nothing_outside_of_a_box(config):
    box = SPACES["box"]
    x = torch.tensor([[1.2, 0.0, 0.5], [0.0, -0.6, 0.5], [0.0, 0.0, 7.0], [-50.0, 60.0, -70.0]], requires_grad=True)
    field = awake(config, box)
    assert field.density(x).tolist() == [0.0, 0.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(field.density(x).sum(), x)
    assert bool((gradient == 0).all())


@every_field
def test_a_contracted_space_has_no_outside(config):
    field = awake(config, SPACES["contracted"])
    density = field.density(torch.tensor([[1e3, 0.0, 0.0], [-4.0, 1e4, 30.0]]))
    assert bool((density > 0).any())
    assert bool(torch.isfinite(density).all())


@every_space
@every_field
def test_gradients_reach_all_parameters(config, space):
    field = awake(config, space)
    x, d = points(space)
    out = field(x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


@every_space
@every_field
def test_position_gradient_is_the_slope(config, space):
    """Against central differences along random directions. Points where two step widths disagree lie at a kink, and so
    do those whose slopes ahead and behind differ by much: exactly on a kink all widths agree.
    """
    field = awake(config, space)
    x, d = points(space)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(field.density(x).sum(), x)
    along = (gradient * d).sum(-1)

    def slope(step: float) -> torch.Tensor:
        with torch.no_grad():
            return (field.density(x + step * d) - field.density(x - step * d)) / (2 * step)

    near, far = slope(5e-4), slope(1e-3)
    scale = float(near.abs().median())
    assert scale > 0
    smooth = (near - far).abs() <= 0.01 * (near.abs() + scale)
    with torch.no_grad():
        ahead = (field.density(x + 5e-4 * d) - field.density(x)) / 5e-4
    smooth &= (ahead - near).abs() <= 0.05 * (near.abs() + scale)
    assert float(smooth.float().mean()) > 0.6
    error = (along - near).abs() / (near.abs() + scale)
    assert float(error[smooth].quantile(0.95)) < 0.01
    assert float(error[smooth].max()) < 0.1


@every_field
def test_density_has_a_second_derivative(config):
    """The slope of |d density / d x|^2, as an eikonal loss takes it, along a random change of the parameters.

    Point by point against central differences; points where two step widths disagree lie at a kink.
    """
    space = SPACES["box"]
    field = awake(config, space)
    parameters = list(field.parameters())
    rng = torch.Generator().manual_seed(2)
    change = [torch.randn(p.shape, generator=rng) for p in parameters]
    x = points(space, 40)[0].requires_grad_()

    def steepness() -> torch.Tensor:
        (gradient,) = torch.autograd.grad(field.density(x).sum(), x, create_graph=True)
        return gradient.square().sum(-1)

    def move(step: float) -> None:
        with torch.no_grad():
            for parameter, direction in zip(parameters, change):
                parameter.add_(step * direction)

    def slope(step: float) -> torch.Tensor:
        move(step)
        above = steepness().detach()
        move(-2 * step)
        below = steepness().detach()
        move(step)
        return (above - below) / (2 * step)

    exact = []
    for value in steepness():
        slopes = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        exact.append(sum((g * c).sum() for g, c in zip(slopes, change) if g is not None))
    near, far = slope(5e-4), slope(1e-3)
    scale = near.abs().median()
    assert float(scale) > 0
    smooth = (near - far).abs() <= 0.02 * (near.abs() + scale)
    assert float(smooth.float().mean()) > 0.5
    error = (torch.stack(exact) - near).abs() / (near.abs() + scale)
    assert float(error[smooth].quantile(0.9)) < 0.02


@every_field
def test_parameters_come_from_the_given_generator_only(config):
    space = SPACES["box"]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(config, space, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build(config, space, seed=5).state_dict(), build(config, space, seed=6).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_space
@every_field
def test_state_goes_round(config, space):
    field, other = awake(config, space), build(config, Box.cube(3.0) if isinstance(space, Box) else space, seed=3)
    x, d = points(space, 50)
    other.load_state_dict(copy.deepcopy(field.state_dict()))
    assert torch.equal(other(x, d).density, field(x, d).density)  # the space travels with the state
    assert torch.equal(other(x, d).color, field(x, d).color)


@every_field
@pytest.mark.parametrize("kind", ["box", "contracted"])
def test_twice_the_scene_has_half_the_density(config, kind):
    def grown(factor: float) -> Space:
        box = Box(factor * SPACES["box"].low, factor * SPACES["box"].high)
        return box if kind == "box" else Contracted(box)

    x, d = points(grown(1.0))
    small, large = awake(config, grown(1.0))(x, d), awake(config, grown(2.0))(2.0 * x, d)
    torch.testing.assert_close(large.density, 0.5 * small.density)
    torch.testing.assert_close(large.color, small.color)


@every_space
@every_field
def test_no_points_give_no_answers(config, space):
    field = build(config, space)
    none = torch.zeros(0, 3, requires_grad=True)
    out = field(none, none)
    assert out.density.shape == (0,)
    assert out.color.shape == (0, 3)
    (out.density.sum() + out.color.sum()).backward()
