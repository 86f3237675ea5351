"""What a field should be like whatever the prompt: compact, opaque or absent, and facing outwards."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field, Rays, Rendering
from nerf3d.render.distortion import distortion
from nerf3d.render.shading import smooth_normals


def sparsity(opacity: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Mean of sqrt(o^2 + 0.01): fills no more of the picture than needed (DreamFusion's code)."""
    return (opacity.square() + 0.01).sqrt().mean()


def opaque(opacity: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Mean binary entropy of the opacities in nats: a pixel should be full or empty."""
    o = opacity.clamp(1e-3, 1 - 1e-3)
    return -(o * o.log() + (1 - o) * (1 - o).log()).mean()


def orientation(field: Field, rays: Rays, out: Rendering, width: float) -> Float[Tensor, ""]:
    """Mean over rays of sum w max(0, n . d)^2: what is seen faces the eye (Ref-NeRF, equation 11)."""
    x, d = out.samples.positions(rays), rays.direction[out.samples.ray]
    away = (smooth_normals(field, x, width) * d).sum(-1).clamp_min(0)
    return (out.weights.detach() * away.square()).sum() / len(rays)


def compact(out: Rendering, longest: float) -> Float[Tensor, ""]:
    """The distortion loss over distances in units of `longest` (Mip-NeRF 360, equation 15)."""
    samples = out.samples
    ends = (samples.start / longest, samples.end / longest)
    return distortion(*ends, out.weights, samples.ray, samples.offsets).mean()


def sky(colors: Float[Tensor, "v 3"], size: int) -> Float[Tensor, "n 3"]:
    """One colour a picture, for each of its pixels."""
    return colors.repeat_interleave(size * size, 0)


def random_sky(views: int, rng: torch.Generator) -> Float[Tensor, "v 3"]:
    """Quiet colours: a grey from black to white with a tint."""
    grey, tint = torch.rand(2, views, 1, generator=rng)
    return (grey + 0.5 * tint * (torch.rand(views, 3, generator=rng) - 0.5)).clamp(0, 1)
