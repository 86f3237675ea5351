"""What the benchmark looks at: rays from all around towards a ball, one training step of it, one picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nerf3d.core import Box, Cameras, Rays, Scene
from nerf3d.core.paths import orbit
from nerf3d.fields.hash_grid import HashGrid, HashGridField
from nerf3d.kernels.adam import Adam
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.kernels.march import clearance
from nerf3d.render.occupancy import Occupancy, OccupancySampler
from nerf3d.render.picture import Picture, render_picture
from nerf3d.render.render import render

HALF, RADIUS, CELLS = 1.5, 20, 64
"""Half the box's side, the ball's radius in cells, and how many cells make up a side: a tenth of the box is occupied."""
LAYOUT = GridLayout(levels=12, features=2, log2_table_size=15, coarsest=16, finest=512)
FIELD = HashGrid(LAYOUT, width=64, density_layers=1, color_layers=2)
UP = torch.tensor([0.0, 0.0, 1.0])
OPAQUE = 60.0
"""Density of a finished object: light is gone within a tenth of the ball's radius."""


@dataclass(frozen=True)
class Bench:
    """Fog in a ball, as a field is when training begins: every ray goes all the way through it."""

    field: HashGridField
    sampler: OccupancySampler
    rays: Rays
    target: Tensor
    occupied: Tensor

    @property
    def device(self) -> torch.device:
        return self.target.device


def make_scene(count: int, device: torch.device) -> Bench:
    rng = torch.Generator().manual_seed(0)
    box = Box(torch.full((3,), -HALF, device=device), torch.full((3,), HALF, device=device))
    sampler = Occupancy(resolution=CELLS, steps_per_side=162).build(box).to(device)
    cell = torch.cartesian_prod(*[torch.arange(CELLS)] * 3).reshape(CELLS, CELLS, CELLS, 3)
    ball = ((cell - (CELLS - 1) / 2).norm(dim=-1) < RADIUS).to(device)
    sampler.clear.copy_(clearance(ball.to(torch.uint8)))
    eye = _around(count)[:, :, 3]
    target = 0.4 * torch.randn(count, 3, generator=rng)
    direction = torch.nn.functional.normalize(target - eye, dim=-1)
    parts = (eye, direction, torch.zeros(count), torch.full((count,), 100.0))
    rays = Rays(*(part.to(device).contiguous() for part in parts))
    field = FIELD.build(Box.cube(HALF), rng).to(device)
    return Bench(field, sampler, rays, torch.rand(count, 3, generator=rng).to(device), ball)


def training_step(bench: Bench) -> Callable[[], int]:
    """One step of this program, from the rays to moved parameters."""
    rng = torch.Generator(bench.device).manual_seed(0)

    def rendered() -> tuple[Tensor, int]:
        out = render(bench.field, bench.rays, bench.sampler, 0.5, rng)
        return out.color, len(out.samples)

    return optimised(rendered, bench.field, bench.target)


def optimised(
    rendered: Callable[[], tuple[Tensor, int]], learning: torch.nn.Module, target: Tensor
) -> Callable[[], int]:
    """A step around anything that gives colors and the number of their samples: loss, backward pass, optimiser. At a rate
    of 0, which is the same work and leaves the field as it is, so that every repeat sees alike samples."""
    optimizer = Adam([{"params": [p for p in learning.parameters() if p.requires_grad], "lr": 0.0}])

    def step() -> int:
        color, samples = rendered()
        loss = torch.nn.functional.huber_loss(color, target, delta=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return samples

    return step


def picture(side: int, device: torch.device) -> Callable[[], Picture]:
    """A picture of the ball as a finished object, from a camera that it fills well."""
    bench = make_scene(1, device)
    field = bench.field
    with (
        torch.no_grad()
    ):  # features that are the same everywhere, and a last layer that makes the wanted density of them
        field.table.fill_(1.0)
        present = field.density(torch.zeros(1, 3, device=device))
        field.density_network[-1][0] *= math.log(OPAQUE * HALF) / (present * HALF).log()
    cameras = Cameras.pinhole(_around(8), 1.5 * side, side, side).to(device)
    scene = Scene(field, bench.sampler, torch.ones(3, device=device), cameras, Box.cube(HALF), UP.to(device))
    return lambda: render_picture(scene, cameras, 0)


def _around(count: int) -> Tensor:
    return orbit(count, torch.zeros(3), UP, 4.0)
