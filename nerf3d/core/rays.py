"""Rays: where a picture's light comes from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """A batch of rays. `direction` has unit length, so that distances along it are world distances.

    `near` and `far` bound the part that may be sampled; samplers narrow it further to where their field lives.
    """

    origin: Float[Tensor, "*batch 3"]
    direction: Float[Tensor, "*batch 3"]
    near: Float[Tensor, "*batch"]
    far: Float[Tensor, "*batch"]

    def __len__(self) -> int:
        return self.near.shape[0]

    def at(self, distance: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
        """The points at the given distances: o + t d."""
        return self.origin + distance[..., None] * self.direction

    def flatten(self) -> "Rays":
        """The same rays in one batch dimension."""
        return Rays(
            self.origin.reshape(-1, 3), self.direction.reshape(-1, 3), self.near.reshape(-1), self.far.reshape(-1)
        )

    def to(self, device: torch.device | str) -> "Rays":
        return Rays(self.origin.to(device), self.direction.to(device), self.near.to(device), self.far.to(device))

    def __getitem__(self, index) -> "Rays":
        """Rays at an index, slice or mask of the batch dimensions."""
        return Rays(self.origin[index], self.direction[index], self.near[index], self.far[index])
