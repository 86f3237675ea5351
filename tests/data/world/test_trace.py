import math

import pytest
import torch

from nerf3d.core import Rays
from nerf3d.core.paths import standing
from nerf3d.data.world import distance as d
from nerf3d.data.world.trace import CLOSE, trace

RADIUS = 0.6


def seen_from(azimuth: float, elevation: float, size: int = 48, distance: float = 3.0) -> Rays:
    each = (torch.tensor([float(v)]) for v in (azimuth, elevation, distance, 40.0))
    return standing(*each, size).rays(0)


def test_a_ball_is_met_where_geometry_says() -> None:
    rays = seen_from(30, 20)
    surface = trace((d.ball(RADIUS),), rays)
    closest = -(rays.origin * rays.direction).sum(-1)
    squared = RADIUS**2 - (rays.origin + closest[:, None] * rays.direction).square().sum(-1)
    grazing = squared.abs() < 0.01
    hit = squared > 0
    assert torch.equal((surface.part == 0)[~grazing], hit[~grazing])
    sure = hit & ~grazing
    depth = closest[sure] - squared[sure].sqrt()
    found = ((surface.position - rays.origin) * rays.direction).sum(-1)[sure]
    assert float((found - depth).abs().max()) < 10 * CLOSE
    assert float((found - depth).abs().median()) < CLOSE
    assert bool((found <= depth + 1e-4).all())  # stops in front of it
    exact = torch.nn.functional.normalize(surface.position[sure], dim=-1)
    assert float((surface.normal[sure] - exact).norm(dim=-1).max()) < 0.02


def test_where_nothing_is_met_there_is_nothing() -> None:
    surface = trace((d.ball(0.2),), seen_from(0, 0))
    empty = surface.part < 0
    assert bool(empty.any())
    assert bool((~empty).any())
    assert float(surface.position[empty].abs().max()) == 0
    assert float(surface.normal[empty].abs().max()) == 0


def test_the_nearer_of_two_parts_is_the_part() -> None:
    """A ball at -y stands before one at +y when seen from the front, and behind it from the back."""
    front, back = d.moved(d.ball(0.3), 0, -0.5, 0), d.moved(d.ball(0.3), 0, 0.5, 0)
    middle = 48 * 24 + 24
    assert int(trace((front, back), seen_from(0, 0)).part[middle]) == 0
    assert int(trace((front, back), seen_from(180, 0)).part[middle]) == 1


def test_rays_that_miss_the_unit_ball_or_start_inside_of_it() -> None:
    origin = torch.tensor([[0.0, -3, 2.0], [0.0, 0.0, 0.0], [0.0, -3.0, 0.0]])
    direction = torch.tensor([[0.0, 1, 0], [0.0, 1, 0], [0.0, -1.0, 0.0]])
    rays = Rays(origin, direction, torch.zeros(3), torch.full((3,), math.inf))
    surface = trace((d.cut(d.ball(0.7), d.ball(0.5)),), rays)
    assert surface.part.tolist() == [-1, 0, -1]
    assert float(surface.position[1, 1]) == pytest.approx(0.5, abs=10 * CLOSE)


def test_nothing_to_trace() -> None:
    rays = Rays(torch.tensor([[0.0, -3, 5.0]]), torch.tensor([[0.0, 1, 0]]), torch.zeros(1), torch.full((1,), math.inf))
    assert trace((d.ball(0.5),), rays).part.tolist() == [-1]
