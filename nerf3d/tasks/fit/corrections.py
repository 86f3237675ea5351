"""What photographs get wrong, learnt along: exposure and colour balance, and the cameras' poses."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core import Rays


class Appearance(nn.Module):
    """An affine map of colours per photograph: how it was exposed and balanced (Urban Radiance Fields 2022, section 4.1).

    The scene itself is seen without any, and so are photographs that were not trained on.
    """

    def __init__(self, views: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(views, 3, 3))
        self.offset = nn.Parameter(torch.zeros(views, 3))

    def forward(self, color: Float[Tensor, "n 3"], view: Int64[Tensor, "n"]) -> Float[Tensor, "n 3"]:
        return color + (self.matrix[view] @ color[:, :, None])[..., 0] + self.offset[view]

    def penalty(self) -> Float[Tensor, ""]:
        """Without it, all photographs could drift from the scene's own colours together."""
        return self.matrix.square().mean() + self.offset.square().mean()


class Poses(nn.Module):
    """A small motion per camera: a rotation vector and a shift, both in the world; the shift in units of `length`."""

    def __init__(self, views: int, length: float) -> None:
        super().__init__()
        self.motion = nn.Parameter(torch.zeros(views, 6))
        self.length = length

    def forward(self, rays: Rays, view: Int64[Tensor, "n"]) -> Rays:
        """Rays of the moved cameras: x -> exp(w) x about each camera's own centre (Rodrigues' formula)."""
        w, shift = self.motion[view].split(3, -1)
        square = w.square().sum(-1, keepdim=True)
        angle = square.clamp_min(1e-12).sqrt()
        # sin a / a and (1 - cos a) / a^2, by their series where a is small: there the gradient has to be right too. The
        # second as 2 sin^2(a / 2) / a^2: in single precision little is left of 1 - cos a for a hundredth of a degree.
        small = square < 1e-6
        first = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
        second = torch.where(small, 0.5 - square / 24, 0.5 * (torch.sin(0.5 * angle) / (0.5 * angle)).square())
        across = torch.linalg.cross(w, rays.direction)
        direction = rays.direction + first * across + second * torch.linalg.cross(w, across)
        return Rays(rays.origin + shift * self.length, direction, rays.near, rays.far)

    def penalty(self) -> Float[Tensor, ""]:
        return self.motion.square().mean()
