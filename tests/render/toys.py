"""Fields whose pictures are known in closed form."""

import torch

from nerf3d.core import Box, Radiance, Rays
from nerf3d.core.numerics import normalize


class Fog:
    """Constant density everywhere."""

    def __init__(self, density: float) -> None:
        self.constant = density

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, 0], self.constant)

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), torch.ones_like(x))


class Shell(torch.nn.Module):
    """A thick shell around the origin, between two radii; its density is a parameter."""

    def __init__(self, inner: float, outer: float, density: float) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer
        self.strength = torch.nn.Parameter(torch.tensor(density))

    def density(self, x: torch.Tensor) -> torch.Tensor:
        radius = x.norm(dim=-1)
        return self.strength * ((radius > self.inner) & (radius < self.outer)).to(x.dtype)

    def forward(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), torch.ones_like(x))


def rays_to_the_middle(count: int, distance: float = 3.0, misses: int = 0) -> Rays:
    """Rays from a sphere towards the origin; the last ones look the other way."""
    origin = distance * normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)))
    direction = -normalize(origin)
    direction[count - misses :] *= -1
    return Rays(origin, direction, torch.zeros(count), torch.full((count,), torch.inf))


BALL_BOX = Box.cube(1.0)
