"""Marching on a GPU: each lane walks along one ray, twice. The first walk counts what it finds, so that the second knows
where to write it: nothing is kept between them, however many intervals a ray may have. Both are one compiled program,
told by a number which walk it is: two of them could round differently, and disagree about a cell's border.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nerf3d.kernels.backend import triton_interpreted
from nerf3d.kernels.launch_triton import launch, programs

BLOCK = 128 if triton_interpreted() else 32
"""Rays of one program: those of one warp, since it lasts as long as the longest walk among them. (A step costs the
interpreter the same however many walk.)"""
SAMPLES = 32
"""Intervals of one ray whose light is summed together."""


@triton.jit
def _warp(s, step, growth):
    turn = 1.0 / tl.maximum(growth, 1e-20)
    beyond = step * turn * tl.exp(growth * tl.maximum(s - turn, 0.0))
    return tl.where(s <= turn, s * step, beyond)


@triton.jit
def _unwarp(t, step, growth):
    turn = 1.0 / tl.maximum(growth, 1e-20)
    beyond = turn + tl.log(tl.maximum(t / (step * turn), 1.0)) * turn
    return tl.where(t <= step * turn, t / step, beyond)


@triton.jit
def _to_border(cell, reach, u, slope, resolution):
    """How far a coordinate has to go, in ray distance, until it leaves the cells up to `reach` away from its own."""
    border = tl.where(slope > 0, cell + 1 + reach, cell - reach).to(tl.float32) / resolution
    moving = tl.abs(slope) > 1e-12
    return tl.where(moving, (border - u) / tl.where(moving, slope, 1.0), 1e30)


@triton.jit(do_not_specialize=["writing"])
def _march(
    origin, direction, jitter, first, last, clear, low, size, offsets, count, following, middle, start, end, ray,
    rays, limit, resolution, step, growth, writing, CONTRACTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first walk writes `count` and `following`, the second the packed middle, start, end and ray."""
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = r < rays
    o_x = tl.load(origin + r * 3, mask=valid, other=0.0)
    o_y = tl.load(origin + r * 3 + 1, mask=valid, other=0.0)
    o_z = tl.load(origin + r * 3 + 2, mask=valid, other=0.0)
    d_x = tl.load(direction + r * 3, mask=valid, other=0.0)
    d_y = tl.load(direction + r * 3 + 1, mask=valid, other=0.0)
    d_z = tl.load(direction + r * 3 + 2, mask=valid, other=0.0)
    low_x, low_y, low_z = tl.load(low), tl.load(low + 1), tl.load(low + 2)
    size_x, size_y, size_z = tl.load(size), tl.load(size + 1), tl.load(size + 2)
    slope_x, slope_y, slope_z = d_x / size_x, d_y / size_y, d_z / size_z
    steepest = tl.maximum(tl.maximum(tl.abs(slope_x), tl.abs(slope_y)), tl.maximum(tl.abs(slope_z), 1e-20))
    shift = tl.load(jitter + r, mask=valid, other=0.0)
    k = tl.load(first + r, mask=valid, other=0)
    stop = tl.maximum(tl.load(last + r, mask=valid, other=0), k)
    found = tl.zeros((BLOCK,), tl.int64)
    second = tl.full((BLOCK,), 0, tl.int32) + writing > 0
    begin = tl.load(offsets + r, mask=valid & second, other=0)
    walking = (k < stop) & (found < limit)
    while tl.max(walking.to(tl.int32), 0) > 0:
        near = _warp(k.to(tl.float32) + shift, step, growth)
        far = _warp((k + 1).to(tl.float32) + shift, step, growth)
        t = 0.5 * (near + far)
        u = (o_x + t * d_x - low_x) / size_x
        v = (o_y + t * d_y - low_y) / size_y
        w = (o_z + t * d_z - low_z) / size_z
        norm = tl.full((BLOCK,), 1.0, tl.float32)
        scale = 1.0
        if CONTRACTED:  # `core.spaces.Contracted.to_unit`, given the position relative to the focus box
            a, b, c = 2.0 * u - 1.0, 2.0 * v - 1.0, 2.0 * w - 1.0
            norm = tl.maximum(tl.maximum(tl.abs(a), tl.abs(b)), tl.maximum(tl.abs(c), 1.0))
            squeeze = 0.25 * (2.0 - 1.0 / norm)
            u, v, w = squeeze * (a / norm) + 0.5, squeeze * (b / norm) + 0.5, squeeze * (c / norm) + 0.5
            scale = 0.5
        x, y, z = tl.floor(u * resolution), tl.floor(v * resolution), tl.floor(w * resolution)
        inside = (x >= 0.0) & (x < resolution) & (y >= 0.0) & (y < resolution) & (z >= 0.0) & (z < resolution)
        i = tl.where(inside, x, 0.0).to(tl.int32)
        j = tl.where(inside, y, 0.0).to(tl.int32)
        l = tl.where(inside, z, 0.0).to(tl.int32)
        cell = (i.to(tl.int64) * resolution + j) * resolution + l
        free = tl.load(clear + cell, mask=inside & walking, other=1).to(tl.int32)
        taken = walking & (free == 0)
        written = taken & second
        at = begin + found
        tl.store(start + at, near, mask=written)
        tl.store(end + at, far, mask=written)
        tl.store(ray + at, r, mask=written)
        tl.store(middle + at * 3, o_x + t * d_x, mask=written)
        tl.store(middle + at * 3 + 1, o_y + t * d_y, mask=written)
        tl.store(middle + at * 3 + 2, o_z + t * d_z, mask=written)
        found += taken.to(tl.int64)
        # All cells up to free - 1 away are empty: go on to where the ray leaves them, never beyond.
        reach = free - 1
        if CONTRACTED:  # straight within the focus box only, which is the middle half of the unit cube
            least, most = tl.minimum(tl.minimum(i, j), l), tl.maximum(tl.maximum(i, j), l)
            inner = tl.minimum(least - resolution // 4, resolution * 3 // 4 - 1 - most)
            reach = tl.where(norm <= 1.0, tl.minimum(reach, inner), reach)
        out_x = _to_border(i, reach, u, scale * slope_x, resolution)
        out_y = _to_border(j, reach, v, scale * slope_y, resolution)
        out_z = _to_border(l, reach, w, scale * slope_z, resolution)
        ahead = tl.where(reach >= 0, tl.minimum(tl.minimum(out_x, out_y), out_z), 0.0)
        if CONTRACTED:
            # The norm changes by at most 2 * steepest per distance. As long as it stays above half of what it is, the
            # contracted position moves by less than 4 * steepest / norm per distance.
            bent = tl.minimum((free - 1).to(tl.float32) / resolution, 0.25) * norm / (4.0 * steepest)
            ahead = tl.where(norm <= 1.0, ahead, bent)
        leaps = inside & (free > 0) & (ahead >= 2.0 * (far - near)) & (ahead < 1e6 * step)
        ahead = tl.where(leaps, ahead, 0.0)
        jump = tl.floor(_unwarp(t + ahead, step, growth) - _unwarp(t, step, growth)).to(tl.int64)
        k = tl.where(walking, k + tl.maximum(tl.where(leaps, jump, 1), 1), k)
        walking = (k < stop) & (found < limit)
    first_walk = valid & (second == 0)
    tl.store(count + r, found, mask=first_walk)
    tl.store(following + r, tl.where(found < limit, stop, k), mask=first_walk)


@triton.jit
def _still_lit(density, start, end, offsets, depth, keep, after, limit, BLOCK: tl.constexpr):
    """One ray: what had been gathered before each interval, and after them all."""
    ray = tl.program_id(0).to(tl.int64)
    at, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    gathered = tl.load(depth + ray)
    while at < last:
        i = at + tl.arange(0, BLOCK)
        inside = i < last
        ahead = inside & (i > at)
        width = tl.load(end + i, mask=inside, other=0.0) - tl.load(start + i, mask=inside, other=0.0)
        earlier = tl.load(end + i - 1, mask=ahead, other=0.0) - tl.load(start + i - 1, mask=ahead, other=0.0)
        before = gathered + tl.cumsum(tl.load(density + i - 1, mask=ahead, other=0.0) * earlier, 0)
        tl.store(keep + i, before <= limit, mask=inside)
        gathered += tl.sum(tl.load(density + i, mask=inside, other=0.0) * width, 0)
        at += BLOCK
    tl.store(after + ray, gathered)


def march(
    origin: Tensor, direction: Tensor, jitter: Tensor, first: Tensor, last: Tensor, limit: int, clear: Tensor,
    low: Tensor, size: Tensor, contracted: bool, step: float, growth: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The packed middle, start, end and ray of all intervals, each ray's offset, and where it would go on."""
    rays = origin.shape[0]
    lines = [t.contiguous() for t in (origin, direction, jitter, first, last, clear, low, size)]
    count, following = torch.empty_like(first), torch.empty_like(first)
    numbers = (rays, limit, clear.shape[0], step, growth)
    constants = {"CONTRACTED": contracted, "BLOCK": BLOCK, "num_warps": 1}
    grid = (programs(rays, BLOCK),)
    nowhere = origin.new_empty(0)
    unused = (nowhere, nowhere, nowhere, count)  # the first walk writes no intervals
    launch(_march, grid, *lines, count, count, following, *unused, *numbers, 0, **constants)
    offsets = torch.cat([first.new_zeros(1), count.cumsum(0)])
    total = int(offsets[-1])
    packed = (origin.new_empty(total, 3), origin.new_empty(total), origin.new_empty(total), first.new_empty(total))
    launch(_march, grid, *lines, offsets, count, following, *packed, *numbers, 1, **constants)
    return *packed, offsets, following


def still_lit(
    density: Tensor, start: Tensor, end: Tensor, offsets: Tensor, depth: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """Which intervals have no more than the optical depth `limit` before them, and the depth after all of them."""
    keep, after = torch.empty_like(density, dtype=torch.bool), torch.empty_like(depth)
    inputs = (t.contiguous() for t in (density, start, end, offsets, depth))
    launch(_still_lit, (depth.shape[0],), *inputs, keep, after, limit, BLOCK=SAMPLES, num_warps=1)
    return keep, after
