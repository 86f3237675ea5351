"""The hash encoding on a CPU: gather, scatter, and the derivatives with respect to the position.

Points are cut into fixed parts for everything that is written per point. The table's gradient is written level by level,
each level by one thread that sees all points in order: no races, no atomics, and the same bits for any number of threads.

`directional` kernels use q_c = v . grad w_c in the place of the corner's weight w_c; see `hash_grid._EncodeGradient`.
"""

from functools import cache

import numpy as np
from numba import njit, prange

PART = 512
# Everything but the permission to assume that there are no NaNs: a NaN must become a valid cell, not a wild address.
FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}


@njit(fastmath=FAST, inline="always")
def _clamp(x):
    return (
        x if (x > np.float32(0)) and (x < np.float32(1)) else (np.float32(1) if x >= np.float32(1) else np.float32(0))
    )


@njit(fastmath=FAST, inline="always")
def _cell(x, p, scale):
    """The cell of point p and the position inside it."""
    half = np.float32(0.5)
    a, b, c = _clamp(x[p, 0]) * scale + half, _clamp(x[p, 1]) * scale + half, _clamp(x[p, 2]) * scale + half
    i, j, k = np.int64(a), np.int64(b), np.int64(c)
    return i, j, k, a - np.float32(i), b - np.float32(j), c - np.float32(k)


@njit(fastmath=FAST, inline="always")
def _corners(i, j, k, stride, mask, offset):
    """The table rows of a cell's eight corners, x fastest."""
    if stride > 0:
        plane = stride * stride
        first = offset + i + stride * j + plane * k
        return (
            first,
            first + 1,
            first + stride,
            first + stride + 1,
            first + plane,
            first + plane + 1,
            first + plane + stride,
            first + plane + stride + 1,
        )
    j0, k0 = j * 2654435761, k * 805459861
    j1, k1 = j0 + 2654435761, k0 + 805459861
    return (
        offset + ((i ^ j0 ^ k0) & mask),
        offset + (((i + 1) ^ j0 ^ k0) & mask),
        offset + ((i ^ j1 ^ k0) & mask),
        offset + (((i + 1) ^ j1 ^ k0) & mask),
        offset + ((i ^ j0 ^ k1) & mask),
        offset + (((i + 1) ^ j0 ^ k1) & mask),
        offset + ((i ^ j1 ^ k1) & mask),
        offset + (((i + 1) ^ j1 ^ k1) & mask),
    )


@njit(fastmath=FAST, inline="always")
def _weights(u, v, w):
    """Trilinear weights of the eight corners."""
    one = np.float32(1)
    a, b, c = one - u, one - v, one - w
    ac, uc, aw, uw = a * c, u * c, a * w, u * w
    return ac * b, uc * b, ac * v, uc * v, aw * b, uw * b, aw * v, uw * v


@njit(fastmath=FAST, inline="always")
def _directional(u, v, w, x, y, z):
    """The derivative of the eight weights along the direction (x, y, z)."""
    one = np.float32(1)
    a, b, c = one - u, one - v, one - w
    return (
        -x * b * c - y * a * c - z * a * b,
        x * b * c - y * u * c - z * u * b,
        -x * v * c + y * a * c - z * a * v,
        x * v * c + y * u * c - z * u * v,
        -x * b * w - y * a * w + z * a * b,
        x * b * w - y * u * w + z * u * b,
        -x * v * w + y * a * w + z * a * v,
        x * v * w + y * u * w + z * u * v,
    )


@cache
def gather(features: int, directional: bool):
    """(x (n, 3), v (n, 3), table, scales, strides, offsets, mask, threads, out (levels * features, n)) -> out, written.

    Each thread takes one stretch of the points through all levels, so that one level's table stays in its cache.
    """

    @njit(parallel=True, fastmath=FAST, cache=True)
    def kernel(x, v, table, scales, strides, offsets, mask, threads, out):
        points = x.shape[0]
        stretch = (points + threads - 1) // threads
        for thread in prange(threads):
            for level in range(scales.shape[0]):
                scale, stride, offset = scales[level], strides[level], offsets[level]
                for p in range(thread * stretch, min((thread + 1) * stretch, points)):
                    i, j, k, a, b, c = _cell(x, p, scale)
                    rows = _corners(i, j, k, stride, mask, offset)
                    if directional:
                        weights = _directional(a, b, c, v[p, 0] * scale, v[p, 1] * scale, v[p, 2] * scale)
                    else:
                        weights = _weights(a, b, c)
                    for f in range(features):
                        total = np.float32(0)
                        for corner in range(8):
                            total += weights[corner] * table[rows[corner], f]
                        out[level * features + f, p] = total

    return kernel


