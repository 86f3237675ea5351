"""The renderer and its samplers on bodies whose pictures are known in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
from toys import Fog, Shell, rays_to_the_middle

from nerf3d.core import Box, Cameras, Field, Radiance, Rays, Scene
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize
from nerf3d.core.spaces import Contracted, Space
from nerf3d.render.normals import Normals, normals
from nerf3d.render.occupancy import Occupancy, OccupancySampler
from nerf3d.render.picture import render_picture
from nerf3d.render.render import render
from nerf3d.render.stratified import Stratified

BOX = Box.cube(1.5)


class Ball:
    """A homogeneous ball, red on its left side (x < 0) and green on its right."""

    def __init__(self, strength: float, radius: float = 1.0, center: tuple[float, float, float] = (0.0, 0.0, 0.0)):
        self.strength, self.radius, self.center = strength, radius, torch.tensor(center)

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return self.strength * ((x - self.center).norm(dim=-1) < self.radius).to(x.dtype)

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        left = (x[:, :1] < 0).to(x.dtype)
        return Radiance(self.density(x), torch.cat([left, 1 - left, torch.zeros_like(left)], -1))


class Cloud:
    """Smooth everywhere: a Gaussian around the origin."""

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return 6 * torch.exp(-2 * x.square().sum(-1))

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), torch.sigmoid(x))


def parallel(offsets: list[float]) -> Rays:
    """Rays along +y, beside the y axis by the given amounts in x."""
    count = len(offsets)
    origin = torch.tensor([[x, -4.0, 0.0] for x in offsets])
    direction = torch.tensor([[0.0, 1.0, 0.0]]).expand(count, 3)
    return Rays(origin, direction, torch.zeros(count), torch.full((count,), torch.inf))


def aimed(count: int, spread: float, distance: float = 4.0) -> Rays:
    """From all around to somewhere near the origin."""
    rng = torch.Generator().manual_seed(0)
    origin = distance * normalize(torch.randn(count, 3, generator=rng))
    toward = spread * torch.randn(count, 3, generator=rng)
    return Rays(origin, normalize(toward - origin), torch.zeros(count), torch.full((count,), torch.inf))


def test_a_slab_in_closed_form() -> None:
    """Fog of density s over a length l: opacity 1 - exp(-s l), mean distance of what is hit 1/s - l / (exp(s l) - 1)."""
    s, l = 0.8, 3.0
    out = render(Fog(s), parallel([0.0, 0.7, 9.0]), Stratified(BOX, 400))
    opacity = 1 - math.exp(-s * l)
    depth = 2.5 + 1 / s - l / math.expm1(s * l)
    torch.testing.assert_close(out.opacity, torch.tensor([opacity, opacity, 0.0]))
    torch.testing.assert_close(out.depth, torch.tensor([depth, depth, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.color, out.opacity[:, None].expand(3, 3))
    assert float(out.weights.sum()) == pytest.approx(2 * opacity, rel=1e-5)


@pytest.mark.parametrize("strength", [0.5, 4.0])
def test_a_ball_in_closed_form(strength: float) -> None:
    offsets = [-0.9, -0.5, 0.3, 0.8, 1.1]
    chord = torch.tensor([2 * math.sqrt(max(1 - x * x, 0.0)) for x in offsets])
    out = render(Ball(strength), parallel(offsets), Stratified(BOX, 1500), stop=0.0)
    torch.testing.assert_close(out.opacity, 1 - torch.exp(-strength * chord), atol=3e-3 * strength, rtol=0)
    colors = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(out.color, colors * out.opacity[:, None])
    entry = 4 - chord / 2
    assert bool((out.depth[:4] > entry[:4] - 2e-3).all())
    assert float(out.depth[4]) == 0.0


def test_backgrounds() -> None:
    rays = parallel([0.0, 1.4])
    plain = render(Ball(0.5), rays, Stratified(BOX, 100))
    left = 1 - plain.opacity[:, None]
    each = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    for background, shown in ((1.0, torch.ones(3)), (each[0], each[0]), (each, each), (0.25, torch.full((3,), 0.25))):
        out = render(Ball(0.5), rays, Stratified(BOX, 100), background)
        torch.testing.assert_close(out.color, plain.color + left * shown)
        torch.testing.assert_close(out.opacity, plain.opacity)


def test_what_little_light_reaches_is_dark() -> None:
    """With stop 0.1 the fog ends where a tenth of the light is left, give or take an interval."""
    rays = parallel([0.0])
    whole = render(Fog(3.0), rays, Stratified(BOX, 300), stop=0.0)
    cut = render(Fog(3.0), rays, Stratified(BOX, 300), stop=0.1)
    assert float(whole.opacity) == pytest.approx(1 - math.exp(-9), abs=1e-5)
    assert float(cut.opacity) == pytest.approx(0.9, abs=0.01)
    lit = cut.weights > 0
    torch.testing.assert_close(cut.weights[lit], whole.weights[lit])
    assert 0.2 < float(lit.float().mean()) < 0.3  # ln 10 / 9


def test_no_rays_and_rays_that_miss() -> None:
    none = render(Fog(1.0), parallel([0.0])[:0], Stratified(BOX, 8), 1.0)
    assert none.color.shape == (0, 3)
    missed = render(Fog(1.0), parallel([5.0, 6.0]), Stratified(BOX, 8), 1.0)
    assert len(missed.samples) == 0
    assert missed.color.tolist() == [[1.0] * 3] * 2
    assert missed.depth.tolist() == [0.0, 0.0]


def trained(field: Field, space: Space, config: Occupancy, updates: int = 8) -> OccupancySampler:
    sampler = config.build(space)
    rng = torch.Generator().manual_seed(0)
    for step in range(updates):
        sampler.update(field, step, rng)
    return sampler


SAMPLERS: dict[str, Callable[[], object]] = {
    "stratified": lambda: Stratified(BOX, 32),
    "occupancy": lambda: trained(Cloud(), BOX, Occupancy(resolution=16)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_rng_there_is_no_chance_and_with_it_there_is(name: str) -> None:
    sampler, rays = SAMPLERS[name](), aimed(50, 0.3)

    def color(seed: int | None) -> torch.Tensor:
        rng = None if seed is None else torch.Generator().manual_seed(seed)
        torch.manual_seed(int(torch.randint(1000, ())))  # the global stream must not matter
        return render(Cloud(), rays, sampler, rng=rng).color

    assert torch.equal(color(None), color(None))
    assert torch.equal(color(1), color(1))
    assert not torch.equal(color(1), color(2))
    torch.testing.assert_close(color(1), color(None), atol=0.05, rtol=0)


def cell_centers(sampler: OccupancySampler) -> torch.Tensor:
    n = sampler.config.resolution
    i = torch.stack(torch.meshgrid(*[torch.arange(n)] * 3, indexing="ij"), -1)
    return sampler.space.from_unit((i + 0.5) / n)


def test_an_update_marks_the_cells_that_the_ball_fills() -> None:
    sampler = trained(Ball(30.0), BOX, Occupancy(resolution=24))
    occupied = sampler.clear == 0
    radius = cell_centers(sampler).norm(dim=-1)
    reach = 0.5 * math.sqrt(3) * 3 / 24  # half a cell's diagonal
    assert bool(occupied[radius < 1 - reach].all())
    assert not bool(occupied[radius > 1 + reach].any())


def test_what_has_vanished_is_forgotten() -> None:
    sampler = trained(Ball(30.0), BOX, Occupancy(resolution=12))
    assert bool((sampler.clear == 0).any())
    rng = torch.Generator().manual_seed(1)
    for step in range(300):
        sampler.update(Fog(0.0), 1000 + step, rng)
    assert not bool((sampler.alpha > 0.01).any())


def test_later_updates_find_what_is_new() -> None:
    """From step 256 on only half of the cells are asked each time, at random; together they find a second ball."""
    sampler = trained(Ball(30.0, 0.4, (-0.8, 0.0, 0.0)), BOX, Occupancy(resolution=12))
    new = Ball(30.0, 0.4, (0.8, 0.0, 0.0))
    inside = (cell_centers(sampler) - new.center).norm(dim=-1) < 0.15
    assert not bool((sampler.clear[inside] == 0).any())
    rng = torch.Generator().manual_seed(2)
    for step in range(30):
        sampler.update(new, 300 + step, rng)
    assert bool((sampler.clear[inside] == 0).all())


SPACES = {
    "box": (BOX, Occupancy(resolution=32, steps_per_side=400, threshold=1e-4, stop=1e-4)),
    "growing steps": (BOX, Occupancy(resolution=32, steps_per_side=400, growth=0.004, threshold=1e-4, stop=1e-4)),
    "contracted": (
        Contracted(Box.cube(1.0)),
        Occupancy(resolution=48, steps_per_side=300, growth=0.005, threshold=1e-4, stop=1e-4),
    ),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("field", [Ball(6.0), Cloud(), Shell(0.5, 0.9, 2.0)], ids=["ball", "cloud", "shell"])
@torch.no_grad()
def test_nothing_that_matters_is_skipped(name: str, field: Field) -> None:
    space, config = SPACES[name]
    sampler = trained(field, space, config)
    rays = aimed(200, 0.4)
    out = render(field, rays, sampler)
    dense = render(field, rays, Stratified(BOX, 2000), stop=0.0)
    torch.testing.assert_close(out.opacity, dense.opacity, atol=0.05, rtol=0)
    torch.testing.assert_close(out.color, dense.color, atol=0.1, rtol=0)  # where two colors meet
    for ours, theirs in ((out.opacity, dense.opacity), (out.color, dense.color)):
        assert float((ours - theirs).abs().mean()) < 5e-3
    everything = render(field, rays, config.build(space))  # a new grid is occupied throughout
    assert len(out.samples) < (0.95 if isinstance(field, Cloud) else 0.7) * len(everything.samples)


def test_far_away_in_a_contracted_space() -> None:
    """A ball of radius 6 at 30 times the focus' size, seen from the middle.

    It fills a tenth of the cells out there, which reach to the horizon; many updates find it for sure.
    """
    far = Ball(1.0, 6.0, (0.0, 30.0, 0.0))
    config = Occupancy(resolution=32, steps_per_side=100, growth=0.01, threshold=1e-4)
    sampler = trained(far, Contracted(Box.cube(1.0)), config, updates=100)
    origin = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    direction = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    out = render(far, Rays(origin, direction, torch.zeros(3), torch.full((3,), torch.inf)), sampler)
    torch.testing.assert_close(out.opacity, torch.tensor([1.0, 1.0, 0.0]), atol=2e-3, rtol=0)
    assert float(out.depth[0]) == pytest.approx(24 + 1.0, abs=0.4)
    assert float(out.depth[1]) == pytest.approx(30 - math.sqrt(32) + 1.0, abs=0.4)


def test_near_and_far_are_kept() -> None:
    """`near` and `far` in half sides of the box, the rays' own beside them; an interval's middle decides."""
    config = Occupancy(resolution=8, steps_per_side=300, near=2.0, far=3.0)
    sampler = trained(Fog(2.5), BOX, config)
    rays = parallel([0.0, 0.5])
    samples = sampler(Fog(2.5), rays, None)
    step = 0.01
    assert float(samples.start.amin()) == pytest.approx(3.0, abs=step)
    assert float(samples.end.amax()) == pytest.approx(4.5, abs=step)
    own = Rays(rays.origin, rays.direction, torch.tensor([3.5, 0.0]), torch.tensor([9.0, 4.0]))
    samples = sampler(Fog(2.5), own, None)
    assert float(samples.start[samples.ray == 0].amin()) == pytest.approx(3.5, abs=step)
    assert float(samples.end[samples.ray == 1].amax()) == pytest.approx(4.0, abs=step)


def test_samples_are_packed_and_in_order() -> None:
    sampler = trained(Shell(0.5, 0.9, 1.0), BOX, Occupancy(resolution=16))
    rays = rays_to_the_middle(40, misses=10)
    samples = sampler(Shell(0.5, 0.9, 1.0), rays, torch.Generator().manual_seed(0))
    assert bool((samples.ray[1:] >= samples.ray[:-1]).all())
    same = samples.ray[1:] == samples.ray[:-1]
    assert bool((samples.start[1:][same] >= samples.end[:-1][same] - 1e-6).all())
    counts = torch.bincount(samples.ray, minlength=40)
    assert torch.equal(samples.offsets.diff(), counts)
    assert bool((counts[:30] > 0).all())
    assert not bool((counts[30:] > 0).any())


def test_normals_of_a_ball_point_outward() -> None:
    x = 0.7 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normals(Cloud(), x), normalize(x), atol=1e-5, rtol=0)
    weight = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))

    class Ellipsoid:
        def density(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(-(x.square() * weight).sum(-1))

        def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
            return Radiance(self.density(x), torch.ones_like(x))

    assert not normals(Ellipsoid(), x).requires_grad
    normals(Ellipsoid(), x, create_graph=True)[:, 0].sum().backward()
    assert weight.grad is not None
    assert float(weight.grad.abs().sum()) > 0


def test_rendered_normals() -> None:
    rays = parallel([0.0, 0.2, -0.2])
    with torch.no_grad():
        out = render(Normals(Cloud()), rays, Stratified(BOX, 200))
    mean = normalize(out.color)
    torch.testing.assert_close(mean[0], torch.tensor([0.0, -1.0, 0.0]), atol=1e-5, rtol=0)
    assert float(mean[1, 0]) > 0.1
    torch.testing.assert_close(mean[1] * torch.tensor([-1.0, 1.0, 1.0]), mean[2], atol=1e-5, rtol=0)


def picture_scene(field: Field, background: torch.Tensor) -> Scene:
    up = torch.tensor([0.0, 0.0, 1.0])
    eye = torch.tensor([[0.0, -4.0, 0.0], [-4.0, 0.0, 0.0]])
    views = Cameras.pinhole(look_at(eye, torch.zeros(3), up), 20.0, 15, 11)
    return Scene(field, Stratified(BOX, 200), background, views, BOX, up)


def test_a_whole_picture() -> None:
    """Red is on the left in the picture too, and the background around it."""
    background = torch.tensor([0.2, 0.3, 0.9])
    scene = picture_scene(Ball(20.0), background)
    picture = render_picture(scene, scene.cameras, 0)
    assert picture.color.shape == (11, 15, 3)
    assert picture.opacity.shape == picture.depth.shape == (11, 15)
    assert picture.normal is None
    torch.testing.assert_close(picture.color[5, 5], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(picture.color[5, 9], torch.tensor([0.0, 1.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(picture.color[0, 0], background)
    assert float(picture.depth[5, 7]) == pytest.approx(3.0, abs=0.1)
    assert float(picture.opacity[0, 0]) == float(picture.depth[0, 0]) == 0.0
    assert not picture.color.requires_grad
    again = render_picture(scene, scene.cameras, 0)
    assert torch.equal(picture.color, again.color)


def test_a_picture_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = picture_scene(Cloud(), torch.ones(3))
    whole = render_picture(scene, scene.cameras, 1, normals=True)
    monkeypatch.setattr("nerf3d.render.picture.FIRST_CHUNK", 7)
    monkeypatch.setattr("nerf3d.render.picture.MOST_RAYS", 9)
    parts = render_picture(scene, scene.cameras, 1, normals=True)
    assert whole.normal is not None
    assert parts.normal is not None
    for name in ("color", "opacity", "depth", "normal"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name))
    assert whole.normal.shape == (11, 15, 3)
    assert float(whole.normal[5, 7] @ torch.tensor([-1.0, 0.0, 0.0])) > 0.5  # towards the camera


def test_gradients_reach_field_and_rays() -> None:
    shell = Shell(0.5, 1.0, 1.0)
    rays = parallel([0.0])
    out = render(shell, rays, Stratified(BOX, 400))
    out.opacity.sum().backward()
    # opacity = 1 - exp(-s l) with l = 1 (two walls of 0.5): its derivative by s is l exp(-s l)
    assert shell.strength.grad is not None
    assert float(shell.strength.grad) == pytest.approx(math.exp(-1.0), abs=5e-3)
    origin = torch.tensor([[0.4, -4.0, 0.0]], requires_grad=True)
    moved = Rays(origin, rays.direction, rays.near, rays.far)
    samples = Stratified(BOX, 400)(Cloud(), rays, None)
    render(Cloud(), moved, lambda *_: samples).opacity.sum().backward()
    assert origin.grad is not None
    assert float(origin.grad[0, 0]) < 0  # away from the middle there is less
