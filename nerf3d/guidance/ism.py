"""Interval score matching (LucidDreamer, Liang et al. 2023): no fresh noise, but a short step of inversion.

    gradient with respect to the latents x = w(t) (eps_hat(x_t; y, t) - eps_hat(x_s; negative, s)),   s = t - interval

x_s is x inverted with the negative prompt, and x_t one more such step. (The original inverts in strides of one length,
so that a small t needs fewer of them; here their number is fixed, so that a batch may hold several t.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.guidance.cfg import PromptsByCamera, estimate, rescale
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.gradient import as_loss
from nerf3d.guidance.inversion import invert, move
from nerf3d.guidance.timesteps import Timesteps, Weighting, weight


@dataclass(frozen=True)
class ISM:
    """`interval` in shares of the teacher's timesteps; `inversion_steps` lead from the latents to x_s."""

    scale: float = 7.5
    rescale: float = 0.0
    weighting: Weighting = "variance"
    timesteps: Timesteps = Timesteps()
    interval: float = 0.05
    inversion_steps: int = 4

    def build(
        self, denoiser: Denoiser, prompts: PromptsByCamera, rng: torch.Generator | None = None
    ) -> "IntervalScoreMatching":
        return IntervalScoreMatching(self, denoiser, prompts)


@dataclass(frozen=True)
class IntervalScoreMatching:
    """A `core.Guidance`. The loss is summed over the latents and averaged over the pictures."""

    config: ISM
    denoiser: Denoiser
    prompts: PromptsByCamera

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        config, denoiser, conditions = self.config, self.denoiser, self.prompts(cameras)
        x = denoiser.encode(images)
        t = config.timesteps.draw(len(x), denoiser.steps, progress, rng, x.device)
        s = (t - round(config.interval * denoiser.steps)).clamp_min(0)

        @torch.no_grad()
        def without(x_s: Tensor, s: Tensor) -> Tensor:
            return denoiser.predict(x_s, s, conditions.negative)

        x_s = invert(denoiser, x.detach(), s, config.inversion_steps, without)
        before = without(x_s, s)
        found = estimate(denoiser, move(denoiser, x_s, before, s, t), t, conditions, config.scale)
        w = weight(config.weighting, denoiser.alpha_bar(t))
        grad = w * (rescale(found.guided, found.text, config.rescale) - before)
        return {"guidance": as_loss(x, grad / len(x))}
