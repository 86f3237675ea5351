"""Fields whose surface is known in closed form."""

import math

import pytest
import torch

from nerf3d.core import Box, Radiance
from nerf3d.errors import InputError
from nerf3d.export.level import automatic_level, seen_at
from nerf3d.export.surface import Surface, extract_surface, extract_zero_set, largest_components, surface_of

CUBE = Box.cube(1.5)
RADIUS = 0.5


def ball(of_distance, center=(0.0, 0.0, 0.0)):
    """A density that depends on the distance to a point only."""
    return lambda x: of_distance((x - torch.tensor(center)).norm(dim=-1))


def soft(strength: float, sharpness: float = 400.0):
    return lambda r: strength * torch.sigmoid(sharpness * (RADIUS - r))


def noisy_ball(x):
    """What a trained field is like: noise over orders of magnitude inside and on the body, and a little outside."""
    r = x.norm(dim=-1)
    wave = torch.sin(x @ torch.tensor([[37.0, -71.0, 11.0], [91.0, 31.0, -131.0], [55.0, 85.0, 85.0]])).prod(-1)
    body = torch.where(r < 0.42, torch.exp(10 * wave), torch.exp(4 + 3 * wave))
    return torch.where(r < RADIUS, body, torch.exp(-6 + 5 * wave))


def volume(surface: Surface) -> float:
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def area(surface: Surface) -> float:
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2)


