"""The field of the 2020 NeRF paper: one deep network on frequency-encoded positions and directions.

Slow and small (0.6 M parameters), smooth in every derivative that softplus leaves it: the yardstick for the others.
Source: Mildenhall et al., "NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis", figure 7 and
section 5.1. What differs from the paper, and why, stands at `FrequencyMLP.activation`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.spaces import Space
from nerf3d.fields.common import Region, linear
from nerf3d.fields.encodings import frequency


@dataclass(frozen=True)
class FrequencyMLP:
    """The shape of the network; the defaults are the paper's."""

    width: int = 256
    depth: int = 8
    skip: int = 5
    """The encoded position is handed in once more behind this many layers."""
    position_octaves: int = 10
    direction_octaves: int = 4
    color_width: int = 128
    activation: Literal["softplus", "relu"] = "softplus"
    """What makes densities of the network's raw answers. The paper has relu. With it a run whose answers are negative
    everywhere at the start gets no gradient and stays empty for ever; softplus, which mip-NeRF (2021) put in its place,
    cannot die and has a second derivative."""
    density_shift: float = -1.0
    """Added to the raw answers before the activation: mip-NeRF's -1 begins with thin fog. Use 0 with relu."""

    def build(self, space: Space, rng: torch.Generator) -> "FrequencyMLPField":
        return FrequencyMLPField(self, space, rng)


class FrequencyMLPField(nn.Module):
    """Positions are scaled to [-1, 1] before they are encoded; densities are per reference length of the space."""

    def __init__(self, config: FrequencyMLP, space: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.region = Region(space)
        position = 3 * (2 * config.position_octaves + 1)
        direction = 3 * (2 * config.direction_octaves + 1)
        inputs = [position] + [config.width] * (config.depth - 1)
        if 0 < config.skip < config.depth:
            inputs[config.skip] += position
        self.trunk = nn.ModuleList([linear(size, config.width, rng) for size in inputs])
        self.density_head = linear(config.width, 1, rng)
        self.bottleneck = linear(config.width, config.width, rng)
        self.color_layer = linear(config.width + direction, config.color_width, rng)
        self.color_head = linear(config.color_width, 3, rng)

    def networks(self) -> list[nn.Parameter]:
        """All of it: there is no grid that learns faster."""
        return list(self.parameters())

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self._density(self._features(x), x)

    def forward(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        features = self._features(x)
        directions = frequency(d, self.config.direction_octaves)
        hidden = F.relu(self.color_layer(torch.cat([self.bottleneck(features), directions], -1)))
        return Radiance(self._density(features, x), torch.sigmoid(self.color_head(hidden)))

    def _features(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n width"]:
        encoded = frequency(2.0 * self.region.to_unit(x) - 1.0, self.config.position_octaves)
        hidden = encoded
        for index, layer in enumerate(self.trunk):
            if index == self.config.skip:
                hidden = torch.cat([hidden, encoded], -1)
            hidden = F.relu(layer(hidden))
        return hidden

    def _density(self, features: Float[Tensor, "n width"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        raw = self.density_head(features)[:, 0] + self.config.density_shift
        return self.region.density(F.relu(raw) if self.config.activation == "relu" else F.softplus(raw), x)
