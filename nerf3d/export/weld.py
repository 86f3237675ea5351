"""Seams closed: texture coordinates need vertices on a seam twice, the shape needs them once.

Formats whose faces name positions and texture coordinates separately (OBJ, USD) get the closed shape, which a program can
smooth, subdivide and measure; a mesh that is cut along its seams falls apart there.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor


def welded(
    vertices: Float32[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]
) -> tuple[Float32[Tensor, "w 3"], Int64[Tensor, "f 3"]]:
    """Each position once, in the order of its first appearance, and the faces that name these.

    >>> twice = torch.tensor([[5.0, 0, 0], [0, 0, 0], [0, 1, 0], [5, 0, 0]])
    >>> welded(twice, torch.tensor([[0, 1, 2], [1, 2, 3]]))[1].tolist()
    [[0, 1, 2], [1, 2, 0]]
    """
    _, group = torch.unique(vertices, dim=0, return_inverse=True)
    order = torch.arange(len(vertices))
    first = torch.full((int(group.max()) + 1,), len(vertices)).scatter_reduce(0, group, order, "amin")
    kept = first.sort()
    place = torch.empty_like(kept.indices)
    place[kept.indices] = torch.arange(len(kept.indices))
    return vertices[kept.values], place[group][faces]
