"""GRAF: a radiance field that a shape and an appearance bend, against a critic that sees patches of pictures.

Schwarz et al., "GRAF: Generative Radiance Fields for 3D-Aware Image Synthesis" (2020), sections 3.2 and 3.3. Beside the
encoded position the density's network gets the shape, beside the encoded direction the color's gets the appearance:

    h       = trunk([PE(x), z_s])                          both once more behind the fifth layer, as in NeRF (2020)
    density = softplus(w h + b - 1)
    color   = sigmoid(head([W h, PE(d), z_a]))

A patch are K x K points of a picture, evenly spread over a square of it: of a random size, the scale, and at a random
place, the shift. Rays through them show the field, bilinear interpolation shows the real picture there. With large
squares the critic learns what a whole object looks like, with small ones what details look like, and neither costs more
than K^2 rays.

The critic is DCGAN's (Radford et al. 2016) with spectral normalisation (Miyato et al. 2018) and instance normalisation
in the place of that of batches: convolutions 4 x 4 that halve the patch until it is 4 x 4, and one over all of that.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nerf3d.core import Radiance
from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.common import Region, linear
from nerf3d.fields.encodings import frequency
from nerf3d.models.density_noise import trembling_density
from nerf3d.models.style import COARSEST, check_condition

SLOPE = 0.2
DEVIATION = 0.02
"""Of the critic's weights at the beginning (DCGAN)."""


@dataclass(frozen=True)
class GRAFGeneratorConfig:
    """The shape of the network; the defaults are the paper's."""

    shape: int = 128
    appearance: int = 128
    width: int = 256
    depth: int = 8
    skip: int = 5
    """Position and shape are handed in once more behind this many layers."""
    position_octaves: int = 10
    direction_octaves: int = 4
    color_width: int = 128

    def build(self, box: Space, rng: torch.Generator) -> "GRAFGenerator":
        """A generator of objects inside of `box`. Raises InputError for a network without layers or units."""
        if min(self.shape, self.appearance, self.width, self.depth, self.color_width) < 1:
            raise InputError("GRAF's generator needs shape, appearance, width, depth and color_width to be at least 1")
        return GRAFGenerator(self, box, rng)


