"""DDIM inversion: the noise that a teacher would have denoised to a given picture (Song et al. 2020, section 4.3).

One step between two noise levels keeps the estimate of the picture and of the noise, and mixes them anew. For a flow this
is an Euler step along its straight lines.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.guidance.denoiser import Denoiser

Predict = Callable[[Tensor, Tensor], Tensor]
"""An estimate of the noise in x_t at t."""


def move(
    denoiser: Denoiser,
    x: Float[Tensor, "b c h w"],
    epsilon: Float[Tensor, "b c h w"],
    start: Int64[Tensor, "b"],
    stop: Int64[Tensor, "b"],
) -> Float[Tensor, "b c h w"]:
    """A deterministic DDIM step from level `start` to level `stop`, up or down (Song et al. 2020, equation 12, eta = 0)."""
    return denoiser.add_noise(denoiser.clean(x, start, epsilon), epsilon, stop)


@torch.no_grad()
def invert(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"], steps: int, predict: Predict
) -> Float[Tensor, "b c h w"]:
    """Latents x_t from which denoising with the same predictions leads back to x, in `steps` even steps.

    x counts as lying at the lowest noise level, t = 0, where hardly any noise is.
    """
    level = torch.zeros_like(t)
    for k in range(1, steps + 1):
        following = t * k // steps
        x = move(denoiser, x, predict(x, level), level, following)
        level = following
    return x
