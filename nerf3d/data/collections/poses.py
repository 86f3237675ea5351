"""Where cameras may have stood: a prior that poses are drawn from where pictures come without any."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.paths import standing
from nerf3d.errors import InputError

GOLDEN = 0.5 * (5**0.5 - 1)


@dataclass(frozen=True)
class EvenElevation:
    """Even on the sphere between two elevations in degrees: the sine is uniform (Archimedes)."""

    low: float = 0.0
    high: float = 45.0

    def at(self, share: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The elevations below which these shares of the cameras stand."""
        low, high = torch.sin(torch.deg2rad(torch.tensor([self.low, self.high])))
        return torch.rad2deg(torch.asin(low + (high - low) * share))


@dataclass(frozen=True)
class BellElevation:
    """Normally distributed, in degrees, as the pitch of heads is (pi-GAN, EG3D)."""

    mean: float = 0.0
    deviation: float = 10.0

    def at(self, share: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The elevations below which these shares of the cameras stand; none beyond straight up or down."""
        return (self.mean + self.deviation * torch.special.ndtri(share.clamp(1e-6, 1 - 1e-6))).clamp(-90, 90)


@dataclass(frozen=True)
class PosePrior:
    """Cameras that look at the origin, z up. Angles in degrees: azimuth 0 looks at the front, from -y.

    Azimuths are uniform within their range. `distance` is in world units, `fov` the angle of view across the picture.
    """

    azimuth: tuple[float, float] = (0.0, 360.0)
    elevation: EvenElevation | BellElevation = EvenElevation()
    distance: float = 2.9238
    fov: float = 40.0

    def cameras(self, count: int, size: int, rng: torch.Generator | None = None) -> Cameras:
        """So many cameras with square pictures; without chance they are spread evenly (a golden spiral).

        Raises InputError for a distance, a field of view or angles that no camera has.
        """
        self._check()
        if rng is None:
            i = torch.arange(count)
            turn, share = (i + 0.5) / count, ((i + 1) * GOLDEN) % 1
        else:
            turn, share = torch.rand(count, 2, generator=rng).unbind(-1)
        first, last = self.azimuth
        each = torch.ones(count)
        azimuth = first + (last - first) * turn
        return standing(azimuth, self.elevation.at(share), self.distance * each, self.fov * each, size)

    def _check(self) -> None:
        if self.distance <= 0:
            raise InputError(f"cameras cannot stand {self.distance:g} units away; give a distance above 0")
        if not 0 < self.fov < 180:
            raise InputError(f"no camera has an angle of view of {self.fov:g} degrees; give one between 0 and 180")
        if self.azimuth[0] > self.azimuth[1]:
            first, last = self.azimuth
            raise InputError(f"azimuths from {first:g} to {last:g} degrees are none; give the smaller one first")
        if isinstance(self.elevation, EvenElevation):
            low, high = self.elevation.low, self.elevation.high
            if not -90 <= low <= high <= 90:
                raise InputError(f"elevations from {low:g} to {high:g} degrees are none; stay within -90 to 90")
        elif self.elevation.deviation < 0:
            raise InputError(f"a deviation of {self.elevation.deviation:g} degrees is none; give 0 or more")
