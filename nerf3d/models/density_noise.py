"""Densities that tremble at the beginning: what keeps a generator from making fog and floaters that nobody can grasp
yet.

Mildenhall et al., NeRF (2020, appendix A) add Gaussian noise to the network's raw answer; GRAF and pi-GAN let it fade
out over the first thousands of steps:

    density = softplus(s + noise n - 1),   n ~ N(0, 1)         per reference length of the box, 0 outside of it

The papers have relu in the place of softplus(s - 1), which cannot die (see `fields.mlp_field`).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.fields.common import Region

DENSITY_SHIFT = -1.0


def trembling_density(
    region: Region, raw: Float[Tensor, "n"], x: Float[Tensor, "n 3"], noise: float, rng: torch.Generator | None
) -> Float[Tensor, "n"]:
    """Densities in 1 / world unit of raw answers at world positions; without `rng` nothing trembles."""
    if rng is not None and noise > 0:
        raw = raw + noise * torch.randn(raw.shape, generator=rng, device=rng.device).to(raw)
    return region.density(F.softplus(raw + DENSITY_SHIFT), x)
