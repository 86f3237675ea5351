"""Skipping empty space: a grid that remembers where the field is dense, and the sampler that walks through it.

instant-ngp (Müller et al. 2022, appendix E): the grid keeps a slowly decaying maximum of the density in each cell and is
asked again, in part, every few steps. Here the cells lie in the field's unit cube, so that one grid serves a box and a
contracted world alike.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from nerf3d.core import Field, Rays, Samples
from nerf3d.core.spaces import Box, Contracted, Space
from nerf3d.kernels.march import Lattice, Marched, clearance, interleave, march, still_lit

DECAY = 0.95
FIRST_LIMIT = 6
"""Intervals that the first round gives each ray; on a finished surface most rays need no more."""
ALL_CELLS_UNTIL = 256
"""Steps during which an update asks about every cell; afterwards about a quarter at random and a quarter of the occupied."""


@dataclass(frozen=True)
class Occupancy:
    """How a field is sampled by an occupancy grid.

    `steps_per_side` steps make up the longest side of the box (of the focus box of an unbounded space); they grow by
    `growth` times the distance beyond. `stop` is the share of light below which nothing is looked at any more. `near` and
    `far` are distances in units of half that side.

    `finer` is how many times shorter the steps are without chance. In training random offsets average the error of a long
    step away; one picture has nothing to average over. (2 is worth 0.2 to 0.4 dB on finished objects, 4 no more.)
    """

    resolution: int = 64
    steps_per_side: int = 200
    growth: float = 0.0
    threshold: float = 0.01
    stop: float = 1e-3
    near: float = 0.0
    far: float = 1000.0
    finer: float = 2.0

    def build(self, space: Space) -> "OccupancySampler":
        return OccupancySampler(self, space)


class OccupancySampler(nn.Module):
    """A `core.Sampler` with a memory; `update` refreshes it during training."""

    def __init__(self, config: Occupancy, space: Space) -> None:
        super().__init__()
        self.config = config
        self.space = space
        box = space if isinstance(space, Box) else space.focus
        self.side = float(box.size.max())
        self.lattice = Lattice(self.side / config.steps_per_side, config.growth)
        self.fine = Lattice(self.lattice.step / config.finer, config.growth / config.finer)
        cells = (config.resolution,) * 3
        self.register_buffer("alpha", torch.zeros(cells))
        self.register_buffer("clear", torch.zeros(cells, dtype=torch.uint8))

    alpha: Tensor
    """Decaying maximum of each cell's optical depth over instant-ngp's reference step, a 1024th of the cube's diagonal;
    for thin cells that is their opacity."""
    clear: Tensor
    """How far each cell is from the next occupied one; 0 in an occupied cell."""

    @torch.no_grad()
    def update(
        self, field: Field, step: int, rng: torch.Generator, within: Bool[Tensor, "x y z"] | None = None
    ) -> None:
        """Ask the field about cells and decide anew which are occupied: those above min(threshold, mean).

        Only cells of `within` may be, where it is given. A field that moves may be asked at another moment every time:
        what it fills at any of them stays for a while.
        """
        flat = self.alpha.view(-1)
        count = flat.shape[0]
        if step < ALL_CELLS_UNTIL:
            cells = torch.arange(count, device=flat.device)
        else:
            anywhere = torch.randint(count, (count // 4,), generator=rng, device=flat.device)
            solid = (self.clear.view(-1) == 0).nonzero()[:, 0]
            pick = torch.randint(max(len(solid), 1), (min(count // 4, len(solid)),), generator=rng, device=flat.device)
            cells = torch.cat([anywhere, solid[pick]])
        flat *= DECAY
        flat.scatter_reduce_(0, cells, self._optical_depth(field, cells, rng), "amax")
        occupied = self.alpha >= min(self.config.threshold, float(self._focus_part().mean()))
        if within is not None:
            occupied = occupied & within
        self.clear.copy_(clearance(occupied.to(torch.uint8)))

    def _focus_part(self) -> Float[Tensor, "x y z"]:
        """The cells by whose mean the threshold is lowered while the field is still thin: those within the box.

        Far away steps are longer and the values larger; with those in the mean, all that is near would be dropped.
        """
        if isinstance(self.space, Box):
            return self.alpha
        part = slice(self.config.resolution // 4, self.config.resolution * 3 // 4)
        return self.alpha[part, part, part]

    def _optical_depth(self, field: Field, cells: Int64[Tensor, "n"], rng: torch.Generator) -> Float[Tensor, "n"]:
        """The optical depth of a reference step at one random point in each of the cells."""
        resolution = self.config.resolution
        index = torch.stack([cells // resolution**2, cells // resolution % resolution, cells % resolution], -1)
        unit = (index + torch.rand(index.shape, generator=rng, device=cells.device)) / resolution
        x = self.space.from_unit(unit)
        length = torch.full_like(x[:, 0], math.sqrt(3) / 1024 * self.side)
        if isinstance(self.space, Contracted):  # far away a cell is larger, and so is the step across it
            length = length * (2 * self.space.focus.to_unit(x) - 1).abs().amax(-1).clamp_min(1)
        density = torch.cat([field.density(part) for part in x.split(2**17)])
        return density * length

    @torch.no_grad()
    def forward(self, field: Field, rays: Rays, rng: torch.Generator | None = None) -> Samples:
        """Walk along the rays in rounds. After each, rays whose light is used up are left behind."""
        config, device = self.config, rays.near.device
        half = self.side / 2
        near, far = self.space.clip(rays)
        near, far = near.clamp_min(config.near * half), far.clamp_max(config.far * half)
        count = len(rays)
        lattice = self.lattice if rng is not None else self.fine
        jitter = torch.full((count,), 0.5, device=device)
        if rng is not None:
            jitter = torch.rand(count, generator=rng, device=device)
        first = (lattice.unwarp(near) - jitter).ceil().clamp_min(0).long()
        last = (lattice.unwarp(far) - jitter).floor().clamp_min(0).long()
        last = torch.where(far > near, last, first)
        alive = (first < last).nonzero()[:, 0]
        depth = torch.zeros(len(alive), device=device)
        origin, direction = rays.origin.detach(), rays.direction.detach()
        parts: list[Marched] = []
        which: list[Tensor] = []
        keep: list[Tensor] = []
        limit, rounds = FIRST_LIMIT, 0
        while len(alive):
            part = march(
                origin[alive],
                direction[alive],
                jitter[alive],
                first[alive],
                last[alive],
                limit,
                self.clear,
                self.space,
                lattice,
            )
            lit, depth = still_lit(field.density(part.middle), part, depth, config.stop)
            parts.append(part)
            which.append(alive)
            keep.append(lit)
            first[alive] = part.next
            going_on = (part.next < last[alive]) & (torch.exp(-depth) >= config.stop)
            alive, depth = alive[going_on], depth[going_on]
            rounds += 1
            limit = (2 if rounds == 1 else 8 * rounds) * FIRST_LIMIT  # 6, 12, 96 ...: the rays that go on are soon few
        start, end, ray, offsets = interleave(parts, which, keep, count, device)
        return Samples(start, end, ray, offsets)
