"""The hash encoding on a GPU: gather, scatter, and the derivatives with respect to the position.

A program takes a block of points; for what is written level by level, on one level. Many points may add to one entry of the
table at once, hence atomic additions, in single precision whatever the table's is: sums of small steps would be lost in
half. Their order differs from run to run, and so do the last bits of a table's gradient.

`directional` kernels use q_c = v . grad w_c in the place of the corner's weight w_c; see `hash_grid._EncodeGradient`.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.kernels.launch_triton import launch, padded, programs

BLOCK = 256
"""Points of one program."""


@triton.jit
def _clamped(x):
    """Moved into [0, 1]; what is not a number becomes 0, never a wild address."""
    return tl.where(x > 0.0, tl.where(x < 1.0, x, 1.0), 0.0)


@triton.jit
def _cell(x, scale):
    """The cell along one axis and the position inside it."""
    position = _clamped(x) * scale + 0.5
    cell = tl.floor(position)
    return cell.to(tl.int32), position - cell


@triton.jit
def _row(i, j, k, stride, mask, offset):
    """The table's row of a corner. Only the hash's low bits count, so 32 of them are enough."""
    dense = i.to(tl.int64) + stride * (j.to(tl.int64) + stride * k.to(tl.int64))
    mixed = i.to(tl.uint32) ^ (j.to(tl.uint32) * 2654435761) ^ (k.to(tl.uint32) * 805459861)
    hashed = (mixed & mask.to(tl.uint32)).to(tl.int64)
    return offset + tl.where(stride > 0, dense, hashed)


@triton.jit
def _side(fraction, far: tl.constexpr):
    """The weight along one axis of the near or the far corner, and its derivative."""
    if far:
        weight = fraction
        slope = 1.0
    else:
        weight = 1.0 - fraction
        slope = -1.0
    return weight, slope


@triton.jit
def _weight(a, b, c, v_x, v_y, v_z, corner: tl.constexpr, DIRECTIONAL: tl.constexpr):
    """A corner's trilinear weight, or its derivative along (v_x, v_y, v_z)."""
    w_x, d_x = _side(a, corner & 1)
    w_y, d_y = _side(b, corner >> 1 & 1)
    w_z, d_z = _side(c, corner >> 2)
    if DIRECTIONAL:
        weight = v_x * d_x * w_y * w_z + v_y * w_x * d_y * w_z + v_z * w_x * w_y * d_z
    else:
        weight = w_x * w_y * w_z
    return weight


@triton.jit
def _axes(x, p, points):
    """The three coordinates of a block of points; 0 after the last one."""
    p = p.to(tl.int64) * 3
    x_0 = tl.load(x + p, mask=p < 3 * points, other=0.0)
    x_1 = tl.load(x + p + 1, mask=p < 3 * points, other=0.0)
    x_2 = tl.load(x + p + 2, mask=p < 3 * points, other=0.0)
    return x_0, x_1, x_2


@triton.jit
def _gather(
    x, v, table, scales, strides, offsets, out, points, mask,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, DIRECTIONAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out (levels * features, n), written: each level's features blended over the cell's corners."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    level = tl.program_id(1)
    f = tl.arange(0, PADDED)
    valid = (p < points)[:, None] & (f < FEATURES)[None, :]
    scale, stride, offset = tl.load(scales + level), tl.load(strides + level), tl.load(offsets + level)
    x_0, x_1, x_2 = _axes(x, p, points)
    v_0, v_1, v_2 = _axes(v, p, points)
    i, a = _cell(x_0, scale)
    j, b = _cell(x_1, scale)
    k, c = _cell(x_2, scale)
    total = tl.zeros((BLOCK, PADDED), tl.float32)
    for corner in tl.static_range(8):
        row = _row(i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2), stride, mask, offset)
        weight = _weight(a, b, c, v_0 * scale, v_1 * scale, v_2 * scale, corner, DIRECTIONAL)
        entry = tl.load(table + row[:, None] * FEATURES + f[None, :], mask=valid, other=0.0)
        total += weight[:, None] * entry.to(tl.float32)
    column = (level * FEATURES + f).to(tl.int64)
    tl.store(out + column[None, :] * points + p[:, None], total, mask=valid)


@triton.jit
def _scatter(
    x, v, gradient, scales, strides, offsets, dtable, points, mask, point_stride, column_stride,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, DIRECTIONAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dtable, added to: what `_gather` took from each corner comes back to it."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    level = tl.program_id(1)
    f = tl.arange(0, PADDED)
    valid = (p < points)[:, None] & (f < FEATURES)[None, :]
    scale, stride, offset = tl.load(scales + level), tl.load(strides + level), tl.load(offsets + level)
    x_0, x_1, x_2 = _axes(x, p, points)
    v_0, v_1, v_2 = _axes(v, p, points)
    i, a = _cell(x_0, scale)
    j, b = _cell(x_1, scale)
    k, c = _cell(x_2, scale)
    column = (level * FEATURES + f).to(tl.int64)
    g = tl.load(gradient + p[:, None] * point_stride + column[None, :] * column_stride, mask=valid, other=0.0)
    for corner in tl.static_range(8):
        row = _row(i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2), stride, mask, offset)
        weight = _weight(a, b, c, v_0 * scale, v_1 * scale, v_2 * scale, corner, DIRECTIONAL)
        tl.atomic_add(dtable + row[:, None] * FEATURES + f[None, :], weight[:, None] * g, mask=valid, sem="relaxed")


