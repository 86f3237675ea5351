"""instant-ngp's field: a hash grid of features, a small network for density, another for color.

Müller et al. 2022, section 5.4: density = exp(h_0) with h the 16 outputs of the first network; color = sigmoid of the
second network at (h, spherical harmonics of the direction). No biases anywhere.
"""

from dataclasses import dataclass
from dataclasses import field as default

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.numerics import truncated_exp
from nerf3d.core.spaces import Space
from nerf3d.fields.common import Region, network
from nerf3d.fields.encodings import SPHERICAL_HARMONICS, spherical_harmonics
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.mlp import mlp


@dataclass(frozen=True)
class HashGrid:
    """The grid's layout, the networks' width and the number of hidden layers of each.

    `view_dependent` colors change with the direction from which they are seen; others are the surface's own.
    """

    layout: GridLayout = default(default_factory=GridLayout)
    width: int = 64
    density_layers: int = 1
    color_layers: int = 2
    geometry_features: int = 16
    view_dependent: bool = True

    def build(self, space: Space, rng: torch.Generator) -> "HashGridField":
        return HashGridField(self, space, rng)


class HashGridField(nn.Module):
    def __init__(self, config: HashGrid, space: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.layout = config.layout
        self.region = Region(space)
        table = torch.empty(self.layout.entries, self.layout.features)
        self.table = nn.Parameter(table.uniform_(-1e-4, 1e-4, generator=rng))
        features, width = config.geometry_features, config.width
        self.density_network = network([self.layout.width, *[width] * config.density_layers, features], rng)
        self.view_dependent = config.view_dependent
        color_inputs = features + (SPHERICAL_HARMONICS if config.view_dependent else 0)
        self.color_network = network([color_inputs, *[width] * config.color_layers, 3], rng)

    def networks(self) -> list[nn.Parameter]:
        """What learns more slowly than the grid."""
        return [*self.density_network, *self.color_network]

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self._density(x, self._geometry(x))

    def forward(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        h = self._geometry(x)
        # Transposed twice: the kernels keep features in rows, and joining rows copies nothing point by point.
        inputs = torch.cat([h.t(), spherical_harmonics(d).t()]).t() if self.view_dependent else h
        return Radiance(self._density(x, h), torch.sigmoid(mlp(inputs, list(self.color_network))))

    def _geometry(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n features"]:
        return mlp(hash_encode(self.region.to_unit(x), self.table, self.layout), list(self.density_network))

    def _density(self, x: Float[Tensor, "n 3"], h: Float[Tensor, "n features"]) -> Float[Tensor, "n"]:
        return self.region.density(truncated_exp(h[:, 0]), x)
