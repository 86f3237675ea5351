"""Multiresolution hash encoding: positions in the unit cube to trainable features.

Müller et al. 2022 (instant-ngp), section 3. Level l lays a grid over the cube; a point takes the features of the eight
corners of its cell, blended trilinearly (equation 1-4):

    scale_l    = N_min b^l - 1,      b = (N_max / N_min)^(1 / (L - 1))
    resolution = ceil(scale_l) + 1
    position   = x scale_l + 0.5     the half cell keeps the levels' cell borders from coinciding
    index      = i_x + s i_y + s^2 i_z                                   where (resolution + 1)^3 entries fit into T
               = (i_x xor 2654435761 i_y xor 805459861 i_z) mod T        else; T is a power of two

with s = resolution + 1, so that the outermost corners have entries of their own.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerf3d.kernels.backend import Backend, backend, borrows
from nerf3d.kernels.mlp import rows_first

PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class GridLayout:
    """How the levels lie in one table: `levels` with `features` each, resolutions from `coarsest` to `finest`."""

    levels: int = 8
    features: int = 4
    log2_table_size: int = 17
    coarsest: int = 16
    finest: int = 512

    @cached_property
    def scales(self) -> np.ndarray:
        growth = math.log(self.finest / self.coarsest) / max(self.levels - 1, 1)
        return np.array([self.coarsest * math.exp(level * growth) - 1 for level in range(self.levels)], np.float32)

    @cached_property
    def strides(self) -> np.ndarray:
        """Corners along one side, for each level that is stored densely; 0 for a hashed level."""
        sides = np.ceil(self.scales).astype(np.int64) + 2
        return np.where(sides**3 <= 2**self.log2_table_size, sides, 0)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each level begins in the table; the last entry is the number of rows in all."""
        sizes = np.where(self.strides > 0, self.strides**3, 2**self.log2_table_size)
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def entries(self) -> int:
        return int(self.offsets[-1])

    @property
    def mask(self) -> int:
        """What is left of a hash: as many rows as a hashed level has."""
        return 2**self.log2_table_size - 1

    @property
    def width(self) -> int:
        """Features of one encoded point."""
        return self.levels * self.features


def hash_encode(x: Float[Tensor, "n 3"], table: Float[Tensor, "entries f"], layout: GridLayout) -> Float[Tensor, "n c"]:
    """Encode points of the unit cube (others are moved to its border), level after level.

    Differentiable with respect to the table and the positions, and once more with respect to both. The table may be in half
    precision; its gradient is then rounded once, after all has been added up (by the reference: at every addition).
    """
    if borrows("tcnn", x) and x.shape[0] > 0:
        from nerf3d.kernels import tcnn

        if tcnn.encodes(table, layout):
            return tcnn.hash_encode(x, table, layout, _hash_encode)
    return _hash_encode(x, table, layout)


def _hash_encode(x: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    name = backend(x)
    if name == "torch" or x.shape[0] == 0 or (name == "numba" and table.dtype != torch.float32):
        return hash_encode_reference(x, table, layout)
    return _Encode.apply(x, table, layout, name)


def hash_encode_reference(
    x: Float[Tensor, "n 3"], table: Float[Tensor, "entries f"], layout: GridLayout
) -> Float[Tensor, "n c"]:
    """The same in plain torch.

    The other versions agree within 1e-5 of the largest value, forward and backward; gradients with respect to positions
    jump at cell borders, where rounding decides on which side a point lies.
    """
    x = x.clamp(0, 1)
    parts = []
    for scale, stride, offset in zip(layout.scales.tolist(), layout.strides.tolist(), layout.offsets.tolist()):
        position = x * scale + 0.5
        cell = position.detach().floor()
        fraction = position - cell
        corner = cell.long()
        blended = torch.zeros((), dtype=x.dtype, device=x.device)
        for bits in range(8):
            step = [bits & 1, bits >> 1 & 1, bits >> 2 & 1]
            i, j, k = ((corner[:, a] + step[a]) for a in range(3))
            if stride:
                index = i + stride * (j + stride * k)
            else:
                index = ((i * PRIMES[0]) ^ (j * PRIMES[1]) ^ (k * PRIMES[2])) & layout.mask
            weight = torch.ones((), dtype=x.dtype, device=x.device)
            for a in range(3):
                weight = weight * (fraction[:, a] if step[a] else 1 - fraction[:, a])
            blended = blended + weight[:, None] * table[offset + index]
        parts.append(blended)
    return torch.cat(parts, -1)


def _shape(layout: GridLayout) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    return layout.scales, layout.strides, layout.offsets, layout.mask


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, table: Tensor, layout: GridLayout, name: Backend) -> Tensor:
        ctx.layout, ctx.name = layout, name
        ctx.save_for_backward(x, table)
        return _gather(name, x, None, table, layout)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        x, table = ctx.saved_tensors
        dx, dtable = _EncodeGradient.apply(x, table, grad, ctx.layout, ctx.name, *ctx.needs_input_grad[:2])
        return dx, dtable, None, None


