"""What a teacher calls a picture: pixels in [-1, 1], or the latents of an autoencoder."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pixels(images: Float[Tensor, "b h w 3"], size: int) -> Float[Tensor, "b 3 size size"]:
    """Pictures in [0, 1] as channels in [-1, 1], resized bilinearly (an average where they shrink)."""
    x = 2 * images.permute(0, 3, 1, 2) - 1
    if x.shape[-2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)


@dataclass(frozen=True)
class Pixels:
    """For teachers that denoise pixels: DeepFloyd IF, or a small prior."""

    size: int

    def __call__(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h2 w2"]:
        return pixels(images, self.size)


@dataclass(frozen=True)
class Latents:
    """For teachers that denoise latents: (mean of the posterior - shift) * scale.

    The mean, and no sample: chance in the encoder would only be noise in the gradient. The autoencoder stays in single
    precision, because what it passes back is what the scene sees.
    """

    autoencoder: Any  # AutoencoderKL or AutoencoderTiny of diffusers
    size: int
    scale: float
    shift: float = 0.0

    def __call__(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b c h2 w2"]:
        encoded = self.autoencoder.encode(pixels(images, self.size))
        posterior = getattr(encoded, "latent_dist", None)
        latents = encoded.latents if posterior is None else posterior.mean  # AutoencoderTiny has no distribution
        return (latents - self.shift) * self.scale

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "b c h2 w2"]) -> Float[Tensor, "b h w 3"]:
        """The pictures that latents stand for, to look at; no judge needs them."""
        decoded = self.autoencoder.decode(latents / self.scale + self.shift).sample
        return (decoded.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
