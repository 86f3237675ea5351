"""A regular lattice over a box, with the density asked for only where a surface may be.

256^3 nodes are 17 million questions to a field; the surface passes through a few per cent of them. So one looks twice:

1. **Survey**: one sample at a random place inside every 2 x 2 x 2 group of cells (an eighth of the questions).
2. **Blocks** of 4 x 4 x 4 nodes are asked about in full where any of their 8 samples, or of a neighbouring block's, is
   not small. Whatever turns out to have inside nodes calls for its 26 neighbours, until nobody calls any more.

What can be missed: a structure thinner than about two cells that no sample of the survey hits anywhere. Since blocks
call for their neighbours, one hit anywhere along a connected thin structure is enough to follow it to its ends.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy import ndimage
from torch import Tensor

from nerf3d.core import Box
from nerf3d.errors import InputError

Density = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]
Progress = Callable[[int, int], None]
"""Called with the number of points that were asked for so far, and the number that is known to be needed so far."""

BLOCK = 4  # nodes along a block's side
CHUNK = 1 << 18  # points in one question
MAYBE = 0.125  # a block is looked into where the survey found this share of the level
TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Lattice:
    """`cells` cells along each axis, as nearly cubic as the box allows; nodes at all their corners."""

    box: Box
    cells: tuple[int, int, int]

    @staticmethod
    def over(box: Box, resolution: int) -> "Lattice":
        """The lattice with `resolution` cells along the longest side of the box."""
        size = box.size.double()
        if resolution < 4:
            raise InputError(f"The resolution of a mesh is {resolution}, but at least 4 cells a side are needed.")
        if not bool(torch.isfinite(size).all()) or float(size.min()) <= 0:
            raise InputError(
                f"The box to look for a surface in has the size {size.tolist()}; every side must be positive."
            )
        x, y, z = (size / size.max() * resolution).round().clamp_min(1).long().tolist()
        return Lattice(box, (x, y, z))

    @property
    def spacing(self) -> Float[Tensor, "3"]:
        """The sides of one cell in world units."""
        return self.box.size / torch.tensor(self.cells, device=self.box.size.device)

    @property
    def blocks(self) -> tuple[int, int, int]:
        """The number of blocks along each axis that hold all nodes."""
        x, y, z = (cells // BLOCK + 1 for cells in self.cells)
        return x, y, z

    def to_world(self, index: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World positions of (fractional) node indices."""
        low = self.box.low
        return low + index.to(low) * self.spacing


class Counter:
    """Asks the density in chunks, refuses NaN, and tells how far it has come."""

    def __init__(self, density: Density, progress: Progress | None):
        self.density, self.progress = density, progress
        self.done = self.needed = 0

    def expect(self, points: int) -> None:
        self.needed += points

    def __call__(self, x: Float[Tensor, "n 3"]) -> Float32[Tensor, "n"]:
        answer = torch.empty(x.shape[0])
        for begin in range(0, x.shape[0], CHUNK):
            some = x[begin : begin + CHUNK]
            with torch.no_grad():
                answer[begin : begin + CHUNK] = self.density(some).detach().float().cpu()
            self.done += some.shape[0]
            if self.progress is not None:
                self.progress(self.done, max(self.done, self.needed))
        if bool(torch.isnan(answer).any()):
            raise InputError(
                "The field's density is not a number (NaN) at some points inside the box, so there is no surface: "
                "the run has diverged; export an earlier checkpoint, or train again with a smaller learning rate."
            )
        return answer


def survey(ask: Counter, lattice: Lattice) -> Float32[Tensor, "x y z"]:
    """The density at one random place in each 2 x 2 x 2 group of cells; 0 beyond the box. Always the same places."""
    x, y, z = (2 * blocks for blocks in lattice.blocks)
    group = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (x, y, z)), indexing="ij"), -1).reshape(-1, 3)
    jitter = torch.rand(group.shape, generator=torch.Generator().manual_seed(0))
    place = 2 * (group + jitter)
    inside = (place < torch.tensor(lattice.cells)).all(-1)
    ask.expect(int(inside.sum()))
    found = torch.zeros(group.shape[0])
    found[inside] = ask(lattice.to_world(place[inside]))
    return found.reshape(x, y, z)


def fill(
    ask: Counter, lattice: Lattice, surveyed: Float32[Tensor, "x y z"], level: float
) -> tuple[Float32[Tensor, "i j k"], Bool[Tensor, "i j k"]]:
    """Densities at the lattice's nodes, and at which of them they were asked for.

    Elsewhere stands 0 (far outside) or twice the level (deep inside: a block whose samples and whose neighbours'
    samples all reach the level is not looked into).
    """
    x, y, z = lattice.blocks
    eight = surveyed.reshape(x, 2, y, 2, z, 2)
    maybe = ndimage.binary_dilation((eight.amax((1, 3, 5)) >= MAYBE * level).numpy(), TOUCHING)
    solid = ndimage.binary_erosion((eight.amin((1, 3, 5)) >= level).numpy(), TOUCHING)

    value = torch.zeros(x, y, z, BLOCK, BLOCK, BLOCK)
    value[torch.from_numpy(solid)] = 2 * level
    known = torch.zeros(x, y, z, dtype=torch.bool)
    todo = torch.from_numpy(maybe & ~solid)
    settled = torch.from_numpy(solid)
    while bool(todo.any()):
        value[todo] = _ask_blocks(ask, lattice, todo.nonzero())
        known |= todo
        settled = settled | todo
        alive = (value.amax((3, 4, 5)) >= level) & known
        todo = torch.from_numpy(ndimage.binary_dilation(alive.numpy(), TOUCHING)) & ~settled
    i, j, k = (cells + 1 for cells in lattice.cells)
    nodes = value.permute(0, 3, 1, 4, 2, 5).reshape(BLOCK * x, BLOCK * y, BLOCK * z)[:i, :j, :k]
    asked = known
    for axis in range(3):
        asked = asked.repeat_interleave(BLOCK, axis)
    return nodes, asked[:i, :j, :k]


def _ask_blocks(ask: Counter, lattice: Lattice, block: Int64[Tensor, "n 3"]) -> Float32[Tensor, "n a b c"]:
    """The density at all nodes of some blocks; 0 at those beyond the box."""
    step = torch.arange(BLOCK)
    offset = torch.stack(torch.meshgrid(step, step, step, indexing="ij"), -1).reshape(1, -1, 3)
    last = torch.tensor(lattice.cells)
    ask.expect(block.shape[0] * BLOCK**3)
    found = []
    for some in block.split(CHUNK // BLOCK**3):
        node = (BLOCK * some[:, None] + offset).reshape(-1, 3)
        answer = ask(lattice.to_world(torch.minimum(node, last).float()))
        found.append(torch.where((node <= last).all(-1), answer, 0.0))
    return torch.cat(found).reshape(-1, BLOCK, BLOCK, BLOCK)
