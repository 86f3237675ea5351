"""The renderer: a function of a field, rays and a sampler. Nothing else in the house integrates along a ray."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras, Field, Rays, Rendering, Sampler, Scene
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


@torch.no_grad()
def render_picture(scene: Scene, cameras: Cameras, index: int, chunk: int = 16384) -> Rendering:
    """A whole picture of camera `index`, row by row: a rendering with height * width rays.

    Its `weights` and `samples` are empty: for a picture they would be large and nobody asks for them.
    """
    rays = cameras.rays(index)
    parts = [
        render(scene.field, rays[begin : begin + chunk], scene.sampler, scene.background)
        for begin in range(0, len(rays), chunk)
    ]
    color, opacity, depth = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("color", "opacity", "depth")
    )
    last = parts[-1]
    none = type(last.samples)(*(t[:0] for t in (last.samples.start, last.samples.end, last.samples.ray)), torch.zeros_like(last.samples.offsets[:1]))
    return Rendering(color, opacity, depth, last.weights[:0], none)
