"""The signed distance: the ball that it begins as, VolSDF's density, slopes, levels, and learning a shape."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nerf3d.checkpoint import collect, load_latest, restore, save
from nerf3d.core import Box, Rays, Samples
from nerf3d.core.numerics import normalize
from nerf3d.core.spaces import Contracted
from nerf3d.export.surface import HasDistance
from nerf3d.fields.sdf import GRAZING, RESIDUAL, SignedDistance, SignedDistanceField, laplace_density
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.render.occupancy import Occupancy

TINY = SignedDistance(GridLayout(levels=4, features=2, log2_table_size=10, coarsest=4, finest=32), width=16)
CUBE = Box.cube(2.0, center=(1.0, 0.0, -1.0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(box: Box = CUBE, count: int = 500, seed: int = 1) -> torch.Tensor:
    return box.from_unit(torch.rand(count, 3, generator=rng(seed)))


def awake(config: SignedDistance = TINY, box: Box = CUBE) -> SignedDistanceField:
    field = config.build(box, rng())
    chance = rng(9)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=chance))
    return field


def linear_in_space(field: SignedDistanceField, slope: torch.Tensor) -> None:
    """Make the network's part of the distance max(0, slope . y + 10), y in [-1, 1]^3, so linear all over the cube."""
    with torch.no_grad():
        field.table.zero_()
        first, last = field.distance_network
        first.zero_()
        last.zero_()
        first[0, -4:-1] = slope
        first[0, -1] = 10.0
        last[0, 0] = 1 / RESIDUAL


def test_density_is_the_laplace_distribution() -> None:
    """Against the integral of exp(-|t| / b) / 2b up to -d, summed finely."""
    beta = torch.tensor(0.3, dtype=torch.float64)
    t = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    steps = torch.exp(-t.abs() / beta) / (2 * beta) * (t[1] - t[0])
    below = steps.cumsum(0) - 0.5 * steps
    distance = torch.tensor([-1.0, -0.2, 0.0, 0.1, 2.0], dtype=torch.float64)
    expected = below[((-distance + 12) / (t[1] - t[0])).round().long()] / beta
    torch.testing.assert_close(laplace_density(distance, beta), expected, rtol=1e-6, atol=1e-9)


def test_density_has_a_slope_on_the_surface_and_stays_finite_far_away() -> None:
    distance = torch.tensor([1e-9, -1e-9, 1e4, -1e4], requires_grad=True)
    density = laplace_density(distance, torch.tensor(0.01))
    assert density[2:].tolist() == [0.0, pytest.approx(100.0)]
    (slope,) = torch.autograd.grad(density.sum(), distance)
    assert slope.tolist() == pytest.approx([-0.5 / 0.01**2] * 2 + [0.0, 0.0], rel=1e-4)


@torch.no_grad()
def test_it_begins_as_a_ball() -> None:
    """Of radius 0.5 in units of half the box's side, which is 2, around its centre; density 1 / beta in the same unit."""
    field = TINY.build(CUBE, rng())
    x = points()
    expected = (x - CUBE.center).norm(dim=-1) - 1.0
    torch.testing.assert_close(field.distance(x), expected, atol=1e-5, rtol=0)
    inside = (1 - 0.5 * math.exp(-0.5 / TINY.beta + GRAZING)) / TINY.beta / 2
    assert float(field.density(CUBE.center[None])) == pytest.approx(inside)
    on = CUBE.center + normalize(torch.randn(20, 3, generator=rng()))
    surface = 0.5 * math.exp(-GRAZING) / TINY.beta / 2
    torch.testing.assert_close(field.density(on), torch.full((20,), surface), rtol=1e-3, atol=0)
    far = x[expected > 0]  # a cell is 1/8 wide, and at the centre the distance has a kink
    torch.testing.assert_close(field.gradient(far), normalize(far - CUBE.center), atol=0.04, rtol=0)


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
def test_the_slope_of_a_plane_is_exact(size: tuple[float, float, float]) -> None:
    """In a box that is no cube lengths are still those of the world. The plane is what is left beside the ball."""
    box = Box(torch.zeros(3), torch.tensor(size))
    field = TINY.build(box, rng())
    plane = torch.tensor([0.3, -0.5, 0.2])
    ball = field.gradient(points(box))
    linear_in_space(field, plane)
    torch.testing.assert_close(field.gradient(points(box)) - ball, plane.expand(500, 3), atol=2e-4, rtol=0)


