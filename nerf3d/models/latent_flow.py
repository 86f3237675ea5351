"""What codes are like: a rectified flow from noise to the codes of a collection's objects.

Liu et al., "Flow Straight and Fast" (2022). With x a code (each number standardised), e noise and s in [0, 1]:

    x_s  = (1 - s) x + s e
    loss = |u(x_s, s) - (e - x)|^2                                      (equation 1)
    dx_s = u(x_s, s) ds, followed from s = 1 to 0, makes a code of noise

The network is a stack of residual layers whose activations are scaled and shifted by the time and, where there is one, the
condition (a class, a caption's embedding). For guidance without a classifier (Ho and Salimans 2022) conditions are left
out in some of the lessons: u = u(no condition) + scale (u(condition) - u(no condition)).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.fields.common import linear
from nerf3d.models.classifier_free import guided, sometimes
from nerf3d.models.style import check_condition

FREQUENCIES = 16
STEPS = 40


class LatentFlow(nn.Module):
    """`learn_scale` comes first; `loss` teaches; `sample` draws codes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, code: int, width: int, blocks: int, condition: int, rng: torch.Generator) -> None:
        """For codes of so many numbers; `condition` numbers, 0 for none."""
        super().__init__()
        self.code, self.condition = code, condition
        self.register_buffer("mean", torch.zeros(code))
        self.register_buffer("deviation", torch.ones(code))
        self.told = linear(2 * FREQUENCIES + (condition + 1 if condition else 0), width, rng)
        self.first = linear(code, width, rng)
        self.blocks = nn.ModuleList([_Block(width, rng) for _ in range(blocks)])
        self.last = linear(width, code, rng)
        nn.init.zeros_(self.last.weight)

    @torch.no_grad()
    def learn_scale(self, codes: Float[Tensor, "n c"]) -> None:
        """Take over the mean and the spread of each number of the codes that there are."""
        self.mean.copy_(codes.mean(0))
        self.deviation.copy_(codes.std(0, correction=0).clamp_min(1e-4))

    def forward(
        self, x_s: Float[Tensor, "b c"], s: Float[Tensor, "b"], condition: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c"]:
        """The velocity e - x of standardised codes; without a condition, or with rows of NaN, for all kinds together."""
        told = F.silu(self.told(torch.cat([_waves(s), *self._condition(condition, len(s))], 1)))
        hidden = self.first(x_s)
        for block in self.blocks:
            hidden = block(hidden, told)
        return self.last(F.silu(hidden))

    def loss(
        self, codes: Float[Tensor, "b c"], condition: Float[Tensor, "b k"] | None, rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean square of the velocity's error, at random times."""
        x = (codes - self.mean) / self.deviation
        e = torch.randn(x.shape, generator=rng, device=rng.device).to(x)
        s = torch.rand(len(x), generator=rng, device=rng.device).to(x)
        condition = sometimes(condition, rng)
        x_s = (1 - s)[:, None] * x + s[:, None] * e
        return (self(x_s, s, condition) - (e - x)).square().mean()

    @torch.no_grad()
    def sample(
        self,
        count: int,
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        steps: int = STEPS,
    ) -> Float[Tensor, "b c"]:
        """So many codes, by Heun's method."""
        x = torch.randn(count, self.code, generator=rng, device=rng.device).to(self.mean)
        times = torch.linspace(1, 0, steps + 1).tolist()
        for s, after in zip(times, times[1:]):
            u = self._guided(x, s, condition, scale)
            ahead = x + (after - s) * u
            if after > 0:  # the last step ends where nobody has taught a velocity
                u = 0.5 * (u + self._guided(ahead, after, condition, scale))
            x = x + (after - s) * u
        return self.mean + self.deviation * x

    def _guided(self, x: Tensor, s: float, condition: Tensor | None, scale: float) -> Tensor:
        time = torch.full((len(x),), s).to(x)
        return guided(lambda told: self(x, time, told), condition, scale)

    def _condition(self, condition: Tensor | None, count: int) -> list[Tensor]:
        """The condition and whether it is there."""
        if not self.condition:
            check_condition(condition, 0)
            return []
        if condition is None:
            condition = torch.full((count, self.condition), torch.nan).to(self.mean)
        check_condition(condition, self.condition)
        there = ~condition.isnan().any(1, keepdim=True)
        return [torch.where(there, condition, 0.0), there.to(condition)]


class _Block(nn.Module):
    def __init__(self, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.bend = linear(width, 3 * width, rng)
        self.up = linear(width, 2 * width, rng)
        self.down = linear(2 * width, width, rng)
        nn.init.zeros_(self.bend.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift, gate = self.bend(told).chunk(3, 1)
        return x + (1 + gate) * self.down(F.silu(self.up(self.norm(x) * (1 + scale) + shift)))


def _waves(s: Float[Tensor, "b"]) -> Float[Tensor, "b w"]:
    angle = s[:, None] * torch.exp(torch.linspace(0, math.log(100.0), FREQUENCIES)).to(s)
    return torch.cat([angle.cos(), angle.sin()], 1)
