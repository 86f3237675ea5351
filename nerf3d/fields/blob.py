"""A field that begins as a ball: what score distillation grows its objects from."""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Field, Radiance


@dataclass(frozen=True)
class Blob:
    """exp(strength (1 - |x| / radius)), times whatever the field says (Magic3D, Lin et al. 2023, section 4.1: the
    density's logarithm has a bump of 10 (1 - |x| / 0.5) added to it). In world units around the origin.
    """

    strength: float = 5.0
    radius: float = 0.5


class BlobField(nn.Module):
    """A field with a bump of density around the origin. The bump stays; the field inside learns what to add to it."""

    def __init__(self, field: nn.Module, blob: Blob) -> None:
        super().__init__()
        self.field = field
        self.blob = blob

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return cast(Field, self.field).density(x) * self._bump(x)

    def forward(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        inside = self.field(x, d)
        return Radiance(inside.density * self._bump(x), inside.color)

    def _bump(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        distance = x.square().sum(-1).clamp_min(1e-12).sqrt()
        return torch.exp(self.blob.strength * (1 - distance / self.blob.radius))
