"""Bodies whose depth is known in closed form, from cameras around them."""

import math

import pytest
import torch

from nerf3d.core import Box, Cameras
from nerf3d.core.cameras import look_at
from nerf3d.errors import InputError
from nerf3d.export.depth import DepthPictures
from nerf3d.export.fusion import fused_surface
from nerf3d.export.manifold import is_closed
from nerf3d.export.surface import Surface

BOX = Box.cube(1.0)
RADIUS = 0.6
SIDES = torch.tensor([0.5, 0.4, 0.45])  # half of a box's
UP = torch.tensor([0.0, 0.1, 1.0])


def around(count: int, low: float = -1.0, high: float = 1.0, size: int = 96) -> Cameras:
    """On a spiral over the part of a sphere whose heights are from low to high; all look at its middle."""
    i = torch.arange(count) + 0.5
    z = low + (high - low) * i / count
    flat, angle = (1 - z * z).sqrt(), 2.4 * i
    eye = 3.0 * torch.stack([flat * angle.cos(), flat * angle.sin(), z], -1)
    return Cameras.pinhole(look_at(eye, torch.zeros(3), UP), 1.2 * size, size, size)


def of_ball(cameras: Cameras) -> DepthPictures:
    """|o + t d| = R, solved for the smaller t."""

    def first(origin: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        b = (origin * direction).sum(-1)
        square = b * b - (origin * origin).sum(-1) + RADIUS**2
        return torch.where(square > 0, -b - square.clamp_min(0).sqrt(), torch.inf)

    return pictures(cameras, first)


def of_box(cameras: Cameras, sides: torch.Tensor = SIDES) -> DepthPictures:
    """The largest entry through the three pairs of planes, where it is before the smallest exit."""

    def first(origin: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        one, other = (-sides - origin) / direction, (sides - origin) / direction
        enter, leave = torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)
        return torch.where(enter < leave, enter, torch.inf)

    return pictures(cameras, first)


def pictures(cameras: Cameras, first) -> DepthPictures:
    rays = [cameras.rays(index) for index in range(len(cameras))]
    depth = torch.stack([first(r.origin, r.direction).reshape(cameras.height, cameras.width) for r in rays])
    return DepthPictures(cameras, depth)


def off_the_box(x: torch.Tensor, sides: torch.Tensor = SIDES) -> torch.Tensor:
    """The signed distance to the box."""
    q = x.abs() - sides
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0)


def volume(surface: Surface) -> float:
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


@pytest.fixture(scope="module")
def all_sides() -> Cameras:
    return around(24)


@pytest.mark.parametrize("resolution", [32, 64])
def test_a_ball_seen_from_all_around_is_closed_and_in_its_place(all_sides: Cameras, resolution: int) -> None:
    surface = fused_surface(of_ball(all_sides), BOX, resolution)
    off = (surface.vertices.norm(dim=-1) - RADIUS) / surface.cell
    assert float(off.abs().max()) < 0.1
    assert float(off.abs().mean()) < 0.02
    assert is_closed(surface.faces)
    assert volume(surface) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.02)  # positive: it looks outwards
    assert (surface.cell, surface.level) == (pytest.approx(2 / resolution), 0.0)


def test_a_box_is_in_its_place_but_for_its_edges(all_sides: Cameras) -> None:
    surface = fused_surface(of_box(all_sides), BOX, 48)
    off = off_the_box(surface.vertices).abs() / surface.cell
    amid = (surface.vertices.abs() < SIDES - 4 * surface.cell).sum(-1) == 2  # of a face
    assert float(amid.float().mean()) > 0.3
    assert float(off[amid].max()) < 0.01
    assert float(off.max()) < 0.5
    assert is_closed(surface.faces)


def test_both_sides_of_a_thin_plate_are_kept(all_sides: Cameras) -> None:
    """It is as thick as two cells: what is seen from above ends where what is seen from below begins."""
    plate = torch.tensor([0.5, 0.5, 2 / 48])
    surface = fused_surface(of_box(all_sides, plate), BOX, 48)
    amid = (surface.vertices[:, :2].abs() < 0.4).all(-1)
    off = off_the_box(surface.vertices, plate)[amid].abs() / surface.cell
    assert float(off.max()) < 0.05
    for side in (surface.vertices[amid, 2] > 0, surface.vertices[amid, 2] < 0):
        assert int(side.sum()) > 0.9 * (0.8 * 24) ** 2  # a vertex a cell


def test_half_of_a_ball_is_open_and_there_is_nothing_else() -> None:
    """From above: no wall closes it, there is no back at the truncation's end, nothing in the shadow below."""
    cameras = around(12, low=0.5, high=1.0)
    surface = fused_surface(of_ball(cameras), BOX, 48)
    off = (surface.vertices.norm(dim=-1) - RADIUS) / surface.cell
    assert float(off.abs().max()) < 0.5
    assert float(off.abs().mean()) < 0.03
    assert not is_closed(surface.faces)
    # A point of the ball is seen where its plane passes below an eye: 3 (x . e) > R^2 for a camera at 3 e.
    outward = torch.nn.functional.normalize(surface.vertices, dim=-1)
    seen = (3 * outward @ torch.nn.functional.normalize(cameras.center, dim=-1).T).amax(-1)
    assert float(seen.min()) > RADIUS - 2 * surface.cell
    assert float(surface.vertices[:, 2].amax()) == pytest.approx(RADIUS, abs=0.1 * surface.cell)


def test_a_surface_that_leaves_the_box_is_open_there(all_sides: Cameras) -> None:
    upper = Box(torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
    surface = fused_surface(of_ball(all_sides), upper, 32)
    assert float((surface.vertices.norm(dim=-1) - RADIUS).abs().max()) < 0.1 * surface.cell  # no floor
    assert float(surface.vertices[:, 2].min()) == pytest.approx(0.0, abs=1e-6)


def test_a_camera_that_is_wrong_is_outvoted(all_sides: Cameras) -> None:
    """One of 24 sees a plate where there is void; the others' rays pass through it."""
    true = of_ball(all_sides)
    depth = true.depth.clone()
    depth[5, 10:30, 10:30] = 2.5
    surface = fused_surface(DepthPictures(true.cameras, depth), BOX, 48)
    assert float((surface.vertices.norm(dim=-1) - RADIUS).abs().max()) < 0.2 * surface.cell


def test_progress_is_told(all_sides: Cameras) -> None:
    calls: list[tuple[int, int]] = []
    fused_surface(of_ball(all_sides), BOX, 24, lambda done, needed: calls.append((done, needed)))
    assert all(0 < done <= needed for done, needed in calls)
    assert calls == sorted(calls)


@pytest.mark.parametrize("depth", [torch.inf, torch.nan, 40.0])
def test_where_nothing_is_seen_there_is_no_surface(depth: float) -> None:
    cameras = around(3, size=16)
    with pytest.raises(InputError, match="No camera sees a surface inside the box"):
        fused_surface(DepthPictures(cameras, torch.full((3, 16, 16), depth)), BOX, 16)
