"""pi-GAN's generator: a network of sines whose frequencies and phases are decided by a random code.

Chan et al., "pi-GAN: Periodic Implicit Generative Adversarial Networks for 3D-Aware Image Synthesis" (2021), section
3.1: SIREN (Sitzmann et al. 2020), each layer bent by the code (FiLM, Perez et al. 2018). With x in [-1, 1]^3 and d the
direction of view:

    f, p    = mapping(z)                                   for each layer and each of its units
    phi_i(y) = sin(gamma_i (W_i y + b_i) + p_i),   gamma_i = 15 f_i + 30
    h       = phi_7( ... phi_0(x))
    density = softplus(W_s h + b_s - 1)                    which does not depend on the direction
    color   = sigmoid(W_c phi_8([h, d]) + b_c)

A sine of 30 times its input would be noise if the weights were as large as usual. They begin, n being a layer's inputs,
evenly within +- sqrt(6 / n) / 25, those of the first layer within +- 1 / n; the mapping's last layer with a quarter of
its usual size, so that all objects begin near one frequency. The code of an object is all of its f and p: the space in
which the paper averages (truncation) and inverts.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.common import Region
from nerf3d.models.density_noise import trembling_density
from nerf3d.models.style import check_condition

STEEPNESS, FREQUENCY = 15.0, 30.0
SLOPE = 0.2
CALM = 0.25
"""The share of its usual size that the mapping's last layer begins with."""
KEEP = 0.998
"""Of the running mean of all codes, in a step."""


@dataclass(frozen=True)
class PiGANGeneratorConfig:
    """The shape of the networks; the defaults are the paper's."""

    z: int = 256
    width: int = 256
    depth: int = 8
    """Layers of sines before the density; the color has one more."""
    mapping_width: int = 256
    mapping_layers: int = 3

    def build(self, box: Space, rng: torch.Generator) -> "PiGANGenerator":
        """A generator of objects inside of `box`. Raises InputError for a network without layers or units."""
        if min(self.z, self.width, self.depth, self.mapping_width, self.mapping_layers) < 1:
            raise InputError("pi-GAN's generator needs z, both widths, depth and mapping_layers to be at least 1")
        return PiGANGenerator(self, box, rng)


class PiGANGenerator(nn.Module):
    """`codes(z)` are frequencies and phases, `fields(codes)` are objects."""

    mean: Tensor
    pose = 0
    """It is not told from where an object will be seen."""

    def __init__(self, config: PiGANGeneratorConfig, box: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config, self.z = config, config.z
        self.region = Region(box)
        layers, width = config.depth + 1, config.width
        widths = [config.z] + [config.mapping_width] * config.mapping_layers
        self.mapping = nn.ModuleList([_leaky(i, o, rng) for i, o in zip(widths, widths[1:])])
        self.mapping_head = _leaky(widths[-1], 2 * layers * width, rng)
        with torch.no_grad():
            self.mapping_head.weight.mul_(CALM)
        self.trunk = nn.ModuleList([_uniform(3, width, 1 / 3, rng)])
        self.trunk.extend([_sine(width, width, rng) for _ in range(config.depth - 1)])
        self.density_head = _sine(width, 1, rng)
        self.color_layer = _sine(width + 3, width, rng)
        self.color_head = _sine(width, 3, rng)
        self.register_buffer("mean", torch.zeros(2, layers, width))

    def codes(self, z: Float[Tensor, "b z"], pose: Float[Tensor, "b p"] | None = None) -> Float[Tensor, "b 2 layers w"]:
        """The f and p of random codes. Raises InputError for codes of another width, and for a pose."""
        if z.shape[1] != self.z:
            raise InputError(f"the codes hold {z.shape[1]} numbers, but this model takes {self.z}; draw them anew")
        check_condition(pose, 0)
        hidden = z
        for layer in self.mapping:
            hidden = F.leaky_relu(layer(hidden), SLOPE)
        return self.mapping_head(hidden).reshape(-1, *self.mean.shape)

    def usual(self) -> Float[Tensor, "2 layers w"]:
        """The running mean of the codes that `track` has seen."""
        return self.mean

    @torch.no_grad()
    def track(self, codes: Float[Tensor, "b 2 layers w"]) -> None:
        """Let the running mean follow some codes."""
        self.mean.lerp_(codes.mean(0).to(self.mean), 1 - KEEP)

    def fields(
        self, codes: Float[Tensor, "b two layers w"], rng: torch.Generator | None = None, noise: float = 0.0
    ) -> list["SineField"]:
        """The objects of codes. `noise` is that of the raw densities, drawn from `rng` whenever a field is asked.

        Raises InputError for codes of another model.
        """
        if codes.shape[1:] != self.mean.shape:
            given, taken = (" x ".join(map(str, shape)) for shape in (codes.shape[1:], self.mean.shape))
            raise InputError(
                f"an object's code is {given} numbers, but this generator takes {taken}; use codes that were made with "
                "this model"
            )
        gain = STEEPNESS * codes[:, 0] + FREQUENCY
        return [SineField(self, f, p, noise, rng) for f, p in zip(gain, codes[:, 1], strict=True)]


@dataclass(frozen=True)
class SineField:
    """A `core.Field`: one object, the frequencies and phases of all layers of sines, the color's last."""

    network: PiGANGenerator
    frequencies: Float[Tensor, "layers w"]
    phases: Float[Tensor, "layers w"]
    noise: float = 0.0
    rng: torch.Generator | None = None

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self._density(self._features(x), x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        features = self._features(x)
        seen = self._bent(self.network.color_layer, -1, torch.cat([features, d], 1))
        return Radiance(self._density(features, x), torch.sigmoid(self.network.color_head(seen)))

    def _features(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n w"]:
        hidden = 2.0 * self.network.region.to_unit(x) - 1.0
        for index, layer in enumerate(self.network.trunk):
            hidden = self._bent(layer, index, hidden)
        return hidden

    def _bent(self, layer: nn.Module, index: int, hidden: Float[Tensor, "n i"]) -> Float[Tensor, "n w"]:
        return torch.sin(self.frequencies[index] * layer(hidden) + self.phases[index])

    def _density(self, features: Float[Tensor, "n w"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        raw = self.network.density_head(features)[:, 0]
        return trembling_density(self.network.region, raw, x, self.noise, self.rng)


def _uniform(inputs: int, outputs: int, bound: float, rng: torch.Generator) -> nn.Linear:
    """Weights evenly within +- bound, biases within +- 1 / sqrt(inputs)."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.uniform_(layer.weight, -bound, bound, generator=rng)
    nn.init.uniform_(layer.bias, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=rng)
    return layer


def _sine(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    return _uniform(inputs, outputs, math.sqrt(6 / inputs) / 25, rng)


def _leaky(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    """Weights that keep the mean square through leaky ReLUs: of variance 2 / (1 + slope^2) / inputs (He et al. 2015)."""
    return _uniform(inputs, outputs, math.sqrt(6 / (1 + SLOPE**2) / inputs), rng)
