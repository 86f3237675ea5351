"""Adam on a GPU: one pass over flat arrays, entry by entry; nothing is read or written where the gradient is zero."""

import triton
import triton.language as tl
from torch import Tensor

from nerf3d.kernels.launch_triton import launch, programs

BLOCK = 1024


@triton.jit
def _adam(
    parameter, gradient, mean, square, entries, first, second, size, correction, epsilon, BLOCK: tl.constexpr
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gradient + i, mask=i < entries, other=0.0)
    touched = g != 0.0
    m = first * tl.load(mean + i, mask=touched, other=0.0) + (1.0 - first) * g
    v = second * tl.load(square + i, mask=touched, other=0.0) + (1.0 - second) * g * g
    step = size * m / (tl.sqrt(v) * correction + epsilon)
    tl.store(mean + i, m, mask=touched)
    tl.store(square + i, v, mask=touched)
    tl.store(parameter + i, tl.load(parameter + i, mask=touched, other=0.0) - step, mask=touched)


def adam(
    parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor,
    first: float, second: float, size: float, correction: float, epsilon: float,
) -> None:  # fmt: skip
    """Contiguous tensors; all but the gradient are updated in place."""
    numbers = (parameter.numel(), first, second, size, correction, epsilon)
    grid = (programs(parameter.numel(), BLOCK),)
    launch(_adam, grid, parameter, gradient, mean, square, *numbers, BLOCK=BLOCK)
