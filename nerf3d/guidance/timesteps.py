"""Which timesteps a judge looks at as the run goes on, how much each counts, and the noise it adds."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core.schedules import Constant, Schedule

Weighting = Literal["variance", "uniform", "fantasia3d"]


@dataclass(frozen=True)
class Timesteps:
    """`smallest` and `largest` t, in shares of the teacher's timesteps, as schedules over the run's progress.

    random: each picture gets one anywhere between the two. Annealed: `largest: {kind: Ramp, start: 0.98, stop: 0.5}`.
    decreasing: all get largest - (largest - smallest) sqrt(progress) (HiFA, Zhu et al. 2023): the whole first,
    details last.
    """

    smallest: Schedule = Constant(0.02)
    largest: Schedule = Constant(0.98)
    order: Literal["random", "decreasing"] = "random"

    def draw(
        self, count: int, steps: int, progress: float, rng: torch.Generator | None, device: torch.device
    ) -> Int64[Tensor, "b"]:
        """One timestep for each of `count` pictures, of `steps`. Without a generator they are spread evenly.

        >>> Timesteps(Constant(0.0), Constant(1.0)).draw(4, 1000, 0.0, None, torch.device("cpu")).tolist()
        [125, 375, 625, 875]
        """
        low, high = self.smallest(progress), self.largest(progress)
        if self.order == "decreasing":
            share = torch.full((count,), 1 - math.sqrt(progress), device=device)
        elif rng is None:
            share = (torch.arange(count, device=device) + 0.5) / count
        else:
            share = torch.rand(count, generator=rng, device=device)
        return ((low + (high - low) * share) * steps).floor().clamp(0, steps - 1).long()


def weight(weighting: Weighting, alpha_bar: Float[Tensor, "b"]) -> Float[Tensor, "b 1 1 1"]:
    """w(t) of a score-distillation gradient, to be multiplied with it.

    variance: 1 - alpha_bar (DreamFusion, Poole et al. 2022: sigma_t^2).
    uniform: 1.
    fantasia3d: sqrt(alpha_bar) (1 - alpha_bar) (Chen et al. 2023).
    """
    match weighting:
        case "variance":
            w = 1 - alpha_bar
        case "uniform":
            w = torch.ones_like(alpha_bar)
        case "fantasia3d":
            w = alpha_bar.sqrt() * (1 - alpha_bar)
    return w[:, None, None, None]


def draw_noise(like: Float[Tensor, "b c h w"], rng: torch.Generator | None) -> Float[Tensor, "b c h w"]:
    """Standard normal noise; without a generator always the same."""
    rng = torch.Generator(like.device).manual_seed(0) if rng is None else rng
    return torch.randn(like.shape, generator=rng, device=like.device, dtype=like.dtype)
