"""Steps that move a surface rather than its points, and the way back where it would turn over or cut itself."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import splu
from torch import Tensor

from nerf3d.kernels.contours import Edges

SMOOTHNESS = 3.0
MEAN, SQUARE = 0.9, 0.99
LOUDEST = 10.0
"""Times the mean length of all gradients: longer ones, of triangles seen edge-on, are cut."""
HALVINGS = 6
ROUNDS = 24

Cuts = Callable[[Tensor, Tensor], Tensor]
"""From vertices and faces to which faces cut others: bool (f), as `metrics.intersections.cut_faces` says it."""


class LargeSteps:
    """Gradient descent on the vertices of a mesh as in Nicolet et al. 2021, "Large Steps in Inverse Rendering of Geometry".

    Adam runs on u = (I + lambda L) x (equation 8), with L the mesh's graph Laplacian (degrees minus adjacency) and one
    length of step for all vertices (section 3.3). So in x a gradient is smoothed twice by (I + lambda L)^-1, and triangles
    keep their shapes. With lambda = 3 a shift of all vertices is carried out wholly, a zigzag from each vertex to the next
    to about a thousandth.
    """

    def __init__(self, vertices: Float[Tensor, "v 3"], edges: Edges, smoothness: float = SMOOTHNESS) -> None:
        count = len(vertices)
        one, other = edges.ends.T.numpy()
        ones = np.ones(2 * len(one))
        adjacent = coo_array((ones, (np.concatenate([one, other]), np.concatenate([other, one]))), (count, count))
        degree = np.bincount(np.concatenate([one, other]), minlength=count)
        laplacian = coo_array((degree, (np.arange(count), np.arange(count))), (count, count)) - adjacent
        self._factors = splu((eye_array(count) + smoothness * laplacian).tocsc())
        self.x = vertices.clone()
        self._mean = torch.zeros(count, 3, dtype=torch.float64)
        self._square = 0.0
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Float[Tensor, "v 3"], rate: float) -> None:
        """One step; no vertex moves by more than about `rate`."""
        size = gradient.norm(dim=1, keepdim=True)
        most = LOUDEST * size.sum() / (size > 0).sum().clamp_min(1)
        g = self.smoothed(gradient * (most / size.clamp_min(1e-30)).clamp_max(1))
        self._steps += 1
        self._mean = MEAN * self._mean + (1 - MEAN) * g
        self._square = SQUARE * self._square + (1 - SQUARE) * float(g.square().sum(1).max())
        mean, square = self._mean / (1 - MEAN**self._steps), self._square / (1 - SQUARE**self._steps)
        if square > 0:
            self.x = self.x - self.smoothed(mean * (rate / square**0.5)).to(self.x)

    def smoothed(self, values: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        """(I + lambda L)^-1 times the values, in double precision."""
        return torch.from_numpy(self._factors.solve(values.double().numpy()))


def untangled(
    before: Float[Tensor, "v 3"], after: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], cuts: Cuts
) -> Float[Tensor, "v 3"]:
    """`after`, but around faces that are turned over or cut others, and were not so `before`, part of the way back: half,
    and again half, then all of it, further and further around. In the end no such face is left.
    """
    known = cuts(before, faces)
    part = torch.ones(len(before), 1, dtype=before.dtype)
    for around in range(ROUNDS):
        x = before + part * (after - before)
        bad = (cuts(x, faces) & ~known) | turned_over(before, x, faces)
        if not bool(bad.any()):
            return x
        touched = torch.zeros(len(before), dtype=torch.bool)
        touched[faces[bad]] = True
        for _ in range(1 + max(around - HALVINGS, 0)):
            touched[faces[touched[faces].any(1)]] = True
        part[touched] *= 0.5 if around < HALVINGS else 0.0
    return before


def turned_over(
    before: Float[Tensor, "v 3"], after: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]
) -> Bool[Tensor, "f"]:
    """Triangles whose normal points to the other side of what it was."""
    first, second = (_normals(x, faces) for x in (before, after))
    return (first * second).sum(1) < 0


def mean_edge(vertices: Float[Tensor, "v 3"], edges: Edges) -> float:
    """The mean length of a mesh's edges."""
    return float((vertices[edges.ends[:, 1]] - vertices[edges.ends[:, 0]]).norm(dim=1).mean())


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = vertices.double()[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)
