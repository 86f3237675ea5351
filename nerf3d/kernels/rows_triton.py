"""Rows of a table on a GPU: values added to them, and products with them. A program takes a block of sums.

An index outside of the table (a position that is not a number has one) means the nearest row: nothing else in memory can be
reached. Many sums may share a row, hence atomic additions: their order, and with it the last bits, differs between runs.
"""

import triton
import triton.language as tl
from torch import Tensor

from nerf3d.kernels.launch_triton import launch, padded, programs

BLOCK = 32
"""Sums of one program."""
WIDE = 64
"""Channels that are looked at together."""


@triton.jit
def _inside(row, rows):
    return tl.minimum(tl.maximum(row, 0), rows - 1)


@triton.jit
def _scatter(
    values, index, weight, out, sums, terms, rows, channels, value_sum, value_channel,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1).to(tl.int64) * WIDE + tl.arange(0, WIDE)
    valid = (n < sums)[:, None] & (c < channels)[None, :]
    value = tl.load(values + n[:, None] * value_sum + c[None, :] * value_channel, mask=valid, other=0.0)
    for k in range(terms):
        row = _inside(tl.load(index + n * terms + k, mask=n < sums, other=0), rows)
        w = tl.load(weight + n * terms + k, mask=n < sums, other=0.0)
        tl.atomic_add(out + row[:, None] * channels + c[None, :], w[:, None] * value, mask=valid, sem="relaxed")


@triton.jit
def _products(
    table, index, values, out, sums, terms, rows, channels, value_sum, value_channel,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    for k in range(terms):
        row = _inside(tl.load(index + n * terms + k, mask=n < sums, other=0), rows)
        total = tl.zeros((BLOCK,), tl.float32)
        for first in range(0, channels, WIDE):
            c = first + tl.arange(0, WIDE).to(tl.int64)
            valid = (n < sums)[:, None] & (c < channels)[None, :]
            value = tl.load(values + n[:, None] * value_sum + c[None, :] * value_channel, mask=valid, other=0.0)
            total += tl.sum(value * tl.load(table + row[:, None] * channels + c[None, :], mask=valid, other=0.0), 1)
        tl.store(out + n * terms + k, total, mask=n < sums)


def scatter(values: Tensor, index: Tensor, weight: Tensor, out: Tensor) -> None:
    """`out`, added to."""
    (sums, terms), (rows, channels) = index.shape, out.shape
    wide = min(padded(channels), WIDE)
    inputs = (values.detach(), index.contiguous(), weight.detach().contiguous())
    numbers = (sums, terms, rows, channels, *values.stride())
    launch(_scatter, (programs(sums, BLOCK), programs(channels, wide)), *inputs, out, *numbers, BLOCK=BLOCK, WIDE=wide)


def products(table: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Each sum's values times each of its rows."""
    (sums, terms), (rows, channels) = index.shape, table.shape
    out = values.new_empty(sums, terms)
    inputs = (table.detach().contiguous(), index.contiguous(), values.detach())
    numbers = (sums, terms, rows, channels, *values.stride())
    wide = min(padded(channels), WIDE)
    launch(_products, (programs(sums, BLOCK),), *inputs, out, *numbers, BLOCK=BLOCK, WIDE=wide)
    return out
