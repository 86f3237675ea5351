"""AD-NeRF's head: the deep network of the 2020 NeRF paper, with the code of the sound beside every position.

Guo et al., "AD-NeRF: Audio Driven Neural Radiance Fields for Talking Head Synthesis", 2021, sections 3.2 and 3.3, and the
sizes of the released code: 8 layers of 256, [PE(x), sound] in front and once more behind the fifth (skip 4), PE with 10
and 4 octaves, three layers of 128 for the color. It knows no eyes and no appearance: both are ignored in a condition.

As in `fields.mlp_field`, densities come from softplus(raw - 1), which cannot die, where the paper has relu.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.spaces import Box
from nerf3d.fields.common import Region, linear
from nerf3d.fields.encodings import frequency
from nerf3d.models.condition import Condition
from nerf3d.models.sound_encoder import SoundEncoder

DENSITY_SHIFT = -1.0


@dataclass(frozen=True)
class ADNeRFConfig:
    """The shape of the network; the defaults are those of the released code."""

    code: int = 64
    width: int = 256
    depth: int = 8
    skip: int = 4
    """Position and sound are handed in once more behind the layer with this number, counted from 0."""
    position_octaves: int = 10
    direction_octaves: int = 4
    color_width: int = 128
    color_layers: int = 3

    def build(self, box: Box, channels: int, frames: int, rng: torch.Generator) -> "ADNeRF":
        """A head inside of `box`, for sound of `channels` numbers per step; how many frames there are does not matter."""
        return ADNeRF(self, box, channels, rng)


class ADNeRF(nn.Module):
    """`head(condition)` is a field. `sound_encoder` makes the code."""

    def __init__(self, config: ADNeRFConfig, box: Box, channels: int, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.region = Region(box)
        self.sound_encoder = SoundEncoder(channels, config.code, rng)
        position = 3 * (2 * config.position_octaves + 1)
        direction = 3 * (2 * config.direction_octaves + 1)
        again = {0, config.skip + 1}
        inputs = [
            (config.width if i else 0) + (position + config.code if i in again else 0) for i in range(config.depth)
        ]
        self.trunk = nn.ModuleList([linear(size, config.width, rng) for size in inputs])
        self.density_layer = linear(config.width, 1, rng)
        self.bottleneck = linear(config.width, config.width, rng)
        widths = [config.width + direction] + [config.color_width] * config.color_layers
        self.color_layers = nn.ModuleList([linear(i, o, rng) for i, o in zip(widths, widths[1:])])
        self.color_layer = linear(config.color_width, 3, rng)

    def networks(self) -> list[nn.Parameter]:
        """All but the sound encoder: there is no grid that learns faster."""
        layers = [self.trunk, self.density_layer, self.bottleneck, self.color_layers, self.color_layer]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def appearance(self, frame: int | None = None) -> Float[Tensor, "0"]:
        """No numbers, for every frame."""
        return self.region.low.new_zeros(0)

    def forward(self, condition: Condition) -> "ADNeRFHead":
        return ADNeRFHead(self, condition.sound)

    def geometry(self, x: Float[Tensor, "n 3"], sound: Float[Tensor, "k"]) -> Float[Tensor, "n h"]:
        encoded = frequency(2.0 * self.region.to_unit(x) - 1.0, self.config.position_octaves)
        hidden = encoded[:, :0]
        for index, layer in enumerate(self.trunk):
            assert isinstance(layer, nn.Linear)
            if index in (0, self.config.skip + 1):  # the sound is the same at all points: it only shifts the biases
                here, heard = layer.weight.split([layer.in_features - len(sound), len(sound)], 1)
                hidden = F.relu(F.linear(torch.cat([hidden, encoded], -1), here, layer.bias + heard @ sound))
            else:
                hidden = F.relu(layer(hidden))
        return hidden

    def density(self, x: Float[Tensor, "n 3"], hidden: Float[Tensor, "n h"]) -> Float[Tensor, "n"]:
        return self.region.density(F.softplus(self.density_layer(hidden)[:, 0] + DENSITY_SHIFT), x)

    def color(self, hidden: Float[Tensor, "n h"], d: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        hidden = torch.cat([self.bottleneck(hidden), frequency(d, self.config.direction_octaves)], -1)
        for layer in self.color_layers:
            hidden = F.relu(layer(hidden))
        return torch.sigmoid(self.color_layer(hidden))


@dataclass(frozen=True)
class ADNeRFHead:
    """A `core.Field`: the head at one moment."""

    head: ADNeRF
    sound: Float[Tensor, "k"]

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.head.density(x, self.head.geometry(x, self.sound))

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        hidden = self.head.geometry(x, self.sound)
        return Radiance(self.head.density(x, hidden), self.head.color(hidden, d))
