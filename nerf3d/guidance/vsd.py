"""Variational score distillation (ProlificDreamer, Wang et al. 2023, equation 9), with one particle.

    gradient with respect to the latents x = w(t) (eps_teacher(x_t; y, t) - eps_student(x_t; y, t))

The student is the teacher with a low-rank adaptation that learns, alongside, how the scene's own renderings are
distributed. It is a player of its own: who trains a scene with this judge yields two updates.

    yield Update("scene", guidance(images, cameras, progress, rng))
    if isinstance(guidance, Learner):
        yield Update("student", guidance.study(images, cameras, progress, rng))

The student reads the same prompts by view as the teacher. (The original also tells it the camera's matrix.)
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core import Cameras, Group
from nerf3d.core.schedules import Constant, Ramp
from nerf3d.errors import InputError
from nerf3d.guidance.cfg import PromptsByCamera, estimate, rescale
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.gradient import as_loss
from nerf3d.guidance.lora import LoRA
from nerf3d.guidance.text import Text
from nerf3d.guidance.timesteps import Timesteps, Weighting, draw_noise, weight


@runtime_checkable
class Learner(Protocol):
    """A guidance with a student: its parameters belong among the task's players, its state into the checkpoint."""

    @property
    def student(self) -> nn.Module: ...

    def players(self) -> dict[str, list[Group]]: ...

    def study(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class VSD:
    """`student_rate` is the student's learning rate, `rank` that of its adaptation."""

    scale: float = 7.5
    rescale: float = 0.0
    weighting: Weighting = "variance"
    timesteps: Timesteps = Timesteps(largest=Ramp(0.98, 0.5, 0.0, 0.2))
    rank: int = 4
    student_rate: float = 1e-4

    def build(
        self, denoiser: Denoiser, prompts: PromptsByCamera, rng: torch.Generator | None = None
    ) -> "VariationalScoreDistillation":
        """Raises InputError for a teacher whose network cannot be adapted: one that is moved to and from the CPU."""
        module = getattr(denoiser.network, "module", None)
        if not isinstance(module, nn.Module):
            raise InputError(
                "VSD trains a student inside the teacher, which CPU offload takes away; switch one of them off"
            )
        return VariationalScoreDistillation(self, denoiser, prompts, Student(denoiser, LoRA(module, self.rank, rng)))


class Student(nn.Module):
    """The adapted teacher, as an estimate of the noise in renderings of the scene."""

    def __init__(self, denoiser: Denoiser, adaptation: LoRA) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.adaptation = adaptation

    def forward(self, x_t: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"], text: Text) -> Float[Tensor, "b c h w"]:
        with self.adaptation.applied():
            return self.denoiser.predict(x_t, t, text)


@dataclass(frozen=True)
class VariationalScoreDistillation:
    """A `core.Guidance` and a `Learner`. `student(x_t, t, text)` may be any module that estimates noise."""

    config: VSD
    denoiser: Denoiser
    prompts: PromptsByCamera
    student: nn.Module

    def players(self) -> dict[str, list[Group]]:
        return {"student": [Group(list(self.student.parameters()), Constant(self.config.student_rate))]}

    def __call__(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        """The scene's loss, summed over the latents and averaged over the pictures."""
        config, denoiser, conditions = self.config, self.denoiser, self.prompts(cameras)
        x = denoiser.encode(images)
        t = config.timesteps.draw(len(x), denoiser.steps, progress, rng, x.device)
        x_t = denoiser.add_noise(x.detach(), draw_noise(x, rng), t)
        found = estimate(denoiser, x_t, t, conditions, config.scale)
        with torch.no_grad():
            own = self.student(x_t, t, conditions.text)
        w = weight(config.weighting, denoiser.alpha_bar(t))
        grad = w * (rescale(found.guided, found.text, config.rescale) - own)
        return {"guidance": as_loss(x, grad / len(x))}

    def study(
        self, images: Float[Tensor, "b h w 3"], cameras: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        """The student's loss on the scene's renderings, |eps_student(x_t) - eps|^2 / 2 over all timesteps.

        Summed over the latents, so that its gradients do not vanish in half precision.
        """
        with torch.no_grad():
            x = self.denoiser.encode(images)
        everywhere = Timesteps(Constant(0.0), Constant(1.0))
        t = everywhere.draw(len(x), self.denoiser.steps, progress, rng, x.device)
        noise = draw_noise(x, rng)
        own = self.student(self.denoiser.add_noise(x, noise, t), t, self.prompts(cameras).text)
        return {"student": 0.5 * (own - noise).square().sum() / len(x)}
