"""Score distillation via inversion (Lukoianov et al. 2024): SDS whose noise is the one that the picture came from.

    gradient with respect to the latents x = w(t) (eps_hat(x_t; y, t) - kappa),   kappa = (x_t - alpha x) / sigma

x_t is x inverted with the prompt itself, at a guidance of the opposite sign. `fresh` mixes new noise into kappa, which
keeps its variance: sqrt(1 - fresh^2) kappa + fresh eps.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.schedules import Ramp
from nerf3d.guidance.cfg import PromptsByCamera, estimate, rescale
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.gradient import as_loss
from nerf3d.guidance.inversion import invert
from nerf3d.guidance.timesteps import Timesteps, Weighting, draw_noise, weight


@dataclass(frozen=True)
class SDI:
    """t falls in a straight line over the run, with a little play, from the largest to the smallest."""

    scale: float = 7.5
    inversion_scale: float = -7.5
    inversion_steps: int = 10
    fresh: float = 0.3
    rescale: float = 0.0
    weighting: Weighting = "uniform"
    timesteps: Timesteps = Timesteps(Ramp(0.88, 0.2), Ramp(0.98, 0.3))

    def build(
        self, denoiser: Denoiser, prompts: PromptsByCamera, rng: torch.Generator | None = None
    ) -> "ScoreDistillationInversion":
        return ScoreDistillationInversion(self, denoiser, prompts)


@dataclass(frozen=True)
class ScoreDistillationInversion:
    """A `core.Guidance`. The loss is summed over the latents and averaged over the pictures."""

    config: SDI
    denoiser: Denoiser
    prompts: PromptsByCamera

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        config, denoiser, conditions = self.config, self.denoiser, self.prompts(cameras)
        x = denoiser.encode(images)
        t = config.timesteps.draw(len(x), denoiser.steps, progress, rng, x.device)

        def backwards(x_t: Tensor, t: Tensor) -> Tensor:
            return estimate(denoiser, x_t, t, conditions, config.inversion_scale).guided

        x_t = invert(denoiser, x.detach(), t, config.inversion_steps, backwards)
        kappa = denoiser.schedule.epsilon(x.detach(), "sample", x_t, t)
        noise = (1 - config.fresh**2) ** 0.5 * kappa + config.fresh * draw_noise(x, rng)
        found = estimate(denoiser, denoiser.add_noise(x.detach(), noise, t), t, conditions, config.scale)
        w = weight(config.weighting, denoiser.alpha_bar(t))
        grad = w * (rescale(found.guided, found.text, config.rescale) - noise)
        return {"guidance": as_loss(x, grad / len(x))}
