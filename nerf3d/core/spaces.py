"""Spaces: which part of the world a field lives in, and how that part is laid into the unit cube [0, 1]^3."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.core.rays import Rays


@dataclass(frozen=True)
class Box:
    """An axis-aligned cuboid of the world; outside of it there is nothing."""

    low: Float[Tensor, "3"]
    high: Float[Tensor, "3"]

    @staticmethod
    def cube(half: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> "Box":
        """The cube with the given centre and half its side."""
        middle = torch.tensor(center)
        return Box(middle - half, middle + half)

    @property
    def center(self) -> Float[Tensor, "3"]:
        return 0.5 * (self.low + self.high)

    @property
    def size(self) -> Float[Tensor, "3"]:
        return self.high - self.low

    def to_unit(self, x: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """World positions to [0, 1]^3 (affinely; outside points land outside)."""
        return (x - self.low) / (self.high - self.low)

    def from_unit(self, u: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        return self.low + u * (self.high - self.low)

    def contains(self, x: Float[Tensor, "*b 3"]) -> Bool[Tensor, "*b"]:
        return ((x >= self.low) & (x <= self.high)).all(-1)

    def clip(self, rays: Rays) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Entry and exit distances of the rays, within their own near and far; entry >= exit for a ray that misses.

        The slab method: on each axis the ray is inside between two distances; it is inside the box between the largest
        entry and the smallest exit.
        """
        inverse = 1.0 / torch.where(rays.direction.abs() < 1e-12, 1e-12, rays.direction)
        first, second = (self.low - rays.origin) * inverse, (self.high - rays.origin) * inverse
        enter = torch.maximum(torch.minimum(first, second).amax(-1), rays.near)
        leave = torch.minimum(torch.maximum(first, second).amin(-1), rays.far)
        return enter, torch.maximum(leave, enter)


def contract(x: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Squeeze all of space into the cube [-2, 2]^3; the cube [-1, 1]^3 stays as it is.

    mip-NeRF 360, equation 10, with the maximum norm in place of the Euclidean one (as nerfacto uses it), so that the
    image fills a cube: x where |x| <= 1, else (2 - 1 / |x|) x / |x|.

    >>> contract(torch.tensor([[0.5, 0.0, 0.0], [4.0, 2.0, 0.0]]))
    tensor([[0.5000, 0.0000, 0.0000],
            [1.7500, 0.8750, 0.0000]])
    """
    norm = x.abs().amax(-1, keepdim=True).clamp_min(1.0)
    return (2.0 - 1.0 / norm) * (x / norm)


def uncontract(y: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """The inverse of `contract` for points strictly inside [-2, 2]^3."""
    norm = y.abs().amax(-1, keepdim=True).clamp_min(1.0)
    return y / (norm * (2.0 - norm))


@dataclass(frozen=True)
class Contracted:
    """All of space: the cube `focus` keeps its shape in the middle half, the rest is squeezed around it."""

    focus: Box

    def to_unit(self, x: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        return 0.25 * contract(2.0 * self.focus.to_unit(x) - 1.0) + 0.5

    def from_unit(self, u: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        inside = (4.0 * u - 2.0).clamp(-2.0 + 1e-5, 2.0 - 1e-5)
        return self.focus.from_unit(0.5 * uncontract(inside) + 0.5)

    def contains(self, x: Float[Tensor, "*b 3"]) -> Bool[Tensor, "*b"]:
        return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)

    def clip(self, rays: Rays) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        return rays.near, rays.far


Space = Box | Contracted
