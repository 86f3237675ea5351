"""Which triangle of a mesh every pixel shows, and where on it: rasterisation with a depth buffer.

A corner's place is (x, y, z): pixels from the picture's upper left corner, and the distance in front of the camera along
its axis. The first pixel's centre is (0.5, 0.5). With all z = 1 this draws a flat chart, as an atlas of textures is.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.kernels.backend import backend

CANDIDATES = 1 << 22  # pixels in bounding boxes that are looked at together


@dataclass(frozen=True)
class Fragments:
    """`face` is -1 and `depth` infinite where there is nothing. `weight` are the corners' shares in what is seen there, as
    perspective demands: attribute = sum of weight * the corners' attributes, 0 where there is nothing.
    """

    face: Int64[Tensor, "h w"]
    weight: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]


def rasterize(place: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], height: int, width: int) -> Fragments:
    """The nearest triangle at every pixel's centre; of several equally near ones the first.

    Both sides of a triangle are seen. Triangles without area, and those that reach behind the camera (z <= 0), are left
    out: they are not clipped. No gradients; see `corner_weights`.

    >>> corner = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.0]])
    >>> rasterize(corner, torch.tensor([[0, 1, 2]]), 2, 2).weight[0, 0]
    tensor([0.7500, 0.1250, 0.1250])
    """
    if backend(place) == "numba":
        from nerf3d.kernels import raster_numba

        face = torch.empty(height, width, dtype=torch.int64)
        weight, depth = torch.empty(height, width, 3), torch.empty(height, width)
        raster_numba.rasterize(
            place.detach().double().contiguous().numpy(), faces.contiguous().numpy(), face.numpy(), weight.numpy(),
            depth.numpy(),
        )  # fmt: skip
        return Fragments(face, weight, depth)
    return rasterize_reference(place, faces, height, width)


def rasterize_reference(place: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], height: int, width: int) -> Fragments:
    """The same in plain torch: every pixel of every triangle's bounding box is a candidate. The numba version agrees
    within 1e-5.
    """
    device = place.device
    pixels = height * width
    best = torch.full((pixels,), torch.inf, dtype=torch.float64, device=device)
    owner = torch.full((pixels,), len(faces), dtype=torch.int64, device=device)
    corners = place.detach().double()[faces]
    low = (corners[..., :2].amin(1) - 0.5).ceil().clamp_min(0).long()
    high = (corners[..., :2].amax(1) - 0.5).floor().long() + 1
    size = (torch.minimum(high, torch.tensor([width, height], device=device)) - low).clamp_min(0)
    area = _cross(corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2])
    fine = (corners[..., 2] > 0).all(1) & (area != 0) & corners.isfinite().all((1, 2))
    count = torch.where(fine, size[:, 0] * size[:, 1], 0)
    for begin, end in _portions(count):
        each = count[begin:end]
        index = torch.repeat_interleave(torch.arange(begin, end, device=device), each)
        inside = torch.arange(len(index), device=device) - torch.repeat_interleave(each.cumsum(0) - each, each)
        x = low[index, 0] + inside % size[index, 0].clamp_min(1)
        y = low[index, 1] + inside // size[index, 0].clamp_min(1)
        flat = _flat_weights(corners[index], torch.stack([x, y], -1) + 0.5)
        hit = (flat >= 0).all(-1)
        index, pixel, flat = index[hit], (y * width + x)[hit], flat[hit]
        z = 1 / (flat / corners[index][..., 2]).sum(-1)
        nearest = best.clone().scatter_reduce_(0, pixel, z, "amin")
        owner = torch.where(nearest < best, len(faces), owner)
        wins = z == nearest[pixel]
        owner = owner.scatter_reduce(0, pixel[wins], index[wins], "amin")
        best = nearest
    face = torch.where(owner < len(faces), owner, -1).reshape(height, width)
    weight = corner_weights(place.detach().double(), faces, face).to(place.dtype)
    return Fragments(face, weight, best.to(place.dtype).reshape(height, width))


def corner_weights(
    place: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], face: Int64[Tensor, "h w"]
) -> Float[Tensor, "h w 3"]:
    """The weights of `Fragments` again, differentiable with respect to the places of the corners."""
    height, width = face.shape
    shown = face >= 0
    y, x = torch.nonzero(shown, as_tuple=True)
    corners = place[faces[face[shown]]]
    flat = _flat_weights(corners, torch.stack([x, y], -1) + 0.5)
    true = flat / corners[..., 2]
    result = torch.zeros(height, width, 3, dtype=place.dtype, device=place.device)
    return result.index_put((y, x), true / true.sum(-1, keepdim=True))


def interpolate(
    fragments: Fragments, faces: Int64[Tensor, "f 3"], attribute: Float[Tensor, "v c"]
) -> Float[Tensor, "h w c"]:
    """An attribute of the vertices at every pixel; 0 where there is nothing."""
    corners = attribute[faces[fragments.face.clamp_min(0)]]
    return (fragments.weight[..., None].to(attribute) * corners).sum(-2)


def _flat_weights(corners: Tensor, pixel: Tensor) -> Tensor:
    """Shares of the triangle's area opposite to each corner, in the picture's plane: (n 3 3) and (n 2) to (n 3)."""
    a, b, c = corners[..., :2].unbind(1)
    opposite = torch.stack([_cross(c - b, pixel - b), _cross(a - c, pixel - c), _cross(b - a, pixel - a)], -1)
    return opposite / _cross(b - a, c - a)[:, None]


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _portions(count: Tensor) -> list[tuple[int, int]]:
    """Runs of triangles whose bounding boxes have so many pixels in all that they fit into memory."""
    group = count.cumsum(0).sub(count) // CANDIDATES
    ends = (torch.nonzero(group[1:] != group[:-1])[:, 0] + 1).tolist()
    edges = [0, *ends, len(count)]
    return [(b, e) for b, e in zip(edges[:-1], edges[1:]) if e > b]
