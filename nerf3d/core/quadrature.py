"""Volume rendering along packed rays: the one place where its formulas stand.

NeRF (Mildenhall et al. 2020), equation 3, for the intervals i of one ray with density s_i and width w_i:

    alpha_i = 1 - exp(-s_i w_i)
    T_i     = exp(-sum_{j<i} s_j w_j)          transmittance: the share of light that reaches interval i
    weight_i = T_i alpha_i                     so that color = sum weight_i c_i and opacity = 1 - T_end

This is the plain reference, in terms of torch operations; `kernels.composite` is the same, fast.

Worked example, one ray with s w = (ln 2, ln 2): alpha = (1/2, 1/2), T = (1, 1/2), weights = (1/2, 1/4), opacity = 3/4.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def exclusive_sum(values: Float[Tensor, "n"], offsets: Int64[Tensor, "r"]) -> Float[Tensor, "n"]:
    """For every sample the sum of the values before it on its own ray.

    One running sum over the whole stream in single precision loses four digits, so it is taken in double precision.
    """
    running = torch.cumsum(values.double(), 0) - values.double()
    counts = offsets[1:] - offsets[:-1]
    nonempty = counts > 0
    begin = running[offsets[:-1][nonempty]]
    return (running - begin.repeat_interleave(counts[nonempty])).to(values.dtype)


def sum_per_ray(values: Float[Tensor, "n *c"], ray: Int64[Tensor, "n"], rays: int) -> Float[Tensor, "rays *c"]:
    """Add up each ray's samples; 0 for a ray without any."""
    return torch.zeros(rays, *values.shape[1:], dtype=values.dtype, device=values.device).index_add(0, ray, values)


def transmittance(
    density: Float[Tensor, "n"], width: Float[Tensor, "n"], offsets: Int64[Tensor, "r"]
) -> Float[Tensor, "n"]:
    """The share of light that reaches the near end of each interval."""
    return torch.exp(-exclusive_sum(density * width, offsets))


def weights(density: Float[Tensor, "n"], width: Float[Tensor, "n"], offsets: Int64[Tensor, "r"]) -> Float[Tensor, "n"]:
    """What each interval contributes to its ray's colour."""
    return transmittance(density, width, offsets) * -torch.expm1(-density * width)
