"""The random cameras of a text-to-3D step."""

import torch

from nerf3d.core import Cameras
from nerf3d.core.paths import standing
from nerf3d.tasks.text.recipe import Views

BALL = 0.85
"""The radius of the ball that an object is expected to keep to."""


def random_views(views: Views, progress: float, rng: torch.Generator) -> Cameras:
    """Cameras all around, one in each sector of the circle."""
    count = views.count

    def between(limits: tuple[float, float], each: torch.Tensor) -> torch.Tensor:
        return limits[0] + (limits[1] - limits[0]) * each

    spin, height, angle, air = (torch.rand(n, generator=rng) for n in (1, count, count, count))
    azimuth = (torch.arange(count) + spin) * (360 / count)
    fov = between(views.fov, angle)
    distance = BALL / torch.sin(torch.deg2rad(fov / 2)) * between(views.air, air)
    cameras = standing(azimuth, between(views.elevation, height), distance, fov, size_at(views, progress))
    if views.jitter:
        shift = views.jitter * (2 * torch.rand(count, 3, generator=rng) - 1)
        cameras.world_from_camera[:, :, 3] += shift
    return cameras


def size_at(views: Views, progress: float) -> int:
    """Pixels along a side of the pictures at this point of the run.

    >>> [size_at(Views(sizes=(32, 64), grow_at=(0.25,)), p) for p in (0.0, 0.3)]
    [32, 64]
    """
    at = views.grow_at or tuple(i / len(views.sizes) for i in range(1, len(views.sizes)))
    return views.sizes[sum(progress >= a for a in at)]
