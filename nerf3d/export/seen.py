"""The surface of matter that is soft: as far as light goes in, from whichever side it comes.

Score distillation asks that every pixel be covered, not that what covers it be hard. A red ball of fog, dense in its middle
and thin in a wide shell, looks like a red ball; but no density is that ball's surface: one that finds the shell finds
specks around hard bodies, too. What is seen from outside decides here instead. With the optical depth that light passes
on its way to a point from outside of the box,

    depth(x, d) = integral of the density from outside to x along d
    least(x)    = min over the 26 directions d to the neighbours of a lattice's node

a point is inside where least(x) > 0.2: whoever looks at it, from anywhere, a fifth of the light is gone (1 - exp(-0.2) =
0.18), and another before the other side. Where matter is hard this is where its density is. What is thinner than that from
any side is not there; caves that no straight line reaches are filled.
"""

import math
from collections.abc import Iterator
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box, Field
from nerf3d.errors import InputError
from nerf3d.export.lattice import CHUNK, Counter, Lattice, Progress
from nerf3d.export.surface import Surface, fill_cavities, march, off_the_half, words

GONE = 0.2
"""The optical depth at the surface."""
DIRECTIONS = tuple(d for d in product((-1, 0, 1), repeat=3) if d != (0, 0, 0))


def seen_surface(field: Field, box: Box, resolution: int = 256, progress: Progress | None = None) -> Surface:
    """The closed surface around what can be seen of a field inside of the box, on a lattice with `resolution` cells along
    the longest side. All nodes are asked about, and four arrays of them held: 0.3 GB at 256 cells.

    Raises InputError where there is no surface, or where the density is NaN.
    """
    lattice = Lattice.over(box, resolution)
    density = _at_nodes(Counter(field.density, progress), lattice)
    least = least_depth(density, lattice.spacing.tolist())
    value = off_the_half(-torch.expm1(-math.log(2) * least / GONE))
    if not bool((value > 0.5).any()):
        raise InputError(
            f"The field is empty inside the box {words(box)}: light goes through it everywhere (the largest density is "
            f"{float(density.max()):.3g}); train longer."
        )
    vertices, faces = march(fill_cavities(value))
    return Surface(lattice.to_world(vertices).float().cpu(), faces, 0.0, float(lattice.spacing.max()))


def least_depth(density: Float[Tensor, "x y z"], spacing: list[float]) -> Float[Tensor, "x y z"]:
    """The least optical depth, over DIRECTIONS, between a node and the outside; the density is linear between nodes.

    >>> least_depth(torch.tensor([0.0, 2.0, 4.0, 0.0]).reshape(4, 1, 1), [0.1, 0.1, 0.1]).flatten()  # 0 beyond y and z
    tensor([0.0000, 0.1000, 0.2000, 0.0000])
    """
    least = torch.full_like(density, torch.inf)
    for direction in DIRECTIONS:
        backward = [axis for axis in range(3) if direction[axis] < 0]
        step = math.sqrt(sum(s * s for s, d in zip(spacing, direction) if d))
        main = next(axis for axis in range(3) if direction[axis])
        aside = [axis for axis in range(3) if axis != main and direction[axis]]
        along = density.flip(backward).movedim(main, 0)
        depth = torch.stack(list(_depths(along, [a - (a > main) for a in aside], step)))
        least = torch.minimum(least, depth.movedim(0, main).flip(backward))
    return least


def _depths(density: Float[Tensor, "n a b"], aside: list[int], step: float) -> Iterator[Float[Tensor, "a b"]]:
    """The optical depth on the way to every slice, each from the slice before, moved by a node along the axes `aside`.

    Before the first slice, and beyond its sides, is nothing.
    """
    before = depth = torch.zeros_like(density[0])
    for now in density:
        for axis in aside:
            before, depth = _moved(before, axis), _moved(depth, axis)
        depth = depth + 0.5 * step * (before + now)
        before = now
        yield depth


def _moved(values: Float[Tensor, "a b"], axis: int) -> Float[Tensor, "a b"]:
    return torch.cat(
        [torch.zeros_like(values.narrow(axis, 0, 1)), values.narrow(axis, 0, values.shape[axis] - 1)], axis
    )


@torch.no_grad()
def _at_nodes(ask: Counter, lattice: Lattice) -> Float[Tensor, "x y z"]:
    shape = [cells + 1 for cells in lattice.cells]
    count = math.prod(shape)
    ask.expect(count)
    parts = []
    for begin in range(0, count, CHUNK):
        node = torch.arange(begin, min(begin + CHUNK, count))
        index = torch.stack([node // (shape[1] * shape[2]), node // shape[2] % shape[1], node % shape[2]], -1)
        parts.append(ask(lattice.to_world(index.float())).float().cpu())
    return torch.cat(parts).reshape(shape)