class GRAFGenerator(nn.Module):
    """`fields(codes)` are objects; a code is z itself, the shape and then the appearance."""

    pose = 0
    """It is not told from where an object will be seen."""

    def __init__(self, config: GRAFGeneratorConfig, box: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config, self.z = config, config.shape + config.appearance
        self.region = Region(box)
        told = 3 * (2 * config.position_octaves + 1) + config.shape
        inputs = [told] + [config.width] * (config.depth - 1)
        if 0 < config.skip < config.depth:
            inputs[config.skip] += told
        self.trunk = nn.ModuleList([linear(size, config.width, rng) for size in inputs])
        self.density_head = linear(config.width, 1, rng)
        self.bottleneck = linear(config.width, config.width, rng)
        direction = 3 * (2 * config.direction_octaves + 1)
        self.color_layer = linear(config.width + direction + config.appearance, config.color_width, rng)
        self.color_head = linear(config.color_width, 3, rng)

    def codes(self, z: Float[Tensor, "b z"], pose: Float[Tensor, "b p"] | None = None) -> Float[Tensor, "b z"]:
        """z as it is. Raises InputError for codes of another width, and for a pose."""
        check_condition(pose, 0)
        self._check(z)
        return z

    def usual(self) -> Float[Tensor, "z"]:
        """The mean of all codes: 0."""
        return self.color_head.weight.new_zeros(self.z)

    def track(self, codes: Float[Tensor, "b z"]) -> None:
        """Nothing: the mean is known."""

    def fields(
        self, codes: Float[Tensor, "b z"], rng: torch.Generator | None = None, noise: float = 0.0
    ) -> list["ConditionalField"]:
        """The objects of codes. `noise` is that of the raw densities, drawn from `rng` whenever a field is asked.

        Raises InputError for codes of another model.
        """
        self._check(codes)
        parts = codes.split([self.config.shape, self.config.appearance], 1)
        return [ConditionalField(self, s, a, noise, rng) for s, a in zip(*parts, strict=True)]

    def _check(self, codes: Tensor) -> None:
        if codes.shape[1:] != (self.z,):
            given = " x ".join(map(str, codes.shape[1:]))
            raise InputError(f"a code is {given} numbers, but this model takes {self.z}; draw the codes anew")


@dataclass(frozen=True)
class ConditionalField:
    """A `core.Field`: one object, its shape and its appearance."""

    network: GRAFGenerator
    shape: Float[Tensor, "s"]
    appearance: Float[Tensor, "a"]
    noise: float = 0.0
    rng: torch.Generator | None = None

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self._density(self._features(x), x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        network, features = self.network, self._features(x)
        told = [network.bottleneck(features), frequency(d, network.config.direction_octaves)]
        told.append(self.appearance.expand(len(x), -1))
        hidden = F.relu(network.color_layer(torch.cat(told, 1)))
        return Radiance(self._density(features, x), torch.sigmoid(network.color_head(hidden)))

    def _features(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        network = self.network
        encoded = frequency(2.0 * network.region.to_unit(x) - 1.0, network.config.position_octaves)
        told = torch.cat([encoded, self.shape.expand(len(x), -1)], 1)
        hidden = told
        for index, layer in enumerate(network.trunk):
            if index == network.config.skip:
                hidden = torch.cat([hidden, told], 1)
            hidden = F.relu(layer(hidden))
        return hidden

    def _density(self, features: Float[Tensor, "n w"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        raw = self.network.density_head(features)[:, 0]
        return trembling_density(self.network.region, raw, x, self.noise, self.rng)


@dataclass(frozen=True)
class PatchCriticConfig:
    """The defaults judge GRAF's patches of 32 x 32."""

    channels: tuple[int, ...] = (64, 128, 256)
    """Of the features at half a patch's size, a quarter and so on, down to 4 x 4."""
    picture_channels: int = 3

    @property
    def resolution(self) -> int:
        """Rows and columns of a patch.

        >>> PatchCriticConfig().resolution
        32
        """
        return COARSEST * 2 ** len(self.channels)

    @property
    def condition(self) -> int:
        """Numbers in the condition: none."""
        return 0

    def build(self, rng: torch.Generator) -> "PatchCritic":
        """Raises InputError for a network without layers or channels."""
        if not self.channels or min(*self.channels, self.picture_channels) < 1:
            raise InputError("a critic of patches needs every number of channels to be at least 1")
        return PatchCritic(self, rng)


class PatchCritic(nn.Module):
    """`critic(patches)` are scores: positive is real. It is not told any pose."""

    def __init__(self, config: PatchCriticConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        sizes = zip((config.picture_channels, *config.channels), config.channels)
        self.convolutions = nn.ModuleList([_convolution(i, o, rng, halves=True) for i, o in sizes])
        self.last = _convolution(config.channels[-1], 1, rng, halves=False)

    def forward(
        self, patches: Float[Tensor, "b h w c"], condition: Float[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b"]:
        """Scores of patches in [0, 1]. Raises InputError for patches of another size, and for a condition."""
        side = self.config.resolution
        if patches.shape[1:] != (side, side, self.config.picture_channels):
            height, width, channels = patches.shape[1:]
            raise InputError(
                f"the patches are {height} x {width} with {channels} channels, but this critic judges {side} x {side} "
                f"with {self.config.picture_channels}; cut them to that"
            )
        check_condition(condition, 0)
        x = 2 * patches.permute(0, 3, 1, 2) - 1
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.leaky_relu(F.instance_norm(x) if index else x, SLOPE)
        return self.last(x)[:, 0, 0, 0]


def _convolution(inputs: int, outputs: int, rng: torch.Generator, halves: bool) -> nn.Module:
    """4 x 4 with spectral normalisation: to half the size, or of all of 4 x 4 to one number for each channel."""
    stride, padding = (2, 1) if halves else (1, 0)
    layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, COARSEST, stride=stride, padding=padding)
    nn.init.normal_(layer.weight, 0.0, DEVIATION, generator=rng)
    nn.init.zeros_(layer.bias)
    seed = int(torch.randint(2**31, (), generator=rng))
    with torch.random.fork_rng(devices=[]):  # torch draws the first vectors of the power iteration from its own stream
        torch.manual_seed(seed)
        return spectral_norm(layer)


def even_grid(height: int, width: int) -> Float[Tensor, "h w 2"]:
    """The centres (x, y) of so many rows and columns, in units of the picture's size.

    >>> even_grid(1, 2)
    tensor([[[0.2500, 0.5000],
             [0.7500, 0.5000]]])
    """
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack([x, y], -1)


def patch_grids(count: int, side: int, smallest: float, rng: torch.Generator) -> Float[Tensor, "b k k 2"]:
    """Where random patches of `side` x `side` points lie in their pictures, (x, y) in units of the picture's size.

    A patch is its share (the scale, even between `smallest` and 1) of the picture wide and high; where it lies (the shift)
    is even among all places within the picture. Its points are the centres of its rows and columns.
    """
    scale = smallest + (1 - smallest) * torch.rand(count, 1, 1, 1, generator=rng, device=rng.device)
    corner = (1 - scale) * torch.rand(count, 1, 1, 2, generator=rng, device=rng.device)
    return corner + scale * even_grid(side, side).to(rng.device)


def look_up(pictures: Float[Tensor, "b h w c"], grids: Float[Tensor, "b k l 2"]) -> Float[Tensor, "b k l c"]:
    """Pictures at points (x, y) in units of their size, bilinearly between their pixels' centres; the border goes on.

    >>> picture = torch.tensor([0.0, 4.0]).reshape(1, 1, 2, 1)  # two pixels, whose centres are at 1/4 and 3/4
    >>> look_up(picture, torch.tensor([0.25, 0.5, 0.9])[:, None].expand(3, 2).reshape(1, 1, 3, 2)).flatten()
    tensor([0., 2., 4.])
    """
    found = F.grid_sample(
        pictures.permute(0, 3, 1, 2), 2 * grids - 1, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.permute(0, 2, 3, 1)
