"""Triton programs: how they are launched, and a small one that tells whether this machine can run any.

The files `*_triton.py` import Triton, so they are imported where they are used, once `backend` has chosen them. They have
run in Triton's interpreter and gone through its compiler; no GPU has run them yet.
"""

from typing import Any

import torch
import triton
import triton.language as tl


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Run `grid` programs of a kernel on the device of its first argument; nothing where there are none."""
    if all(grid):
        with torch.cuda.device_of(arguments[0]):  # Triton takes the current device, which need not be the tensor's
            kernel[grid](*arguments, enable_fp_fusion=True, **constants)


def padded(count: int, least: int = 1) -> int:
    """The next power of two: blocks have no other lengths."""
    return max(triton.next_power_of_2(count), least)


def programs(count: int, block: int) -> int:
    """How many blocks hold `count` of something."""
    return -(-count // block)


@triton.jit
def _probe(values, out, BLOCK: tl.constexpr):
    """A little of everything: a product of matrices, a running sum, a loop that ends on a condition, an atomic addition."""
    i = tl.arange(0, BLOCK)
    ones = tl.load(values + i[:, None] * BLOCK + i[None, :])
    sums = tl.sum(tl.cumsum(tl.dot(ones, ones, input_precision="ieee"), 1), 0)
    largest = tl.max(sums, 0)
    while largest > 1.0:
        largest = largest * 0.5
    tl.atomic_add(out + i * 0, sums * 0.0 + largest)


def probe(device: torch.device) -> None:
    """Compile and run a small program; raises whatever Triton raises, or ArithmeticError for a wrong result."""
    out = torch.zeros(1, device=device)
    launch(_probe, (1,), torch.ones(16, 16, device=device), out, BLOCK=16, num_warps=1)
    if float(out) != 16:  # the largest sum is 2^12, halved to 1, and 16 lanes add it up
        raise ArithmeticError(f"it found {float(out)} where 16 is right")
