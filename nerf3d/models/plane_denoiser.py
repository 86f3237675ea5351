"""Says what of noisy tri-planes is noise: a small U-Net that sees the three planes behind each other, as channels.

Ronneberger et al., "U-Net" (2015), with residual blocks whose features are scaled and shifted by the time and, where there
is one, the condition, as in Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021):

    block(x) = skip(x) + conv(silu((1 + scale) norm(conv(silu(norm(x)))) + shift))

There is no attention: at the coarsest resolution, some six rows, four convolutions reach from end to end. A factor per
channel of the input, which the time decides, is added to the answer: little noise is far above what the network's features
resolve, and so need not pass through them.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.fields.common import linear
from nerf3d.models.style import check_condition

FREQUENCIES = 16
GROUPS = 8


@dataclass(frozen=True)
class PlaneDenoiserConfig:
    """The defaults take 30 ms for a lesson from one object, on one core."""

    channels: tuple[int, ...] = (32, 64, 128)
    """Of the features at the planes' own resolution, at half of it and so on."""
    told: int = 128
    """Numbers that time and condition become."""

    def build(self, features: int, resolution: int, condition: int, rng: torch.Generator) -> "PlaneDenoiser":
        """For planes of so many features and rows. Raises InputError where the planes cannot be halved often enough."""
        halved = 2 ** (len(self.channels) - 1) if self.channels else 1
        if not self.channels or any(c < GROUPS or c % GROUPS for c in self.channels) or self.told < 1:
            raise InputError(
                f"a denoiser needs numbers of channels that are multiples of {GROUPS}, and told at least 1"
            )
        if resolution % halved:
            raise InputError(
                f"planes of {resolution} rows cannot be halved {len(self.channels) - 1} times; make the planes' "
                f"resolution a multiple of {halved} or give the denoiser fewer channels"
            )
        return PlaneDenoiser(self, 3 * features, condition, rng)


class PlaneDenoiser(nn.Module):
    """`denoiser(x_t, t, condition)` is whatever it was taught to answer, in the shape of x_t."""

    def __init__(self, config: PlaneDenoiserConfig, planes: int, condition: int, rng: torch.Generator) -> None:
        super().__init__()
        self.condition = condition
        channels, told = config.channels, config.told
        self.tell = linear(2 * FREQUENCIES + (condition + 1 if condition else 0), told, rng)
        self.first = convolution(planes, channels[0], 3, rng)
        self.pass_on = linear(told, planes, rng)
        finer = list(zip(channels, channels[1:]))
        self.down = nn.ModuleList([_Block(c, c, told, rng) for c in channels])
        self.halve = nn.ModuleList([convolution(fine, coarse, 3, rng, stride=2) for fine, coarse in finer])
        self.middle = _Block(channels[-1], channels[-1], told, rng)
        self.up = nn.ModuleList([_Block(coarse + fine, fine, told, rng) for fine, coarse in finer])
        self.last = convolution(channels[0], planes, 3, rng)
        for layer in (self.pass_on, self.last):
            nn.init.zeros_(layer.weight)

    def forward(
        self, x_t: Float[Tensor, "b p h w"], t: Float[Tensor, "b"], condition: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b p h w"]:
        """At times in [0, 1]; without a condition, or with rows of NaN, for all kinds together."""
        told = F.silu(self.tell(torch.cat([_waves(t), *self._condition(condition, t)], 1)))
        hidden = self.first(x_t)
        kept = []
        for block, halve in zip(self.down, [None, *self.halve]):
            hidden = block(hidden if halve is None else halve(hidden), told)
            kept.append(hidden)
        hidden = self.middle(kept.pop(), told)
        for block in reversed(self.up):
            larger = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = block(torch.cat([larger, kept.pop()], 1), told)
        return self.last(F.silu(_norm(hidden))) + self.pass_on(told)[:, :, None, None] * x_t

    def _condition(self, condition: Tensor | None, t: Tensor) -> list[Tensor]:
        """The condition and whether it is there."""
        if not self.condition:
            check_condition(condition, 0)
            return []
        if condition is None:
            condition = torch.full((len(t), self.condition), torch.nan).to(t)
        check_condition(condition, self.condition)
        there = ~condition.isnan().any(1, keepdim=True)
        return [torch.where(there, condition, 0.0).to(t), there.to(t)]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, told: int, rng: torch.Generator) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, rng)
        self.bend = linear(told, 2 * outputs, rng)
        self.second = convolution(outputs, outputs, 3, rng)
        self.skip = convolution(inputs, outputs, 1, rng) if inputs != outputs else nn.Identity()
        for layer in (self.bend, self.second):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.bend(told)[:, :, None, None].chunk(2, 1)
        hidden = _norm(self.first(F.silu(_norm(x)))) * (1 + scale) + shift
        return self.skip(x) + self.second(F.silu(hidden))


def convolution(inputs: int, outputs: int, kernel: int, rng: torch.Generator, stride: int = 1) -> nn.Conv2d:
    """A convolution with Glorot's uniform weights and zero biases, drawn from `rng` only; borders are padded with 0."""
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel, stride=stride, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _norm(x: Tensor) -> Tensor:
    return F.group_norm(x, GROUPS)


def _waves(t: Float[Tensor, "b"]) -> Float[Tensor, "b w"]:
    angle = t[:, None] * torch.exp(torch.linspace(0, math.log(100.0), FREQUENCIES)).to(t)
    return torch.cat([angle.cos(), angle.sin()], 1)