def is_closed(surface: Surface) -> bool:
    """Each directed edge occurs once, and so does its opposite."""
    f = surface.faces
    edges = torch.cat([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    codes = edges[:, 0] * len(surface.vertices) + edges[:, 1]
    opposite = edges[:, 1] * len(surface.vertices) + edges[:, 0]
    return len(codes.unique()) == len(codes) and set(codes.tolist()) == set(opposite.tolist())


@pytest.mark.parametrize("resolution", [64, 96])
@pytest.mark.parametrize(
    "density",
    [
        pytest.param(ball(lambda r: 1e4 * (r < RADIUS)), id="hard"),
        pytest.param(ball(soft(10.0)), id="soft 10"),
        pytest.param(ball(soft(10.0, 50.0)), id="very soft 10"),
        pytest.param(ball(soft(100.0)), id="soft 100"),
        pytest.param(ball(soft(1000.0)), id="soft 1000"),
        pytest.param(ball(lambda r: 0.5 + 100 * torch.sigmoid(400 * (RADIUS - r))), id="in fog everywhere"),
        pytest.param(ball(lambda r: 0.5 * (r < 1.2) + 1e3 * (r < RADIUS)), id="in a ball of fog"),
        pytest.param(noisy_ball, id="noisy"),
    ],
)
def test_a_ball_is_found_at_its_radius_whatever_its_density(density, resolution):
    surface = largest_components(extract_surface(density, CUBE, resolution))
    r = surface.vertices.norm(dim=-1)
    assert abs(float(r.mean()) - RADIUS) < surface.cell
    assert float(r.std()) < 0.3 * surface.cell
    assert is_closed(surface)
    assert volume(surface) == pytest.approx(4 / 3 * math.pi * float(r.mean()) ** 3, rel=0.03)


def test_the_level_follows_the_units():
    """The same scene measured in millimetres: lengths a thousand times longer, densities a thousand times smaller."""
    density = ball(soft(1000.0))
    in_metres = extract_surface(density, CUBE, 64)
    in_millimetres = extract_surface(lambda x: density(x / 1000) / 1000, Box.cube(1500.0), 64)
    assert in_millimetres.level * 1000 == pytest.approx(in_metres.level, rel=1e-4)
    assert torch.allclose(in_millimetres.vertices / 1000, in_metres.vertices, atol=1e-4)


def test_a_faint_small_ball_beside_a_dense_large_one_is_kept():
    def density(x):
        dense = 2000.0 * (x.norm(dim=-1) < RADIUS)
        return dense + 30.0 * ((x - torch.tensor([1.1, 0.0, 0.0])).norm(dim=-1) < 0.12)

    surface = extract_surface(density, CUBE, 96)
    beside = surface.vertices[surface.vertices[:, 0] > 0.8]
    assert float((beside - torch.tensor([1.1, 0.0, 0.0])).norm(dim=-1).mean()) == pytest.approx(0.12, abs=surface.cell)


def test_size_and_place_in_a_box_that_is_neither_centred_nor_a_cube():
    center = torch.tensor([3.0, -2.0, 10.0])
    box = Box(torch.tensor([2.0, -3.5, 9.3]), torch.tensor([4.3, -1.1, 10.6]))
    surface = extract_surface(ball(soft(1e4, 1e4), tuple(center.tolist())), box, 96)
    assert surface.vertices.dtype == torch.float32
    assert volume(surface) == pytest.approx(4 / 3 * math.pi * 0.125, rel=0.01)  # positive: the faces look outwards
    assert area(surface) == pytest.approx(math.pi, rel=0.02)
    middle = (surface.vertices.amax(0) + surface.vertices.amin(0)) / 2
    assert torch.allclose(middle, center, atol=0.5 * surface.cell)


def test_a_sharp_edge_shows_no_stairs():
    """Without the refinement each vertex would be in the middle of its edge, and the radii spread by 0.2 cells."""
    surface = extract_surface(ball(lambda r: 1e4 * (r < RADIUS)), CUBE, 64)
    assert float(surface.vertices.norm(dim=-1).std()) < 0.05 * surface.cell


def test_what_reaches_beyond_the_box_is_cut_off_at_its_side():
    box = Box(torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
    surface = extract_surface(ball(lambda r: 1e4 * (r < RADIUS)), box, 80)
    assert is_closed(surface)
    assert volume(surface) == pytest.approx(2 / 3 * math.pi * 0.125, rel=0.02)
    assert float(surface.vertices[:, 2].min()) == 0.0


def test_a_full_box_gives_the_box():
    surface = extract_surface(lambda x: torch.full_like(x[:, 0], 1e4), CUBE, 16)
    assert is_closed(surface)
    assert volume(surface) == pytest.approx(27.0, rel=1e-4)


def test_a_plateau_exactly_at_the_level():
    surface = extract_surface(ball(lambda r: 10.0 * (r < RADIUS)), CUBE, 32, level=10.0)
    assert is_closed(surface)
    assert float(surface.vertices.norm(dim=-1).mean()) == pytest.approx(RADIUS, abs=surface.cell)


def test_cavities_are_filled():
    surface = extract_surface(ball(lambda r: 1e4 * ((r < RADIUS) & (r > 0.3))), CUBE, 64)
    assert float(surface.vertices.norm(dim=-1).min()) > 0.45


def test_a_thin_rod_is_followed_to_both_ends():
    """It is as thick as 1.5 cells, runs across blocks, and the survey cannot meet it everywhere."""
    resolution = 128
    cell = 3 / resolution
    along = torch.tensor([0.6, 0.48, 0.64])

    def rod(x):
        t = (x @ along).clamp(-1, 1)
        return 1e4 * ((x - t[:, None] * along).norm(dim=-1) < 0.75 * cell)

    surface = largest_components(extract_surface(rod, CUBE, resolution, level=50.0), 0.99)
    t = surface.vertices @ along
    assert float(t.max()) == pytest.approx(1.0, abs=2 * cell)
    assert float(t.min()) == pytest.approx(-1.0, abs=2 * cell)


def test_sparse_and_dense_evaluation_agree_and_sparse_asks_far_less():
    """The reference asks at every node."""
    from skimage.measure import marching_cubes

    resolution, asked = 96, []

    def density(x):
        asked.append(len(x))
        return ball(soft(100.0, 60.0))(x)

    surface = extract_surface(density, CUBE, resolution, level=40.0)
    axis = torch.linspace(-1.5, 1.5, resolution + 1)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    vertices, faces, _, _ = marching_cubes(soft(100.0, 60.0)(grid.norm(dim=-1)).numpy(), 40.0)
    assert len(vertices) == len(surface.vertices)
    assert len(faces) == len(surface.faces)
    assert sum(asked) < 0.25 * (resolution + 1) ** 3


def test_progress_is_told():
    calls = []
    extract_surface(ball(soft(100.0)), CUBE, 32, progress=lambda done, needed: calls.append((done, needed)))
    assert all(0 < done <= needed for done, needed in calls)
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]


@pytest.mark.parametrize("density", [0.0, 0.01])
def test_an_empty_field_is_an_error(density):
    with pytest.raises(InputError, match="empty inside the box"):
        extract_surface(lambda x: torch.full_like(x[:, 0], density), CUBE, 32)


def test_a_level_that_is_never_reached_is_an_error():
    with pytest.raises(InputError, match="nowhere is it as dense as 500"):
        extract_surface(ball(soft(100.0)), CUBE, 32, level=500.0)


def test_what_cannot_be_used_is_an_error():
    with pytest.raises(InputError, match="NaN"):
        extract_surface(lambda x: torch.full_like(x[:, 0], torch.nan), CUBE, 32)
    with pytest.raises(InputError, match="level"):
        extract_surface(ball(soft(10.0)), CUBE, 32, level=-1.0)
    with pytest.raises(InputError, match="at least 4 cells"):
        extract_surface(ball(soft(10.0)), CUBE, 0)
    with pytest.raises(InputError, match="must be positive"):
        extract_surface(ball(soft(10.0)), Box(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0])), 32)


def test_small_components_go_and_the_largest_always_stays():
    def density(x):
        small = (x - torch.tensor([1.1, 0.0, 0.0])).norm(dim=-1) < 0.1
        return 1e3 * ((x.norm(dim=-1) < RADIUS) | small)

    both = extract_surface(density, CUBE, 64)  # the areas are as 0.01 to 0.25
    assert float(largest_components(both, 0.02).vertices[:, 0].max()) > 1
    alone = largest_components(both, 0.1)
    assert float(alone.vertices[:, 0].max()) < 0.6
    assert is_closed(alone)
    assert len(largest_components(both, 5.0).faces) == len(alone.faces)