def test_the_slope_is_that_of_the_distance() -> None:
    """Against autograd, in a field of large cells with a small tetrahedron, which the network's kinks seldom cut."""
    field = awake(replace(TINY, layout=GridLayout(2, 2, 10, 2, 64), width=4))
    with torch.no_grad():
        field.table[int(field.layout.offsets[1]) :] = 0
    x = points(Box.cube(1.5, (1.0, 0.0, -1.0))).requires_grad_()
    (exact,) = torch.autograd.grad(field.distance(x).sum(), x)
    error = (field.gradient(x) - exact).norm(dim=-1)
    assert float(error.detach().quantile(0.5)) < 0.02 * float(exact.norm(dim=-1).median())


def test_gradients_of_an_eikonal_term_are_right() -> None:
    """Against central differences along a random change of all parameters."""
    field = awake().double()
    x = points().double()
    parameters = [field.table, *field.distance_network]
    change = [torch.randn(p.shape, generator=rng(k), dtype=p.dtype) for k, p in enumerate(parameters)]

    def term() -> torch.Tensor:
        return (field.gradient(x).norm(dim=-1) - 1).square().mean()

    exact = sum((g * c).sum() for g, c in zip(torch.autograd.grad(term(), parameters), change, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            for p, c in zip(parameters, change, strict=True):
                p.add_(step * c)
            value = float(term())
            for p, c in zip(parameters, change, strict=True):
                p.sub_(step * c)
        return value

    assert float(exact) == pytest.approx((moved(1e-5) - moved(-1e-5)) / 2e-5, rel=1e-3)


def test_outside_of_the_box_the_distance_is_at_least_that_to_the_box() -> None:
    field = awake()
    x = CUBE.center + torch.tensor([[2.5, 0.0, 0.0], [5.0, 6.0, 2.0], [0.0, -2.3, 2.4]])
    beyond = torch.tensor([0.5, 5.0, 0.5])
    assert bool((field.distance(x) >= beyond - 1e-6).all())
    assert isinstance(field, HasDistance)


def test_levels_that_do_not_speak_say_nothing() -> None:
    field, x = awake(), points()
    whole = field.distance(x)
    field.use_levels(2.0)
    coarse = field.distance(x)
    assert not torch.allclose(whole, coarse)
    silent = int(field.layout.offsets[2])
    with torch.no_grad():
        field.table[silent:] += 1.0
    assert torch.equal(field.distance(x), coarse)
    field.use_levels(2.5)  # half of the third
    assert not torch.equal(field.distance(x), coarse)
    with torch.no_grad():
        field.table[silent:] -= 1.0
    field.use_levels(99.0)
    torch.testing.assert_close(field.distance(x), whole, atol=1e-5, rtol=1e-4)


def test_levels_travel_with_the_state() -> None:
    field, other, x = awake(), TINY.build(Box.cube(1.0), rng(3)), points()
    field.use_levels(2.5)
    other.load_state_dict(field.state_dict())
    assert torch.equal(other.distance(x), field.distance(x))
    assert torch.equal(other.gradient(x), field.gradient(x))
    assert torch.equal(other.beta, field.beta)


def test_it_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    field, other, x = awake(), TINY.build(Box.cube(1.0), rng(3)), points()
    field.use_levels(3.25)
    save(tmp_path, 1, collect({"field": field}))
    found = load_latest(tmp_path)
    assert found is not None
    restore({"field": other}, found)
    assert torch.equal(other.distance(x), field.distance(x))
    assert torch.equal(other.density(x), field.density(x))


def test_beta_is_learnt_and_has_a_floor() -> None:
    field = TINY.build(CUBE, rng())
    assert float(field.beta.detach()) == pytest.approx(TINY.beta)
    field.density(points()).sum().backward()
    assert field.sharpness.grad is not None
    assert float(field.sharpness.grad) != 0
    with torch.no_grad():
        field.sharpness.fill_(1e3)
    assert float(field.beta.detach()) == pytest.approx(TINY.least_beta)
    assert any(p is field.sharpness for p in field.networks())


def test_colors_depend_on_the_normal_if_they_may() -> None:
    for normals in (True, False):
        field = awake(replace(TINY, normals=normals))
        inputs = TINY.geometry_features + 16
        assert field.color_network[0].shape[1] == inputs + 3 * normals
        x, d = points(count=10), normalize(torch.randn(10, 3, generator=rng()))
        before = field(x, d).color
        with torch.no_grad():
            field.color_network[0][:, inputs:] += 1.0
        assert torch.equal(field(x, d).color, before) != normals


@pytest.mark.parametrize("beta", [0.02, 0.005, 0.002])
def test_outlines_are_where_the_distance_is_0(beta: float) -> None:
    """The height above the ball at which half of a ray's light gets by, by summing the density along rays."""
    with torch.no_grad():
        field = replace(TINY, beta=beta).build(Box.cube(1.0), rng())
        height = torch.linspace(-0.1, 0.1, 401)
        along = torch.linspace(-0.8, 0.8, 4001)
        x = torch.stack(torch.broadcast_tensors(along, 0.5 + height[:, None], torch.zeros(())), -1)
        depth = field.density(x.reshape(-1, 3)).reshape(x.shape[:2]).sum(-1) * float(along[1] - along[0])
    outline = float(height[int((depth < math.log(2)).byte().argmax())])
    assert abs(outline) < 1.5 * beta  # VolSDF's own: 2.5 to 3.5
    assert abs(outline + GRAZING * beta) > 2 * beta


@pytest.mark.parametrize("beta", [0.1, 0.003], ids=["at the beginning", "a thin shell"])
def test_the_sampler_finds_the_surface_from_the_first_step(beta: float) -> None:
    """Rays through a ball meet samples at its surface; those that pass by far enough get few or none."""
    box = Box.cube(1.0)
    field = replace(TINY, beta=beta).build(box, rng())
    sampler = Occupancy(resolution=32, steps_per_side=100).build(box)
    sampler.update(field, 0, rng())
    y = torch.tensor([0.0, 0.2, 0.4, 0.95])
    origin = torch.stack([torch.full_like(y, -3.0), y, torch.zeros_like(y)], -1)
    rays = Rays(origin, torch.tensor([1.0, 0.0, 0.0]).expand(4, 3), torch.zeros(4), torch.full((4,), 10.0))
    samples: Samples = sampler(field, rays, rng(1))
    for ray in range(3):
        own = samples.ray == ray
        front = -math.sqrt(0.25 - float(y[ray]) ** 2) + 3.0
        assert float((samples.middle[own] - front).abs().min()) < 0.03
    assert int((samples.ray == 3).sum()) == 0


def test_a_contracted_space_has_the_ball_in_its_focus() -> None:
    field = TINY.build(Contracted(Box.cube(2.0)), rng())
    x = points(Box.cube(1.9))
    torch.testing.assert_close(field.distance(x), x.norm(dim=-1) - 1.0, atol=1e-5, rtol=0)
    assert bool((field.distance(torch.tensor([[1e3, 0.0, 0.0], [0.0, 9.0, -9.0]])) > 1).all())


def test_it_learns_a_box_from_its_distance() -> None:
    """150 steps on the true distance of a cuboid and on the slope: both are met."""
    half = torch.tensor([0.5, 0.3, 0.4])

    def truth(x: torch.Tensor) -> torch.Tensor:
        q = x.abs() - half
        return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)

    roomy = replace(TINY, layout=GridLayout(4, 2, 12, 4, 32), width=32)
    field = roomy.build(Box.cube(1.0), rng())
    optimizer = torch.optim.Adam(field.parameters(), lr=2e-2)
    for step in range(150):
        x = points(Box.cube(1.0), 1000, seed=step)
        loss = (field.distance(x) - truth(x)).abs().mean()
        loss = loss + 0.01 * (field.gradient(x).norm(dim=-1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = points(Box.cube(1.0), seed=1000)
    field.requires_grad_(False)
    assert float((field.distance(x) - truth(x)).abs().mean()) < 0.01
    assert float((field.gradient(x).norm(dim=-1) - 1).abs().mean()) < 0.15
