"""What a picture of a mesh owes to its contours: the part of its gradient that hard visibility hides.

A pixel is the mean of the scene's colours over its area. Where a vertex moves, colours slide within triangles, which
automatic differentiation follows; and the border between what is in front and what is behind moves, which it cannot see,
since each sample shows the one or the other. By Reynolds' transport theorem (Li et al. 2018, "Differentiable Monte Carlo
Ray Tracing through Edge Sampling", equation 5) that second part is an integral along the visible contours,

    d I / d theta = sum over contours of the integral of (I_inside - I_outside) (n . d p / d theta) dl,

with p the places on the contour in the picture and n its normal, outwards. It is summed here over the contours' pieces, no
longer than a pixel each. What is drawn stays the picture itself. An antialiasing of neighbouring pixels (Laine et al. 2020,
section 3.5) looks for the contour in the triangles that these pixels show; where triangles are smaller than pixels, as they
are in photographs of a mesh of 20,000, it mostly is on another one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BESIDE = 0.75
"""Pixels to either side of a contour, where its two colours are read."""


@dataclass(frozen=True)
class Edges:
    """Each edge of a mesh once: its two vertices, and those opposite to it in its two triangles, the same one twice where
    there is one triangle only. Of more than two triangles at an edge two count.
    """

    ends: Int64[Tensor, "e 2"]
    opposite: Int64[Tensor, "e 2"]


def edges_of(faces: Int64[Tensor, "f 3"]) -> Edges:
    """The edges of a mesh.

    >>> edges_of(torch.tensor([[0, 1, 2], [2, 1, 3]])).opposite.tolist()
    [[2, 2], [1, 1], [3, 0], [2, 2], [1, 1]]
    """
    half = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = torch.cat([faces[:, 2], faces[:, 0], faces[:, 1]])
    ends, edge = torch.unique(half.sort(1).values, dim=0, return_inverse=True)
    order = torch.argsort(edge, stable=True)
    size = torch.bincount(edge, minlength=len(ends))
    first = size.cumsum(0) - size
    second = first + (size > 1).long()
    return Edges(ends, torch.stack([opposite[order[first]], opposite[order[second]]], 1))


def with_contours(
    picture: Float[Tensor, "h w c"], depth: Float[Tensor, "h w"], place: Float[Tensor, "v 3"], edges: Edges
) -> Float[Tensor, "h w c"]:
    """The same picture, whose gradient with respect to `place` now holds what the contours' motion brings.

    `place` and `depth` are those of `kernels.raster`: pixels and the distance in front of the camera, infinite where there
    is nothing. An edge is on the contour where its two triangles lie on one side of it in the picture, or where it has only
    one; what is hidden behind something else does not count.

    >>> x = torch.tensor([[1.0, 1, 1], [3, 1, 1], [3, 3, 1], [1, 3, 1]], requires_grad=True)  # a square of 2 x 2 pixels
    >>> depth = torch.full((4, 4), torch.inf)
    >>> depth[1:3, 1:3] = 1
    >>> seen = with_contours((depth == 1).float()[..., None], depth, x, edges_of(torch.tensor([[0, 1, 2], [0, 2, 3]])))
    >>> seen.sum().backward()  # the area, whose derivative is half of each neighbour's edge
    >>> x.grad[0].tolist()
    [-1.0, -1.0, 0.0]
    """
    height, width = depth.shape
    with torch.no_grad():
        which, share, length = _pieces(place, edges, height, width)
    a, b = place[edges.ends[which, 0]], place[edges.ends[which, 1]]
    p = torch.lerp(a[:, :2], b[:, :2], share[:, None])
    with torch.no_grad():
        along = b[:, :2] - a[:, :2]
        normal = torch.stack([along[:, 1], -along[:, 0]], 1) / along.norm(dim=1, keepdim=True)
        inside = place[edges.opposite[which, 0], :2] - a[:, :2]
        normal = torch.where((normal * inside).sum(1, keepdim=True) > 0, -normal, normal)
        z = 1 / torch.lerp(1 / a[:, 2], 1 / b[:, 2], share)
        inner, outer, here = ((p + step * normal).floor().long() for step in (-BESIDE, BESIDE, 0.0))
        size = torch.tensor([width, height], device=place.device)
        within = torch.stack([(q >= 0) & (q < size) for q in (inner, outer, here)]).all(0).all(1)
        (x_in, y_in), (x_out, y_out) = (q.clamp_min(0).minimum(size - 1).unbind(1) for q in (inner, outer))
        behind = depth[y_out, x_out]
        visible = (within & (behind > z) & (behind > depth[y_in, x_in])).nonzero()[:, 0]
        jump = picture[y_in[visible], x_in[visible]] - picture[y_out[visible], x_out[visible]]
        x, y = here[visible].unbind(1)
    moves = ((p[visible] - p[visible].detach()) * normal[visible]).sum(1) * length[visible]
    return picture.index_put((y, x), jump * moves[:, None], accumulate=True)


def _pieces(
    place: Float[Tensor, "v 3"], edges: Edges, height: int, width: int
) -> tuple[Int64[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n"]]:
    """The edges on the contour in pieces of a pixel at most: which edge, where on it (0 to 1), and how long a piece is."""
    a, b = place[edges.ends[:, 0]], place[edges.ends[:, 1]]
    along = (b - a)[:, :2]
    first, second = (_cross(along, place[edges.opposite[:, k], :2] - a[:, :2]) for k in (0, 1))
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    size = torch.tensor([width, height], device=place.device)
    near = (high[:, :2] >= 0).all(1) & (low[:, :2] <= size).all(1) & (low[:, 2] > 0)
    length = along.norm(dim=1)
    fine = (
        near & length.isfinite() & (length > 0) & (length < 8 * (height + width))
    )  # the rest comes from behind the eye
    contour = (fine & (first * second > 0)).nonzero()[:, 0]
    count = length[contour].ceil().long()
    which = contour.repeat_interleave(count)
    number = torch.arange(len(which), device=place.device) - (count.cumsum(0) - count).repeat_interleave(count)
    pieces = count.repeat_interleave(count)
    return which, (number + 0.5) / pieces, length[which] / pieces


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