def test_worked_example_of_what_is_seen():
    line = torch.tensor([[[0.5, 40.0, 400.0], [0.5, 40.0, 20.0]]])
    assert seen_at(line, 0.01, fog=5.0).tolist() == [[2.0, math.inf]]


def test_no_level_for_a_box_with_fog_only():
    fog = torch.full((16, 16, 16), 0.1)
    assert automatic_level(fog, torch.full((3,), 3 / 16), 3 / 32) is None


# Fields that know how far away their surface is.


def ball_distance(x):
    return x.norm(dim=-1) - RADIUS


@pytest.mark.parametrize("resolution", [24, 64])
def test_the_zero_set_of_a_balls_distance_is_its_sphere(resolution):
    surface = extract_zero_set(ball_distance, CUBE, resolution)
    r = surface.vertices.norm(dim=-1)
    assert float((r - RADIUS).abs().max()) < 0.02 * surface.cell
    assert is_closed(surface)
    assert surface.level == 0
    assert volume(surface) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=3 * surface.cell**2)  # inscribed
    assert volume(surface) > 0


def test_a_distance_that_is_too_steep_or_too_flat_has_the_same_zero_set():
    for factor in (0.5, 3.0):
        surface = extract_zero_set(lambda x, f=factor: f * ball_distance(x), CUBE, 48)
        assert float((surface.vertices.norm(dim=-1) - RADIUS).abs().max()) < 0.03 * surface.cell


def test_balls_as_small_as_a_cell_are_all_found():
    """64 of them: whatever has a node inside becomes a part of its own. A density's survey passes over most."""
    resolution = 96
    cell = 3 / resolution
    i = torch.arange(4.0)
    grid = torch.stack(torch.meshgrid(i, i, i, indexing="ij"), -1).reshape(-1, 3)
    centers = -1.5 + cell * (18 * grid + torch.tensor([20.0, 21.0, 22.0]))  # on nodes

    def distance(x):
        return torch.cdist(x, centers).amin(-1) - 0.6 * cell

    surface = extract_zero_set(distance, CUBE, resolution)
    assert torch.cdist(surface.vertices, centers).amin(0).max() < 0.61 * cell  # each center has a surface around it
    missed = extract_surface(lambda x: 1e4 * (distance(x) < 0), CUBE, resolution, level=50.0)
    assert torch.cdist(missed.vertices, centers).amin(0).max() > 2 * cell


def test_few_questions_are_asked_about_a_distance():
    asked = []

    def distance(x):
        asked.append(len(x))
        return ball_distance(x)

    extract_zero_set(distance, CUBE, 128)
    assert sum(asked) < 0.35 * 129**3


def test_a_zero_set_is_cut_at_the_side_of_the_box_and_its_cavities_are_filled():
    box = Box(torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
    surface = extract_zero_set(lambda x: (x.norm(dim=-1) - 0.4).abs() - 0.1, box, 64)
    assert is_closed(surface)
    assert float(surface.vertices[:, 2].min()) == 0.0
    shell = extract_zero_set(lambda x: (x.norm(dim=-1) - 0.4).abs() - 0.1, CUBE, 64)
    assert float(shell.vertices.norm(dim=-1).min()) > 0.45


@pytest.mark.parametrize("value", [0.3, math.nan])
def test_no_zero_set_is_an_error(value):
    with pytest.raises(InputError, match="NaN" if math.isnan(value) else "its distance is negative nowhere"):
        extract_zero_set(lambda x: torch.full_like(x[:, 0], value), CUBE, 16)


def test_a_field_with_a_distance_needs_no_level():
    class Known:
        """Its density would give another radius."""

        def density(self, x):
            return 1e4 * (x.norm(dim=-1) < 0.4)

        def __call__(self, x, d):
            return Radiance(self.density(x), x)

    class Distant(Known):
        def distance(self, x):
            return ball_distance(x)

    def radius(surface: Surface) -> float:
        return float(surface.vertices.norm(dim=-1).mean())

    assert radius(surface_of(Distant(), CUBE, 48)) == pytest.approx(RADIUS, abs=0.01)
    assert radius(surface_of(Distant(), CUBE, 48, level=50.0)) == pytest.approx(0.4, abs=0.03)
    assert radius(surface_of(Known(), CUBE, 48)) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("width", "filled"), [(0.06, True), (0.3, False)])
def test_what_only_a_pinhole_leads_to_is_filled_and_a_bottle_is_not(width: float, filled: bool) -> None:
    """A hollow ball with a square hole in its top; a cell is 0.05 wide."""

    def bottle(x: torch.Tensor) -> torch.Tensor:
        r = x.norm(dim=-1)
        hole = (x[:, 2] > 0) & (x[:, :2].abs() < width / 2).all(1)
        return torch.where((r < 0.7) & (r > 0.4) & ~hole, 300.0, 0.0)

    surface = extract_surface(bottle, Box.cube(1.0), 40, level=100.0)
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    volume = float((a * torch.linalg.cross(b, c)).sum()) / 6
    whole, hollow = 4 / 3 * math.pi * 0.7**3, 4 / 3 * math.pi * (0.7**3 - 0.4**3)
    assert volume == pytest.approx(whole if filled else hollow - 0.3 * width**2, rel=0.03)
