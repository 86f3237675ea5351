"""The eight sides of a result that the evaluator is shown: in colour, and as grey clay, which shows its shape alone."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras, Scene
from nerf3d.core.numerics import normalize
from nerf3d.core.paths import standing
from nerf3d.export.asset import vertex_normals
from nerf3d.export.draw import Paint, draw
from nerf3d.export.simplify import smooth
from nerf3d.export.surface import Surface
from nerf3d.kernels.contours import edges_of
from nerf3d.render.picture import render_picture

VIEWS, SIZE = 8, 64
ELEVATION = 20.0
BEHIND = 0.5
"""The grey behind all pictures: neither white nor black objects disappear before it."""
CLAY, AMBIENT = 0.85, 0.35
HIGHER = 0.5
"""Where clay's light comes from: the camera, and so much above it (in units of the direction to it)."""
SMOOTHING = 12
"""Rounds of a filter that meshes of prompts get, whose bumps are the noise of score distillation."""


def around() -> Cameras:
    """Where the evaluator looks from, the front first: twice as large as it looks, to be averaged down."""
    each = torch.ones(VIEWS)
    return standing(torch.arange(VIEWS) * (360 / VIEWS), ELEVATION * each, 2.9 * each, 40 * each, 2 * SIZE)


@torch.no_grad()
def in_color(scene: Scene) -> Float[Tensor, "8 64 64 3"]:
    """The field itself."""
    cameras, grey = around(), replace(scene, background=torch.full((3,), BEHIND))
    return _halved(torch.stack([render_picture(grey, cameras, i).color.clamp(0, 1) for i in range(VIEWS)]))


@torch.no_grad()
def as_clay(surface: Surface) -> Float[Tensor, "8 64 64 3"]:
    """Its surface, smoothed as that of `asset.glb`, under Lambert's law."""
    surface = smooth(surface, SMOOTHING)
    normals = vertex_normals(surface.vertices, surface.faces)
    cameras, edges = around(), edges_of(surface.faces)
    pictures = []
    for i in range(VIEWS):
        toward = normalize(torch.tensor([0.0, 0.0, HIGHER]) - cameras.forward[i])
        light = AMBIENT + (1 - AMBIENT) * (normals @ toward).clamp_min(0)
        paint = Paint((CLAY * light)[:, None].expand(-1, 3))
        pictures.append(draw(surface.vertices, surface.faces, edges, paint, cameras, i))
    return before_grey(torch.stack(pictures))


def before_grey(seen: Float[Tensor, "8 128 128 4"]) -> Float[Tensor, "8 64 64 3"]:
    """What `export.draw` drew of the cameras `around` an object, as the evaluator is shown it."""
    return _halved(seen[..., :3] + (1 - seen[..., 3:]) * BEHIND)


def _halved(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
