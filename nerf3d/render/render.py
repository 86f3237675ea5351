"""The renderer: a function of a field, rays and a sampler. Nothing else in the house integrates along a ray."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field, Rays, Rendering, Sampler
from nerf3d.kernels.composite import composite


def render(
    field: Field,
    rays: Rays,
    sampler: Sampler,
    background: Float[Tensor, "rays c"] | Float[Tensor, "c"] | float = 0.0,
    rng: torch.Generator | None = None,
    stop: float = 1e-4,
) -> Rendering:
    """Color, opacity and depth of a flat batch of rays (NeRF, equation 3).

    `background` is what shows through where the opacity is below 1: one color, one per ray, or a grey value. A part of a
    ray that less than `stop` of the light reaches counts as dark. None for `rng` gives the same picture every time.
    """
    samples = sampler(field, rays, rng)
    radiance = field(samples.positions(rays), rays.direction[samples.ray])
    weights, color, opacity, distance = composite(radiance.density, radiance.color, samples, stop)
    depth = distance / opacity.clamp_min(1e-6)
    return Rendering(color + (1 - opacity)[:, None] * background, opacity, depth, weights, samples)
