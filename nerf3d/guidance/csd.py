"""Classifier score distillation (Yu et al. 2023): the guidance term of SDS alone, without the noise residual.

    gradient with respect to the latents x = w(t) (eps_hat(x_t; y, t) - eps_hat(x_t; negative, t))

It has no scale of classifier-free guidance, since that would be a factor of the whole.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.guidance.cfg import PromptsByCamera, estimate
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.gradient import as_loss
from nerf3d.guidance.timesteps import Timesteps, Weighting, draw_noise, weight


@dataclass(frozen=True)
class CSD:
    weighting: Weighting = "variance"
    timesteps: Timesteps = Timesteps()

    def build(
        self, denoiser: Denoiser, prompts: PromptsByCamera, rng: torch.Generator | None = None
    ) -> "ClassifierScoreDistillation":
        return ClassifierScoreDistillation(self, denoiser, prompts)


@dataclass(frozen=True)
class ClassifierScoreDistillation:
    """A `core.Guidance`. The loss is summed over the latents and averaged over the pictures."""

    config: CSD
    denoiser: Denoiser
    prompts: PromptsByCamera

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        config, denoiser = self.config, self.denoiser
        x = denoiser.encode(images)
        t = config.timesteps.draw(len(x), denoiser.steps, progress, rng, x.device)
        x_t = denoiser.add_noise(x.detach(), draw_noise(x, rng), t)
        found = estimate(denoiser, x_t, t, self.prompts(cameras), scale=1.0)
        # At scale 1 `guided` is the estimate for the prompt, with Perp-Neg's push where that is on.
        grad = weight(config.weighting, denoiser.alpha_bar(t)) * (found.guided - found.negative)
        return {"guidance": as_loss(x, grad / len(x))}