@cache
def scatter(features: int, directional: bool):
    """(x, v, gradient rows (levels * features, n), scales, strides, offsets, mask, threads, dtable) -> dtable, added to."""

    @njit(parallel=True, fastmath=FAST, cache=True)
    def kernel(x, v, gradient, scales, strides, offsets, mask, threads, dtable):
        levels = scales.shape[0]
        for thread in prange(threads):
            for level in range(thread, levels, threads):
                scale, stride, offset = scales[level], strides[level], offsets[level]
                for p in range(x.shape[0]):
                    i, j, k, a, b, c = _cell(x, p, scale)
                    rows = _corners(i, j, k, stride, mask, offset)
                    if directional:
                        weights = _directional(a, b, c, v[p, 0] * scale, v[p, 1] * scale, v[p, 2] * scale)
                    else:
                        weights = _weights(a, b, c)
                    for corner in range(8):
                        for f in range(features):
                            dtable[rows[corner], f] += weights[corner] * gradient[level * features + f, p]

    return kernel


@njit(parallel=True, fastmath=FAST, cache=True)
def position_gradient(x, gradient, table, scales, strides, offsets, mask, dx):
    """dx (n, 3) = sum over levels of scale * sum_c S_c grad w_c, written; 0 where the position was moved to the border."""
    points, features = x.shape[0], table.shape[1]
    for part in prange((points + PART - 1) // PART):
        begin, end = part * PART, min((part + 1) * PART, points)
        dx[begin:end] = np.float32(0)
        for level in range(scales.shape[0]):
            scale, stride, offset = scales[level], strides[level], offsets[level]
            for p in range(begin, end):
                i, j, k, a, b, c = _cell(x, p, scale)
                rows = _corners(i, j, k, stride, mask, offset)
                along_x = _directional(a, b, c, scale, np.float32(0), np.float32(0))
                along_y = _directional(a, b, c, np.float32(0), scale, np.float32(0))
                along_z = _directional(a, b, c, np.float32(0), np.float32(0), scale)
                for corner in range(8):
                    s = np.float32(0)
                    for f in range(features):
                        s += gradient[level * features + f, p] * table[rows[corner], f]
                    dx[p, 0] += s * along_x[corner]
                    dx[p, 1] += s * along_y[corner]
                    dx[p, 2] += s * along_z[corner]
        for p in range(begin, end):
            for axis in range(3):
                if not (x[p, axis] >= np.float32(0) and x[p, axis] <= np.float32(1)):
                    dx[p, axis] = np.float32(0)


@njit(parallel=True, fastmath=FAST, cache=True)
def second_position_gradient(x, v, gradient, table, scales, strides, offsets, mask, ddx):
    """ddx (n, 3) = the gradient with respect to x of v . position_gradient(x), written.

    Only mixed second derivatives of a trilinear weight differ from zero: d2w / dx dy = (+-1)(+-1) w_z.
    """
    points, features = x.shape[0], table.shape[1]
    for part in prange((points + PART - 1) // PART):
        begin, end = part * PART, min((part + 1) * PART, points)
        ddx[begin:end] = np.float32(0)
        for level in range(scales.shape[0]):
            scale, stride, offset = scales[level], strides[level], offsets[level]
            square = scale * scale
            for p in range(begin, end):
                i, j, k, a, b, c = _cell(x, p, scale)
                rows = _corners(i, j, k, stride, mask, offset)
                for corner in range(8):
                    s = np.float32(0)
                    for f in range(features):
                        s += gradient[level * features + f, p] * table[rows[corner], f]
                    s *= square
                    sign_x = np.float32(1) if corner & 1 else np.float32(-1)
                    sign_y = np.float32(1) if corner & 2 else np.float32(-1)
                    sign_z = np.float32(1) if corner & 4 else np.float32(-1)
                    w_x = a if corner & 1 else np.float32(1) - a
                    w_y = b if corner & 2 else np.float32(1) - b
                    w_z = c if corner & 4 else np.float32(1) - c
                    xy, xz, yz = sign_x * sign_y * w_z, sign_x * sign_z * w_y, sign_y * sign_z * w_x
                    ddx[p, 0] += s * (v[p, 1] * xy + v[p, 2] * xz)
                    ddx[p, 1] += s * (v[p, 0] * xy + v[p, 2] * yz)
                    ddx[p, 2] += s * (v[p, 0] * xz + v[p, 1] * yz)
        for p in range(begin, end):
            for axis in range(3):
                if not (x[p, axis] >= np.float32(0) and x[p, axis] <= np.float32(1)):
                    ddx[p, axis] = np.float32(0)
