"""Sphere tracing: what a camera sees of a scene before anything has a colour (Hart 1996)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from nerf3d.core import Rays
from nerf3d.data.world.distance import Distance

STEPS = 72
CLOSE = 2e-3
CAUTION = 0.8
"""The share of the distance that is stepped: some distances are only bounds."""


@dataclass(frozen=True)
class Surface:
    """The first surface on every ray. `part` is -1 where there is none; position and normal are 0 there."""

    part: Int8[Tensor, "n"]
    position: Float[Tensor, "n 3"]
    normal: Float[Tensor, "n 3"]


def trace(parts: tuple[Distance, ...], rays: Rays) -> Surface:
    """What the rays meet inside of the ball of radius 1 around the origin.

    `parts` together are the scene; the nearest of them at the surface is its part.
    """
    count = len(rays)
    enter, leave = _ball(rays)
    alive = torch.nonzero(leave > enter)[:, 0]
    t = enter[alive]
    hit_ray, hit_t = [alive[:0]], [t[:0]]
    for _ in range(STEPS):
        if alive.numel() == 0:
            break
        x = rays.origin[alive] + t[:, None] * rays.direction[alive]
        gap = _nearest(parts, x)
        met = gap < CLOSE
        hit_ray.append(alive[met])
        hit_t.append(t[met])
        t = t + CAUTION * gap.clamp_min(CLOSE / 2)
        going = ~met & (t < leave[alive])
        alive, t = alive[going], t[going]
    index, distance = torch.cat(hit_ray), torch.cat(hit_t)
    x = rays.origin[index] + distance[:, None] * rays.direction[index]
    part = torch.full((count,), -1, dtype=torch.int8)
    position, normal = torch.zeros(count, 3), torch.zeros(count, 3)
    if index.numel():
        part[index] = torch.stack([p(x) for p in parts]).argmin(0).to(torch.int8)
        position[index], normal[index] = x, _normal(parts, x)
    return Surface(part, position, normal)


def _nearest(parts: tuple[Distance, ...], x: Tensor) -> Tensor:
    return torch.stack([part(x) for part in parts]).amin(0)


def _normal(parts: tuple[Distance, ...], x: Tensor, width: float = 4e-3) -> Tensor:
    """The gradient of the distance from the four corners of a tetrahedron."""
    corners = x.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    total = sum(corner * _nearest(parts, x + width * corner)[:, None] for corner in corners)
    return torch.nn.functional.normalize(torch.as_tensor(total), dim=-1)


def _ball(rays: Rays) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Where the rays enter and leave the ball of radius 1; leave < enter where they miss it."""
    closest = -(rays.origin * rays.direction).sum(-1)
    miss = (rays.origin + closest[:, None] * rays.direction).square().sum(-1)
    half = (1 - miss).clamp_min(0).sqrt()
    return torch.where(miss < 1, closest - half, 1.0).clamp_min(0), torch.where(miss < 1, closest + half, 0.0)