class _EncodeGradient(torch.autograd.Function):
    """The first derivative as an operation of its own, so that it can be differentiated again.

    With S = sum_f g_f T_{c,f} at corner c of weight w_c, the gradient with respect to the position is sum_c S_c grad w_c.
    Given v, the gradient of a loss with respect to that, everything else follows with q_c = v . grad w_c, the directional
    derivative of the weights: the same gather and scatter as in the first derivative, with q_c in the place of w_c.
    """

    @staticmethod
    def forward(ctx, x, table, grad, layout, name, want_x, want_table):  # type: ignore[no-untyped-def]
        ctx.layout, ctx.name = layout, name
        ctx.save_for_backward(x, table, grad)
        ctx.set_materialize_grads(False)
        dtable = _scatter(name, x, None, grad, table, layout) if want_table else None
        dx = _position_gradient(name, x, None, grad, table, layout) if want_x else None
        return dx, dtable

    @staticmethod
    @once_differentiable  # the reference has a third derivative, if ever one is wanted
    def backward(ctx, v: Tensor | None, dtable_grad: Tensor | None):  # type: ignore[override]
        x, table, grad = ctx.saved_tensors
        layout, name = ctx.layout, ctx.name
        ddx = ddtable = dgrad = None
        if v is not None:
            v = torch.where((x >= 0) & (x <= 1), v, 0.0).contiguous()  # positions moved to the border do not move
            if ctx.needs_input_grad[0]:
                ddx = _position_gradient(name, x, v, grad, table, layout)
            if ctx.needs_input_grad[1]:
                ddtable = _scatter(name, x, v, grad, table, layout)
            if ctx.needs_input_grad[2]:
                dgrad = _gather(name, x, v, table, layout)
        if dtable_grad is not None:  # the table's gradient is linear in `grad`, with the same weights as the encoding
            extra = _gather(name, x, None, dtable_grad, layout)
            dgrad = extra if dgrad is None else dgrad + extra
            if ctx.needs_input_grad[0]:
                turned = _position_gradient(name, x, None, grad, dtable_grad, layout)
                ddx = turned if ddx is None else ddx + turned
        return ddx, ddtable, dgrad, None, None, None, None


def _gather(name: Backend, x: Tensor, v: Tensor | None, table: Tensor, layout: GridLayout) -> Tensor:
    if name == "triton":
        from nerf3d.kernels import hash_grid_triton

        return hash_grid_triton.gather(x, v, table, layout)
    from numba import get_num_threads

    from nerf3d.kernels import hash_grid_numba

    out = torch.empty(layout.width, x.shape[0])
    points = x.detach().contiguous().numpy()
    along = points if v is None else v.detach().numpy()
    gather = hash_grid_numba.gather(layout.features, v is not None)
    gather(points, along, table.detach().contiguous().numpy(), *_shape(layout), get_num_threads(), out.numpy())
    return out.t()


def _scatter(name: Backend, x: Tensor, v: Tensor | None, grad: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    if name == "triton":
        from nerf3d.kernels import hash_grid_triton

        return hash_grid_triton.scatter(x, v, grad, table, layout)
    from numba import get_num_threads

    from nerf3d.kernels import hash_grid_numba

    dtable = torch.zeros_like(table)
    points = x.detach().contiguous().numpy()
    along = points if v is None else v.detach().numpy()
    scatter = hash_grid_numba.scatter(layout.features, v is not None)
    threads = min(get_num_threads(), layout.levels)
    scatter(points, along, rows_first(grad), *_shape(layout), threads, dtable.numpy())
    return dtable


def _position_gradient(
    name: Backend, x: Tensor, v: Tensor | None, grad: Tensor, table: Tensor, layout: GridLayout
) -> Tensor:
    """With v, the gradient of v . that."""
    if name == "triton":
        from nerf3d.kernels import hash_grid_triton

        return hash_grid_triton.position_gradient(x, v, grad, table, layout)
    from nerf3d.kernels import hash_grid_numba

    dx = torch.empty_like(x)
    shared = (rows_first(grad), table.detach().contiguous().numpy(), *_shape(layout), dx.numpy())
    if v is None:
        hash_grid_numba.position_gradient(x.detach().numpy(), *shared)
    else:
        hash_grid_numba.second_position_gradient(x.detach().numpy(), v.numpy(), *shared)
    return dx
