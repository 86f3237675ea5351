"""Pictures of a mesh with colours that are differentiable with respect to its vertices and its colours."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.kernels.contours import Edges, with_contours
from nerf3d.kernels.raster import corner_weights, rasterize


@dataclass(frozen=True)
class Paint:
    """What a mesh's surface looks like: a texture, whose row 0 is at the top, and the places `uv` of each triangle's corners
    in it, counted from its lower left; or, without `uv`, colours at the vertices. Colours are sRGB in [0, 1].
    """

    color: Float[Tensor, "*n c"]
    uv: Float[Tensor, "f 3 2"] | None = None


def draw(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    edges: Edges,
    paint: Paint,
    cameras: Cameras,
    index: int,
    oversampling: int = 2,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Float[Tensor, "h w c1"]:
    """What camera `index` sees: colours over black (premultiplied) and opacity, each pixel the mean of
    oversampling x oversampling points, all of them moved by `shift` (in distances between them, x and y).

    Which triangle a point shows is decided by a depth buffer. Gradients flow into the colours, exactly; and into the
    vertices, within triangles by perspective-correct interpolation and at contours as `kernels.contours` has it.
    """
    large = cameras.scaled_to(cameras.width * oversampling, cameras.height * oversampling)
    which = torch.full((len(vertices),), index, dtype=torch.int64, device=vertices.device)
    pixel, z = large.project(which, vertices)
    place = torch.cat([pixel - pixel.new_tensor(shift), z[:, None]], 1)
    fragments = rasterize(place.detach(), faces, large.height, large.width)
    shown = fragments.face >= 0
    face, weight = fragments.face[shown], corner_weights(place, faces, fragments.face)[shown]
    color = read(paint, faces, face, weight)
    sample = torch.cat([color, torch.ones_like(color[:, :1])], 1)
    y, x = torch.nonzero(shown, as_tuple=True)
    picture = sample.new_zeros(large.height, large.width, sample.shape[1]).index_put((y, x), sample)
    picture = with_contours(picture, fragments.depth, place, edges)
    return F.avg_pool2d(picture.permute(2, 0, 1), oversampling).permute(1, 2, 0)


def read(
    paint: Paint, faces: Int64[Tensor, "f 3"], face: Int64[Tensor, "n"], weight: Float[Tensor, "n 3"]
) -> Float[Tensor, "n c"]:
    """The colours at places on the surface, each given by a triangle and the shares of its corners. Linear in the colours;
    textures are read bilinearly.
    """
    if paint.uv is None:
        return (weight[..., None] * paint.color[faces[face]]).sum(1)
    uv = (weight[..., None] * paint.uv[face]).sum(1)
    grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], -1)
    texture = paint.color.permute(2, 0, 1)[None]
    return F.grid_sample(texture, grid[None, None], align_corners=False, padding_mode="border")[0, :, 0].T
