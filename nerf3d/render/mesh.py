"""Pictures of a triangle mesh by the cameras that look at fields. No light falls on it: colours are shown as they are."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.kernels.raster import Fragments, interpolate, rasterize
from nerf3d.render.picture import Picture


@dataclass(frozen=True)
class Mesh:
    """Corners in the world and what they look like, colours in [0, 1]: at the vertices, or a texture, whose row 0 is at the
    top and whose coordinates `uv` count from its lower left.
    """

    vertices: Float[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    colors: Float[Tensor, "v 3"] | None = None
    uv: Float[Tensor, "v 2"] | None = None
    texture: Float[Tensor, "h w 3"] | None = None


@torch.no_grad()
def render_mesh(
    mesh: Mesh, cameras: Cameras, index: int, background: Float[Tensor, "3"], oversampling: int = 3
) -> Picture:
    """What camera `index` sees, each pixel the mean of oversampling x oversampling points. Depth is along the rays, and 0
    where there is nothing, as for fields.
    """
    large = cameras.scaled_to(cameras.width * oversampling, cameras.height * oversampling)
    fragments = seen_by(mesh, large, index)
    shown = fragments.face >= 0
    color = torch.where(shown[..., None], surface_color(mesh, fragments), background)
    rays = cameras.rays(index)
    ahead = (rays.direction @ cameras.forward[index]).reshape(cameras.height, cameras.width)
    opacity = shown.float()
    total = _mean(opacity, oversampling)
    depth = _mean(torch.where(shown, fragments.depth, 0.0), oversampling) / total.clamp_min(1e-6)
    return Picture(
        F.avg_pool2d(color.permute(2, 0, 1), oversampling).permute(1, 2, 0), total, depth / ahead.clamp_min(1e-6)
    )


def seen_by(mesh: Mesh, cameras: Cameras, index: int) -> Fragments:
    """The triangle at every pixel's centre. Lenses that bend lines bend the corners only."""
    which = torch.full((len(mesh.vertices),), index, dtype=torch.int64)
    pixel, z = cameras.project(which, mesh.vertices)
    return rasterize(torch.cat([pixel, z[:, None]], 1), mesh.faces, cameras.height, cameras.width)


def surface_color(mesh: Mesh, fragments: Fragments) -> Float[Tensor, "h w 3"]:
    """The colour at every pixel that shows the mesh; textures are read bilinearly. Grey for a mesh without colours."""
    if mesh.texture is not None and mesh.uv is not None:
        uv = interpolate(fragments, mesh.faces, mesh.uv)
        grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)
        read = F.grid_sample(
            mesh.texture.permute(2, 0, 1)[None], grid[None], align_corners=False, padding_mode="border"
        )
        return read[0].permute(1, 2, 0)
    colors = mesh.colors if mesh.colors is not None else torch.full((len(mesh.vertices), 3), 0.8)
    return interpolate(fragments, mesh.faces, colors)


def moved(mesh: Mesh, world_from_mesh: Float[Tensor, "3 4"]) -> Mesh:
    """The mesh with its vertices multiplied by the matrix and shifted."""
    return replace(mesh, vertices=mesh.vertices @ world_from_mesh[:, :3].T + world_from_mesh[:, 3])


def _mean(values: Float[Tensor, "h w"], side: int) -> Float[Tensor, "h2 w2"]:
    return F.avg_pool2d(values[None], side)[0]
