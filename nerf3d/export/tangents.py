"""The frame that a normal map is written in: at each vertex a tangent, to the right in the picture.

Every program that draws a normal map needs the frame that the map was baked in. What they agree on is MikkTSpace
(Mikkelsen, "Simulation of Wrinkled Surfaces Revisited", 2008, section 3.1, and the programs that follow it): a glTF viewer
or Blender that makes its own tangents makes these. A file that carries them leaves nothing to chance.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from nerf3d.core.numerics import normalize


def tangents(
    vertices: Float32[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    normals: Float32[Tensor, "v 3"],
    uv: Float32[Tensor, "v 2"],
) -> Float32[Tensor, "v 4"]:
    """A unit tangent t orthogonal to the normal n, and the handedness s = +-1 with the bitangent b = s n x t, which points
    upwards in the picture (v counts upwards).

    A triangle's tangent is dx/du, laid into the plane orthogonal to the vertex' normal; the triangles around a vertex are
    averaged by their angles there, each laid into that plane too. The handedness is that of the chart, -1 where it is
    mirrored. Unlike MikkTSpace a vertex is never split: charts that meet there with both handednesses must not share it.

    >>> corner = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    >>> up = torch.tensor([[0.0, 0, 1]]).expand(3, 3)
    >>> tangents(corner, torch.tensor([[0, 1, 2]]), up, corner[:, :2] / 2)[0].tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    n = normalize(normals.double())
    x, texture = vertices.double()[faces], uv.double()[faces]
    e1, e2 = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]
    (u1, v1), (u2, v2) = (texture[:, 1] - texture[:, 0]).unbind(1), (texture[:, 2] - texture[:, 0]).unbind(1)
    area = u1 * v2 - u2 * v1
    right = _unit(area.sign()[:, None] * (v2[:, None] * e1 - v1[:, None] * e2))  # dx/du without its length

    total, hand = torch.zeros_like(n), torch.zeros(len(n), dtype=torch.float64)
    for corner in range(3):
        here = faces[:, corner]
        first, second = (_across(x[:, (corner + k) % 3] - x[:, corner], n[here]) for k in (1, 2))
        angle = (_unit(first) * _unit(second)).sum(1).clamp(-1, 1).acos() * (area != 0)
        total.index_add_(0, here, angle[:, None] * _unit(_across(right, n[here])))
        hand.index_add_(0, here, angle * area.sign())

    t = _unit(_across(total, n))
    axis = torch.eye(3, dtype=torch.float64)[n.abs().argmin(1)]  # any direction will do where the chart gives none
    t = torch.where(t.square().sum(1, keepdim=True) < 0.5, _unit(_across(axis, n)), t)
    return torch.cat([t, torch.where(hand < 0, -1.0, 1.0).double()[:, None]], 1).float()


def _across(x: Tensor, n: Tensor) -> Tensor:
    return x - (x * n).sum(-1, keepdim=True) * n


def _unit(x: Tensor) -> Tensor:
    """Unit length, also of very short vectors; zero stays zero."""
    return normalize(x / x.abs().amax(-1, keepdim=True).clamp_min(1e-150))
