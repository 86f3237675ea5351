"""Score distillation sampling (DreamFusion, Poole et al. 2022, equation 3).

    gradient with respect to the latents x = w(t) (eps_hat(x_t; y, t) - eps)

The teacher's own Jacobian is left out. In MVDream's reconstruction form (Shi et al. 2023) the latents are
drawn to the estimate of the clean ones, |x - x_hat|^2 / 2, which is the same with w = sigma / alpha; its rescaling then
works on the estimates of x.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.guidance.cfg import PromptsByCamera, estimate, rescale
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.gradient import as_loss
from nerf3d.guidance.timesteps import Timesteps, Weighting, draw_noise, weight


@dataclass(frozen=True)
class SDS:
    """`scale` is that of classifier-free guidance, `rescale` Lin et al.'s phi. The weighting is for the epsilon form."""

    scale: float = 100.0
    rescale: float = 0.0
    weighting: Weighting = "variance"
    timesteps: Timesteps = Timesteps()
    form: Literal["epsilon", "reconstruction"] = "epsilon"

    def build(
        self, denoiser: Denoiser, prompts: PromptsByCamera, rng: torch.Generator | None = None
    ) -> "ScoreDistillation":
        return ScoreDistillation(self, denoiser, prompts)


@dataclass(frozen=True)
class ScoreDistillation:
    """A `core.Guidance`. The loss is summed over the latents and averaged over the pictures."""

    config: SDS
    denoiser: Denoiser
    prompts: PromptsByCamera

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        config, denoiser = self.config, self.denoiser
        x = denoiser.encode(images)
        t = config.timesteps.draw(len(x), denoiser.steps, progress, rng, x.device)
        noise = draw_noise(x, rng)
        x_t = denoiser.add_noise(x.detach(), noise, t)
        found = estimate(denoiser, x_t, t, self.prompts(cameras), config.scale)
        if config.form == "reconstruction":
            guided, text = (denoiser.clean(x_t, t, epsilon) for epsilon in (found.guided, found.text))
            grad = x - rescale(guided, text, config.rescale)
        else:
            w = weight(config.weighting, denoiser.alpha_bar(t))
            grad = w * (rescale(found.guided, found.text, config.rescale) - noise)
        return {"guidance": as_loss(x, grad / len(x))}
