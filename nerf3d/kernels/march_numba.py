"""Marching on a CPU: empty space is crossed in long strides, and no ray is walked further than asked."""

import math

import numpy as np
from numba import njit, prange

PART = 64


@njit(cache=True, inline="always")
def _warp(s, step, growth):
    if growth == np.float32(0):
        return s * step
    turn = np.float32(1) / growth
    if s <= turn:
        return s * step
    return step * turn * np.float32(math.exp(growth * (s - turn)))


@njit(cache=True, inline="always")
def _next(near, s, step, growth, factor):
    """warp(s), given near = warp(s - 1): beyond the turn a step is one multiplication."""
    if growth == np.float32(0) or s * growth <= np.float32(1):
        return s * step
    if (s - np.float32(1)) * growth >= np.float32(1):
        return near * factor
    return _warp(s, step, growth)


@njit(cache=True, inline="always")
def _unwarp(t, step, growth):
    turn = np.float32(1) / growth
    if t <= step * turn:
        return t / step
    return turn + np.float32(math.log(t / (step * turn))) / growth


@njit(cache=True, inline="always")
def _unit(x, low, size):
    return (x - low) / size


@njit(cache=True, inline="always")
def _contracted(u, v, w):
    """`core.spaces.Contracted.to_unit`, given the position relative to the focus box, and by how much it squeezes."""
    a, b, c = np.float32(2) * u - np.float32(1), np.float32(2) * v - np.float32(1), np.float32(2) * w - np.float32(1)
    norm = max(abs(a), abs(b), abs(c), np.float32(1))
    factor = np.float32(0.25) * (np.float32(2) - np.float32(1) / norm)
    half = np.float32(0.5)
    return factor * (a / norm) + half, factor * (b / norm) + half, factor * (c / norm) + half


@njit(cache=True, inline="always")
def _to_border(cell, reach, u, slope, resolution):
    """How far a coordinate has to go, in ray distance, until it leaves the cells up to `reach` away from its own."""
    if slope > np.float32(1e-12):
        return (np.float32(cell + 1 + reach) / np.float32(resolution) - u) / slope
    if slope < np.float32(-1e-12):
        return (np.float32(cell - reach) / np.float32(resolution) - u) / slope
    return np.float32(1e30)


