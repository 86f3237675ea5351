"""What a signed distance should be like beside its pictures: of slope 1 everywhere, and solid where the photographs are."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box, Rays, Samples
from nerf3d.fields.sdf import SignedDistanceField

EIKONAL_POINTS = 1024
"""On the rays, where the surface is, and as many anywhere in the box."""


def eikonal(
    field: SignedDistanceField, rays: Rays, samples: Samples, box: Box, rng: torch.Generator
) -> Float[Tensor, ""]:
    """The mean of (|grad d| - 1)^2 (Gropp et al. 2020, equation 3), at some samples of the rays and anywhere in the box.

    Without the second half there is nothing to keep a distance one where no ray looks: inside, and in what is empty.
    """
    chance, device = rng.device, samples.start.device
    x = box.from_unit(torch.rand(EIKONAL_POINTS, 3, generator=rng, device=chance).to(device))
    if len(samples):
        some = torch.randint(len(samples), (EIKONAL_POINTS,), generator=rng, device=chance).to(device)
        x = torch.cat([x, samples.positions(rays)[some].detach()])
    return (field.gradient(x).norm(dim=-1) - 1).square().mean()


def mask(opacity: Float[Tensor, "n"], alpha: Float[Tensor, "n"], usable: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The binary cross entropy, in nats, of what a ray's opacity should be (NeuS, Wang et al. 2021, equation 17).

    >>> mask(torch.tensor([0.5, 0.9]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))  # -log 0.5; the second is masked
    tensor(0.6931)
    """
    o = opacity.clamp(1e-3, 1 - 1e-3)
    each = -(alpha * o.log() + (1 - alpha) * (1 - o).log())
    return (each * usable).sum() / usable.sum().clamp_min(1)
