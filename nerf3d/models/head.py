"""A head that speaks: a hash grid whose regions each hear as much of the sound as they need.

ER-NeRF (Li et al., 2023, sections 3.2 and 3.3) on one 3D hash grid in the place of its three planes. With the features
f(x) of a point, a small network says how much of each channel of the sound's code arrives there, and how much of the eyes:

    a(x), e(x) = sigmoid(attention network(f))                           in 0 ... 1
    h          = density network([f, a * sound, e * eye]),               density = exp(h_0)
    color      = sigmoid(color network([h, spherical harmonics of d, appearance]))

The sound moves what is there only through a(x): where that is 0, nothing is heard. The products with a * sound are taken
once per frame in the first layer's weights, not at every point.
"""

from dataclasses import dataclass
from dataclasses import field as default

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.numerics import truncated_exp
from nerf3d.core.spaces import Box
from nerf3d.fields.common import Region, network
from nerf3d.fields.encodings import SPHERICAL_HARMONICS, spherical_harmonics
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.mlp import mlp
from nerf3d.models.condition import Appearance, Condition
from nerf3d.models.folding import fold_constant, fold_product
from nerf3d.models.sound_encoder import SoundEncoder


@dataclass(frozen=True)
class HeadConfig:
    """The grid's layout, the numbers in the sound's code and in an appearance, the networks' widths and hidden layers."""

    layout: GridLayout = default(default_factory=lambda: GridLayout(8, 4, 16, 16, 256))
    code: int = 32
    mouth: int = 0
    """Numbers that say how the mouth stands (its opening and width: 2); with 0 the sound's code alone moves it."""
    appearance: int = 4
    width: int = 64
    attention_width: int = 32
    density_layers: int = 2
    color_layers: int = 1
    geometry_features: int = 16

    def build(self, box: Box, channels: int, frames: int, rng: torch.Generator) -> "Head":
        """A head inside of `box`, for sound of `channels` numbers per step, that is learnt from so many frames."""
        return Head(self, box, channels, frames, rng)


class Head(nn.Module):
    """`head(condition)` is a field. `sound_encoder` and `appearance` make what goes into a condition."""

    def __init__(self, config: HeadConfig, box: Box, channels: int, frames: int, rng: torch.Generator) -> None:
        super().__init__()
        self.layout = config.layout
        self.region = Region(box)
        self.sound_encoder = SoundEncoder(channels, config.code, rng)
        self.appearance = Appearance(frames, config.appearance)
        table = torch.empty(self.layout.entries, self.layout.features)
        self.table = nn.Parameter(table.uniform_(-1e-4, 1e-4, generator=rng))
        conditions, width, features = config.code + config.mouth + 1, config.width, config.geometry_features
        self.attention_network = network([self.layout.width, config.attention_width, conditions], rng)
        inputs = self.layout.width + conditions
        self.density_network = network([inputs, *[width] * config.density_layers, features], rng)
        inputs = features + SPHERICAL_HARMONICS + config.appearance
        self.color_network = network([inputs, *[width] * config.color_layers, 3], rng)

    def networks(self) -> list[nn.Parameter]:
        """What learns more slowly than the grid, the sound encoder not counted."""
        return [*self.attention_network, *self.density_network, *self.color_network, *self.appearance.parameters()]

    def forward(self, condition: Condition) -> "TalkingHead":
        return TalkingHead(self, condition)

    def features(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        return hash_encode(self.region.to_unit(x), self.table, self.layout)

    def attention(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n c"]:
        """How much of each channel of the sound, and in the last column of the eyes, arrives at points: 0 to 1."""
        return torch.sigmoid(mlp(features, list(self.attention_network)))

    def geometry(self, x: Float[Tensor, "n 3"], condition: Condition) -> Float[Tensor, "n h"]:
        features = self.features(x)
        # Transposed twice, here and below: the kernels keep features in rows, and joining rows copies nothing by points.
        inputs = torch.cat([features.t(), self.attention(features).t()]).t()
        first, *rest = self.density_network
        return mlp(
            inputs, [fold_product(first, torch.cat([condition.sound, condition.mouth, condition.eye[None]])), *rest]
        )

    def density(self, x: Float[Tensor, "n 3"], h: Float[Tensor, "n h"]) -> Float[Tensor, "n"]:
        return self.region.density(truncated_exp(h[:, 0]), x)

    def color(self, h: Float[Tensor, "n h"], d: Float[Tensor, "n 3"], condition: Condition) -> Float[Tensor, "n 3"]:
        inputs = torch.cat([h.t(), spherical_harmonics(d).t(), h.new_ones(1, len(h))]).t()
        first, *rest = self.color_network
        return torch.sigmoid(mlp(inputs, [fold_constant(first, condition.appearance), *rest]))


@dataclass(frozen=True)
class Attention:
    """How much of each channel of the sound (the mouth's numbers among them) and of the eyes' opening arrives, 0 to 1."""

    sound: Float[Tensor, "n k"]
    eye: Float[Tensor, "n"]


@dataclass(frozen=True)
class TalkingHead:
    """A `core.Field`: a head at one moment."""

    head: Head
    condition: Condition

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.head.density(x, self.head.geometry(x, self.condition))

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        h = self.head.geometry(x, self.condition)
        return Radiance(self.head.density(x, h), self.head.color(h, d, self.condition))

    def attention(self, x: Float[Tensor, "n 3"]) -> Attention:
        """What a regulariser keeps small away from the mouth (the sound's) and the eyes; the same at every moment."""
        attention = self.head.attention(self.head.features(x))
        return Attention(attention[:, :-1], attention[:, -1])
