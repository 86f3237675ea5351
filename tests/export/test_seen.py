"""Soft bodies: where light is gone, by closed forms and by slow walks along straight lines."""

import math
from itertools import product

import pytest
import torch

from nerf3d.core import Box, Radiance
from nerf3d.errors import InputError
from nerf3d.export.seen import DIRECTIONS, GONE, least_depth, seen_surface
from nerf3d.metrics.mesh import health

BOX = Box.cube(1.0)


class Ball:
    """Fog whose density depends on the distance from the middle."""

    def __init__(self, core: float, shell: float, radius: float = 0.8) -> None:
        self.core, self.shell, self.radius = core, shell, radius

    def density(self, x: torch.Tensor) -> torch.Tensor:
        r = x.norm(dim=-1)
        return torch.where(r < 0.3, self.core, torch.where(r < self.radius, self.shell, 0.0))

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), torch.ones_like(x))


def radii(vertices: torch.Tensor) -> tuple[float, float]:
    r = vertices.norm(dim=1)
    return float(r.min()), float(r.max())


def test_a_shell_of_fog_around_a_hard_core_is_the_body() -> None:
    """At density 4 light reaches 0.05 into the shell. The nearest of 26 directions is 0 to 30 degrees off the radius."""
    surface = seen_surface(Ball(1000.0, 4.0), BOX, 64)
    low, high = radii(surface.vertices)
    assert 0.8 - GONE / 4 - 0.03 < low < high < 0.8 - 0.8 * GONE / 4 + 0.03
    state = health(surface.vertices, surface.faces)
    assert state.watertight
    assert state.components == 1


def test_hard_matter_begins_where_it_is() -> None:
    low, high = radii(seen_surface(Ball(2000.0, 2000.0, 0.5), BOX, 64).vertices)
    assert 0.5 - 0.05 < low < high < 0.5 + 0.04


def test_a_hole_that_can_be_looked_through_stays_one() -> None:
    class Ring(Ball):
        def density(self, x: torch.Tensor) -> torch.Tensor:
            across = x[:, :2].norm(dim=-1) - 0.6
            return torch.where(across.square() + x[:, 2].square() < 0.2**2, 50.0, 0.0)

    surface = seen_surface(Ring(0, 0), BOX, 48)
    state = health(surface.vertices, surface.faces)
    edges = 3 * state.faces // 2
    assert state.vertices - edges + state.faces == 0  # Euler's number of a torus


def slow(density: torch.Tensor, spacing: list[float]) -> torch.Tensor:
    """Node by node, direction by direction, step by step."""
    least = torch.full_like(density, math.inf)
    for node in product(*(range(n) for n in density.shape)):
        for direction in DIRECTIONS:
            step = math.sqrt(sum((s * d) ** 2 for s, d in zip(spacing, direction)))
            depth, here = 0.0, node
            while True:
                before = tuple(n - d for n, d in zip(here, direction))
                outside = any(not 0 <= n < size for n, size in zip(before, density.shape))
                depth += 0.5 * step * (float(density[here]) + (0.0 if outside else float(density[before])))
                if outside:
                    break
                here = before
            least[node] = min(float(least[node]), depth)
    return least


def test_the_least_depth_is_that_of_a_slow_walk() -> None:
    density = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0))
    spacing = [0.1, 0.2, 0.3]
    assert torch.allclose(least_depth(density, spacing), slow(density, spacing), atol=1e-5)


def test_nothing_and_not_a_number() -> None:
    with pytest.raises(InputError, match="light goes through it everywhere"):
        seen_surface(Ball(0.01, 0.01), BOX, 16)
    with pytest.raises(InputError, match="NaN"):
        seen_surface(Ball(math.nan, 1.0), BOX, 16)
