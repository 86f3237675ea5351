"""The distortion loss: a ray's weight should sit in one compact place, which clears floating fog away."""

from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core.quadrature import exclusive_sum, sum_per_ray


def distortion(
    start: Float[Tensor, "n"],
    end: Float[Tensor, "n"],
    weights: Float[Tensor, "n"],
    ray: Int64[Tensor, "n"],
    offsets: Int64[Tensor, "r"],
) -> Float[Tensor, "rays"]:
    """Mip-NeRF 360, equation 15, for each ray of packed intervals [start, end] in normalised distance s in [0, 1]:

        sum_ij w_i w_j |m_i - m_j|  +  1/3 sum_i w_i^2 (end_i - start_i)         with the middles m

    Intervals are sorted, so that the double sum needs only running sums over the intervals before i, one pass a ray:
    2 sum_i w_i (m_i sum_{j<i} w_j - sum_{j<i} w_j m_j).

    Worked example, two intervals [0, 0.2], [0.8, 1] of weight 1/2: 2 (1/2)(1/2) 0.8 + 1/3 (1/4)(0.2 + 0.2) = 0.4333.
    """
    middle = 0.5 * (start + end)
    apart = 2.0 * weights * (middle * exclusive_sum(weights, offsets) - exclusive_sum(weights * middle, offsets))
    within = weights.square() * (end - start) / 3.0
    return sum_per_ray(apart + within, ray, offsets.shape[0] - 1)
