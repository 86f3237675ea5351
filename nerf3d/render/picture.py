"""Whole pictures of a finished scene."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras, Scene
from nerf3d.core.numerics import normalize
from nerf3d.render.normals import Normals
from nerf3d.render.render import render

FIRST_CHUNK, MOST_RAYS = 2048, 16384
MOST_SAMPLES = 2**19
"""Rays are rendered together as long as they have no more samples than this: in fog a ray has hundreds."""


@dataclass(frozen=True)
class Picture:
    """What a camera sees: color over the scene's background, opacity, depth along the rays, and normals if asked for."""

    color: Float[Tensor, "h w 3"]
    opacity: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    normal: Float[Tensor, "h w 3"] | None = None


@torch.no_grad()
def render_picture(scene: Scene, cameras: Cameras, index: int, normals: bool = False) -> Picture:
    """The picture of camera `index`. No chance is involved: the same picture every time."""
    rays = cameras.rays(index)
    colors, opacities, depths, directions = [], [], [], []
    begin, chunk = 0, FIRST_CHUNK
    while begin < len(rays):
        part = rays[begin : begin + chunk]
        begin += chunk
        out = render(scene.field, part, scene.sampler, scene.background)
        colors.append(out.color)
        opacities.append(out.opacity)
        depths.append(out.depth)
        if normals:
            sum_of_normals = render(Normals(scene.field), part, lambda *_, s=out.samples: s).color
            directions.append(normalize(sum_of_normals))
        chunk = min(max(MOST_SAMPLES * len(part) // max(len(out.samples), 1), 64), MOST_RAYS)
    height, width = cameras.height, cameras.width
    return Picture(
        torch.cat(colors).reshape(height, width, 3),
        torch.cat(opacities).reshape(height, width),
        torch.cat(depths).reshape(height, width),
        torch.cat(directions).reshape(height, width, 3) if normals else None,
    )
