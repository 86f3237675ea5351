"""Marching: walk along rays and keep the intervals that lie in occupied cells of a grid over the unit cube.

All rays are cut by one lattice of distances from their origin, t_k = warp(k + jitter), so that a walk can stop at any
index and go on there later. Steps are `step` long near the camera and grow in proportion to the distance beyond
step / growth, as pixels do:

    warp(s) = s step                            for s <= s* = 1 / growth
            = (step / growth) exp(growth (s - s*))    beyond

An interval belongs to the cell in which its middle lies.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nerf3d.core.spaces import Box, Contracted, Space
from nerf3d.kernels.backend import backend


@dataclass(frozen=True)
class Lattice:
    """`step` in world units; `growth` 0 keeps all steps alike, 1/128 lets them grow to a 128th of the distance."""

    step: float
    growth: float = 0.0

    def warp(self, s: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The distance at lattice position s."""
        if self.growth == 0:
            return s * self.step
        turn = 1 / self.growth
        beyond = self.step * turn * torch.exp(self.growth * (s - turn).clamp_min(0))
        return torch.where(s <= turn, s * self.step, beyond)

    def unwarp(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The lattice position of distance t."""
        if self.growth == 0:
            return t / self.step
        turn = 1 / self.growth
        beyond = turn + torch.log((t / (self.step * turn)).clamp_min(1)) / self.growth
        return torch.where(t <= self.step * turn, t / self.step, beyond)


@dataclass(frozen=True)
class Marched:
    """Packed intervals of some rays with their middles, and the lattice index at which each ray would go on."""

    middle: Float[Tensor, "n 3"]
    start: Float[Tensor, "n"]
    end: Float[Tensor, "n"]
    ray: Int64[Tensor, "n"]
    offsets: Int64[Tensor, "r"]
    next: Int64[Tensor, "rays"]


def march(
    origin: Float[Tensor, "rays 3"],
    direction: Float[Tensor, "rays 3"],
    jitter: Float[Tensor, "rays"],
    first: Int64[Tensor, "rays"],
    last: Int64[Tensor, "rays"],
    limit: int,
    clear: UInt8[Tensor, "x y z"],
    space: Space,
    lattice: Lattice,
) -> Marched:
    """Up to `limit` intervals a ray, of lattice index first <= k < last, whose middles lie in occupied cells.

    `clear` is the `clearance` of the grid: 0 in an occupied cell.
    """
    name = backend(origin)
    if name == "triton":
        from nerf3d.kernels import march_triton

        box = _box(space)
        frame = (box.low.to(origin.device), box.size.to(origin.device), isinstance(space, Contracted))
        walk = (origin, direction, jitter, first, last, limit, clear)
        return Marched(*march_triton.march(*walk, *frame, float(lattice.step), float(lattice.growth)))
    if name == "numba":
        from nerf3d.kernels import march_numba

        box, contracted = _box(space), isinstance(space, Contracted)
        low, size = box.low.numpy(), box.size.numpy()
        rays = origin.shape[0]
        start, end = torch.empty(rays, limit), torch.empty(rays, limit)
        count, following = torch.empty(rays, dtype=torch.int64), torch.empty(rays, dtype=torch.int64)
        march_numba.march(
            *(t.contiguous().numpy() for t in (origin, direction, jitter, first, last)),
            *(clear.numpy(), low, size, contracted, np.float32(lattice.step), np.float32(lattice.growth)),
            *(start.numpy(), end.numpy(), count.numpy(), following.numpy()),
        )
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)])
        total = int(offsets[-1])
        packed = torch.empty(total, 3), torch.empty(total), torch.empty(total), torch.empty(total, dtype=torch.int64)
        lines = (t.contiguous().numpy() for t in (origin, direction))
        march_numba.pack(*lines, start.numpy(), end.numpy(), offsets.numpy(), *(t.numpy() for t in packed))
        return Marched(*packed, offsets, following)
    return march_reference(origin, direction, jitter, first, last, limit, clear, space, lattice)


def march_reference(origin, direction, jitter, first, last, limit, clear, space, lattice) -> Marched:  # type: ignore[no-untyped-def]
    """The same in plain torch: every lattice point of every ray is looked at.

    The other versions skip empty cells. All find the same intervals, but for a middle within rounding of a cell's border.
    """
    device = origin.device
    longest = int((last - first).clamp_min(0).max()) if len(first) else 0
    k = first[:, None] + torch.arange(longest, device=device)
    start, end = (lattice.warp(k.to(origin.dtype) + shift + jitter[:, None]) for shift in (0, 1))
    x = origin[:, None] + (0.5 * (start + end))[..., None] * direction[:, None]
    resolution = clear.shape[0]
    cell = (space.to_unit(x) * resolution).floor()
    inside = ((cell >= 0) & (cell < resolution)).all(-1) & (k < last[:, None])
    i, j, l = cell.clamp(0, resolution - 1).long().unbind(-1)
    taken = inside & (clear[i, j, l] == 0)
    rank = taken.cumsum(-1)
    taken &= rank <= limit
    count = taken.sum(-1)
    full = (count == limit) & (count > 0)
    at_limit = (taken & (rank == limit)).float().argmax(-1) if longest else torch.zeros_like(first)
    following = torch.where(full, first + at_limit + 1, torch.maximum(last, first))
    ray = torch.arange(len(first), device=device)[:, None].expand_as(k)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64, device=device), count.cumsum(0)])
    return Marched(x[taken], start[taken], end[taken], ray[taken], offsets, following)


def clearance(occupied: UInt8[Tensor, "x y z"]) -> UInt8[Tensor, "x y z"]:
    """How many cells lie between a cell and the nearest occupied one, plus one, the chessboard way; 0 in it, 255 at most.

    All cells less than that many away are empty, so a walk may cross them in one stride.

    >>> clearance(torch.tensor([[[1, 0, 0, 0]]], dtype=torch.uint8))
    tensor([[[0, 1, 2, 3]]], dtype=torch.uint8)
    """
    if backend(torch.empty(0, device=occupied.device)) == "numba":
        from nerf3d.kernels import march_numba

        out = torch.empty_like(occupied)
        march_numba.clearance(occupied.numpy(), out.numpy())
        return out
    out = torch.where(occupied > 0, 0, 255).to(torch.uint8)
    grown = (occupied > 0).float()[None, None]
    for distance in range(1, 255):
        before, grown = grown, torch.nn.functional.max_pool3d(grown, 3, 1, 1)
        fresh = (grown > before)[0, 0]
        if not bool(fresh.any()):
            break
        out[fresh] = distance
    return out


def _box(space: Space) -> Box:
    return space if isinstance(space, Box) else space.focus


def interleave(
    parts: list[Marched], which: list[Tensor], keep: list[Tensor], rays: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, ...]:
    """Join the intervals that several walks kept: (start, end, ray, offsets) of all `rays`, near to far.

    Part p walked the rays `which[p]` (indices into all rays) and `keep[p]` says which of its intervals stay.
    """
    index = [w[part.ray] for w, part in zip(which, parts)]
    nothing = torch.empty(0, device=device)
    ray = torch.cat([nothing.long(), *(i[k] for i, k in zip(index, keep))])
    start = torch.cat([nothing, *(p.start[k] for p, k in zip(parts, keep))])
    end = torch.cat([nothing, *(p.end[k] for p, k in zip(parts, keep))])
    count = torch.bincount(ray, minlength=rays)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64, device=device), count.cumsum(0)])
    if backend(start) == "numba":
        from nerf3d.kernels import march_numba

        sorted_start, sorted_end, sorted_ray = torch.empty_like(start), torch.empty_like(end), torch.empty_like(ray)
        march_numba.interleave(*(t.numpy() for t in (start, end, ray, offsets, sorted_start, sorted_end, sorted_ray)))
        return sorted_start, sorted_end, sorted_ray, offsets
    order = torch.argsort(ray, stable=True)
    return start[order], end[order], ray[order], offsets


def still_lit(
    density: Float[Tensor, "n"], marched: Marched, depth: Float[Tensor, "rays"], stop: float
) -> tuple[Tensor, Float[Tensor, "rays"]]:
    """Which intervals get at least `stop` of the light, and each ray's optical depth after all of its own.

    `depth` is the optical depth that the rays had gathered before.
    """
    name = backend(density)
    if name == "triton":
        from nerf3d.kernels import march_triton

        limit = -math.log(stop) if stop > 0 else math.inf
        return march_triton.still_lit(density, marched.start, marched.end, marched.offsets, depth, limit)
    if name == "numba":
        from nerf3d.kernels import march_numba

        keep = torch.empty(density.shape[0], dtype=torch.bool)
        after = torch.empty_like(depth)
        march_numba.still_lit(
            *(t.contiguous().numpy() for t in (density, marched.start, marched.end, marched.offsets, depth)),
            *(np.float32(stop), keep.numpy(), after.numpy()),
        )
        return keep, after
    from nerf3d.core.quadrature import exclusive_sum, sum_per_ray

    amount = density * (marched.end - marched.start)
    before = depth[marched.ray] + exclusive_sum(amount, marched.offsets)
    return torch.exp(-before) >= stop, depth + sum_per_ray(amount, marched.ray, depth.shape[0])
