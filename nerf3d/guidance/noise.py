"""How a teacher mixes pictures with noise, and what its predictions mean: diffusion and flow matching in one language.

A noisy picture is x_t = alpha x + sigma eps, with one alpha and one sigma for each of the teacher's training timesteps t.

    diffusion (variance preserving)     alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar)
    flow matching (rectified flow)      alpha = 1 - s, sigma = s

What a network predicts becomes an estimate of eps, whatever it is trained for:

    epsilon         eps
    v_prediction    v = alpha eps - sigma x         eps = (alpha v + sigma x_t) / (alpha^2 + sigma^2)
    sample          x                               eps = (x_t - alpha x) / sigma
    flow            u = eps - x                     eps = (x_t + alpha u) / (alpha + sigma)

The third column follows from the definition of x_t; nothing in it needs the schedule to preserve variance. A score
residual in eps and one in u differ by a factor alone: eps_1 - eps_2 = (1 - s) (u_1 - u_2) for a flow.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]

LEAST_SIGNAL = 1e-3
"""At the last timestep of some schedules no picture is left in x_t; dividing by alpha must stay finite."""


@dataclass(frozen=True)
class NoiseSchedule:
    """`time` is what the network is told in place of t, counted from 0: the same number, or 1000 s for a flow."""

    alpha: Float[Tensor, "t"]
    sigma: Float[Tensor, "t"]
    time: Float[Tensor, "t"]

    @staticmethod
    def diffusion(alpha_bar: Float[Tensor, "t"]) -> "NoiseSchedule":
        """From the cumulative products of 1 - beta (Ho et al. 2020, equation 4)."""
        time = torch.arange(len(alpha_bar), dtype=torch.float32, device=alpha_bar.device)
        return NoiseSchedule(alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), time)

    @staticmethod
    def flow(s: Float[Tensor, "t"], time: Float[Tensor, "t"]) -> "NoiseSchedule":
        """From the shares of noise in rising order (Liu et al. 2022; Esser et al. 2024, equation 13)."""
        return NoiseSchedule(1 - s, s, time)

    @property
    def steps(self) -> int:
        """The number of timesteps that the teacher was trained with."""
        return len(self.alpha)

    def alpha_bar(self, t: Int64[Tensor, "b"]) -> Float[Tensor, "b"]:
        """The picture's share of the variance in x_t, were the picture's own 1: alpha^2 / (alpha^2 + sigma^2).

        For diffusion this is the cumulative product that goes by that name; for a flow its value at equal
        signal-to-noise ratio, by which the weights of score distillation keep their meaning.
        """
        return self.alpha[t].square() / (self.alpha[t].square() + self.sigma[t].square())

    def add_noise(
        self, x: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"]
    ) -> Float[Tensor, "b c h w"]:
        return _wide(self.alpha[t]) * x + _wide(self.sigma[t]) * eps

    def clean(
        self, x_t: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"]
    ) -> Float[Tensor, "b c h w"]:
        """The estimate of x that an estimate of eps amounts to: (x_t - sigma eps) / alpha."""
        return (x_t - _wide(self.sigma[t]) * eps) / _wide(self.alpha[t]).clamp_min(LEAST_SIGNAL)

    def epsilon(
        self,
        predicted: Float[Tensor, "b c h w"],
        kind: Prediction,
        x_t: Float[Tensor, "b c h w"],
        t: Int64[Tensor, "b"],
    ) -> Float[Tensor, "b c h w"]:
        """What a network of that kind predicted for x_t, as an estimate of eps.

        >>> levels = NoiseSchedule.diffusion(torch.tensor([0.64]))
        >>> one = torch.ones(1, 1, 1, 1)
        >>> levels.epsilon(one, "v_prediction", 2 * one, torch.tensor([0])).item()  # 0.8 * 1 + 0.6 * 2
        2.0
        """
        alpha, sigma = _wide(self.alpha[t]), _wide(self.sigma[t])
        match kind:
            case "epsilon":
                return predicted
            case "v_prediction":
                return (alpha * predicted + sigma * x_t) / (alpha.square() + sigma.square())
            case "sample":
                return (x_t - alpha * predicted) / sigma
            case "flow":
                return (x_t + alpha * predicted) / (alpha + sigma)

    def to(self, device: torch.device | str) -> "NoiseSchedule":
        return NoiseSchedule(self.alpha.to(device), self.sigma.to(device), self.time.to(device))


def _wide(value: Float[Tensor, "b"]) -> Float[Tensor, "b 1 1 1"]:
    return value[:, None, None, None]