@triton.jit
def _position_gradient(
    x, v, gradient, table, scales, strides, offsets, dx, points, mask, levels, point_stride, column_stride,
    FEATURES: tl.constexpr, PADDED: tl.constexpr, SECOND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx (n, 3), written: sum over levels of scale * sum_c S_c grad w_c, or the gradient of v . that; 0 where the position
    was moved to the border.
    """
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    f = tl.arange(0, PADDED)
    valid = (p < points)[:, None] & (f < FEATURES)[None, :]
    x_0, x_1, x_2 = _axes(x, p, points)
    v_0, v_1, v_2 = _axes(v, p, points)
    dx_0 = tl.zeros((BLOCK,), tl.float32)
    dx_1 = tl.zeros((BLOCK,), tl.float32)
    dx_2 = tl.zeros((BLOCK,), tl.float32)
    for level in range(levels):
        scale, stride, offset = tl.load(scales + level), tl.load(strides + level), tl.load(offsets + level)
        i, a = _cell(x_0, scale)
        j, b = _cell(x_1, scale)
        k, c = _cell(x_2, scale)
        column = (level * FEATURES + f).to(tl.int64)
        g = tl.load(gradient + p[:, None] * point_stride + column[None, :] * column_stride, mask=valid, other=0.0)
        for corner in tl.static_range(8):
            row = _row(i + (corner & 1), j + (corner >> 1 & 1), k + (corner >> 2), stride, mask, offset)
            entry = tl.load(table + row[:, None] * FEATURES + f[None, :], mask=valid, other=0.0)
            s = tl.sum(g * entry.to(tl.float32), 1) * scale
            w_x, d_x = _side(a, corner & 1)
            w_y, d_y = _side(b, corner >> 1 & 1)
            w_z, d_z = _side(c, corner >> 2)
            if SECOND:  # only mixed second derivatives of a trilinear weight differ from zero
                s *= scale
                dx_0 += s * d_x * (v_1 * d_y * w_z + v_2 * w_y * d_z)
                dx_1 += s * d_y * (v_0 * d_x * w_z + v_2 * w_x * d_z)
                dx_2 += s * d_z * (v_0 * d_x * w_y + v_1 * w_x * d_y)
            else:
                dx_0 += s * d_x * w_y * w_z
                dx_1 += s * w_x * d_y * w_z
                dx_2 += s * w_x * w_y * d_z
    written = p < points
    tl.store(dx + p * 3, tl.where((x_0 >= 0.0) & (x_0 <= 1.0), dx_0, 0.0), mask=written)
    tl.store(dx + p * 3 + 1, tl.where((x_1 >= 0.0) & (x_1 <= 1.0), dx_1, 0.0), mask=written)
    tl.store(dx + p * 3 + 2, tl.where((x_2 >= 0.0) & (x_2 <= 1.0), dx_2, 0.0), mask=written)


@lru_cache(maxsize=64)
def _levels(layout: GridLayout, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The layout's scales, strides and offsets where the kernels can read them."""
    scales, strides, offsets = (torch.from_numpy(a).to(device) for a in (layout.scales, layout.strides, layout.offsets))
    return scales, strides, offsets


def _sizes(layout: GridLayout) -> dict[str, int]:
    return {"FEATURES": layout.features, "PADDED": padded(layout.features), "BLOCK": BLOCK}


def gather(x: Tensor, v: Tensor | None, table: Tensor, layout: GridLayout) -> Tensor:
    """The encoding (n, levels * features), feature-major; with v, its derivative along v."""
    x, table, points = x.detach().contiguous(), table.detach().contiguous(), x.shape[0]
    along = x if v is None else v.detach().contiguous()
    out = torch.empty(layout.width, points, device=x.device)
    grid = (programs(points, BLOCK), layout.levels)
    inputs = (x, along, table, *_levels(layout, x.device))
    launch(_gather, grid, *inputs, out, points, layout.mask, DIRECTIONAL=v is not None, **_sizes(layout))
    return out.t()


def scatter(x: Tensor, v: Tensor | None, grad: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    """The table's gradient, rounded to the table's precision once it is complete."""
    x, grad, points = x.detach().contiguous(), grad.detach(), x.shape[0]
    along = x if v is None else v.detach().contiguous()
    dtable = torch.zeros(table.shape, device=x.device)
    grid = (programs(points, BLOCK), layout.levels)
    inputs = (x, along, grad, *_levels(layout, x.device))
    numbers = (points, layout.mask, *grad.stride())
    launch(_scatter, grid, *inputs, dtable, *numbers, DIRECTIONAL=v is not None, **_sizes(layout))
    return dtable.to(table.dtype)


def position_gradient(x: Tensor, v: Tensor | None, grad: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    """The gradient (n, 3) with respect to the positions; with v, the gradient of v . that."""
    x, grad, table, points = x.detach().contiguous(), grad.detach(), table.detach().contiguous(), x.shape[0]
    along = x if v is None else v.detach().contiguous()
    dx = torch.empty_like(x)
    inputs = (x, along, grad, table, *_levels(layout, x.device))
    numbers = (points, layout.mask, layout.levels, *grad.stride())
    launch(
        _position_gradient, (programs(points, BLOCK),), *inputs, dx, *numbers, SECOND=v is not None, **_sizes(layout)
    )
    return dx