@njit(parallel=True, cache=True)
def march(
    origin, direction, jitter, first, last, clearance, low, size, contracted, step, growth, start, end, count, following
):
    rays, limit = start.shape
    resolution = clearance.shape[0]
    half = np.float32(0.5)
    factor = np.float32(math.exp(growth))
    for part in prange((rays + PART - 1) // PART):
        for ray in range(part * PART, min((part + 1) * PART, rays)):
            k, stop = first[ray], max(last[ray], first[ray])
            found = 0
            ox, oy, oz = origin[ray, 0], origin[ray, 1], origin[ray, 2]
            dx, dy, dz = direction[ray, 0], direction[ray, 1], direction[ray, 2]
            slope_x, slope_y, slope_z = dx / size[0], dy / size[1], dz / size[2]
            steepest = max(abs(slope_x), abs(slope_y), abs(slope_z))
            near = _warp(np.float32(k) + jitter[ray], step, growth)
            while k < stop and found < limit:
                far = _next(near, np.float32(k + 1) + jitter[ray], step, growth, factor)
                t = half * (near + far)
                u = _unit(ox + t * dx, low[0], size[0])
                v = _unit(oy + t * dy, low[1], size[1])
                w = _unit(oz + t * dz, low[2], size[2])
                scale = np.float32(1)
                norm = np.float32(1)
                if contracted:
                    norm = max(abs(u - half), abs(v - half), abs(w - half)) * np.float32(2)
                    u, v, w = _contracted(u, v, w)
                    scale = half
                i = np.int64(math.floor(u * resolution))
                j = np.int64(math.floor(v * resolution))
                l = np.int64(math.floor(w * resolution))
                inside = 0 <= i < resolution and 0 <= j < resolution and 0 <= l < resolution
                clear = np.int64(clearance[i, j, l]) if inside else 1
                if clear == 0:
                    start[ray, found] = near
                    end[ray, found] = far
                    found += 1
                    k += 1
                    near = far
                    continue
                # All cells up to clear - 1 away are empty: go on to where the ray leaves them, never beyond.
                ahead = np.float32(0)
                if inside and norm <= np.float32(1):
                    reach = clear - 1
                    if contracted:  # straight within the focus box only, which is the middle half of the unit cube
                        reach = min(reach, min(i, j, l) - resolution // 4, resolution * 3 // 4 - 1 - max(i, j, l))
                    if reach >= 0:
                        ahead = min(
                            _to_border(i, reach, u, scale * slope_x, resolution),
                            _to_border(j, reach, v, scale * slope_y, resolution),
                            _to_border(l, reach, w, scale * slope_z, resolution),
                        )
                elif inside:
                    # The norm changes by at most 2 * steepest per distance. As long as it stays above half of what it is,
                    # the contracted position moves by less than 4 * steepest / norm per distance (unit cube: a quarter
                    # of the contracted cube's side, twice the focus box's slope).
                    ahead = min(np.float32(clear - 1) / np.float32(resolution), np.float32(0.25)) * norm
                    ahead = ahead / (np.float32(4) * steepest)
                jump = np.int64(1)
                if np.float32(2) * (far - near) <= ahead < np.float32(1e6) * step:
                    if growth > np.float32(0):
                        jump = np.int64(_unwarp(t + ahead, step, growth) - _unwarp(t, step, growth))
                    else:
                        jump = np.int64(ahead / step)
                if jump > 1:
                    k += jump
                    near = _warp(np.float32(k) + jitter[ray], step, growth)
                else:
                    k += 1
                    near = far
            count[ray] = found
            following[ray] = k if found == limit else stop


@njit(cache=True)
def clearance(occupied, out):
    """How many cells one may go from a cell in any direction before an occupied one: 0 in it, 255 at the most.

    The chessboard distance, axis by axis: out(i) = min over j of max(|i - j|, out(j)), cut to what a byte holds. Two
    sweeps along each axis in which a value grows by one per cell give the distance in that axis; for the chessboard
    metric the full neighbourhood is needed, so both sweeps look at all neighbours that were visited before.
    """
    a, b, c = occupied.shape
    for i in range(a):
        for j in range(b):
            for l in range(c):
                out[i, j, l] = 0 if occupied[i, j, l] > 0 else 255
    for direction in range(2):
        for p in range(a):
            i = p if direction == 0 else a - 1 - p
            for q in range(b):
                j = q if direction == 0 else b - 1 - q
                for r in range(c):
                    l = r if direction == 0 else c - 1 - r
                    best = np.int64(out[i, j, l])
                    if best == 0:
                        continue
                    for di in range(-1, 1):
                        for dj in range(-1, 2):
                            for dl in range(-1, 2):
                                if di == 0 and (dj > 0 or (dj == 0 and dl >= 0)):
                                    continue
                                s = 1 if direction == 0 else -1
                                x, y, z = i + s * di, j + s * dj, l + s * dl
                                if 0 <= x < a and 0 <= y < b and 0 <= z < c:
                                    best = min(best, np.int64(out[x, y, z]) + 1)
                    out[i, j, l] = best


@njit(parallel=True, cache=True)
def pack(origin, direction, start, end, offsets, middle, packed_start, packed_end, ray):
    rays = start.shape[0]
    for part in prange((rays + PART - 1) // PART):
        for r in range(part * PART, min((part + 1) * PART, rays)):
            begin = offsets[r]
            for i in range(offsets[r + 1] - begin):
                at = begin + i
                near, far = start[r, i], end[r, i]
                packed_start[at] = near
                packed_end[at] = far
                ray[at] = r
                for axis in range(3):
                    middle[at, axis] = origin[r, axis] + np.float32(0.5) * (near + far) * direction[r, axis]


@njit(cache=True)
def interleave(start, end, ray, offsets, sorted_start, sorted_end, sorted_ray):
    cursor = offsets.copy()
    for i in range(ray.shape[0]):
        at = cursor[ray[i]]
        cursor[ray[i]] = at + 1
        sorted_start[at] = start[i]
        sorted_end[at] = end[i]
        sorted_ray[at] = ray[i]


@njit(parallel=True, cache=True)
def still_lit(density, start, end, offsets, depth, stop, keep, after):
    rays = depth.shape[0]
    limit = np.float32(-math.log(stop)) if stop > np.float32(0) else np.float32(np.inf)
    for part in prange((rays + PART - 1) // PART):
        for ray in range(part * PART, min((part + 1) * PART, rays)):
            gathered = depth[ray]
            for i in range(offsets[ray], offsets[ray + 1]):
                keep[i] = gathered <= limit
                gathered += density[i] * (end[i] - start[i])
            after[ray] = gathered
