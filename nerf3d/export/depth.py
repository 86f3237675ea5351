"""Depth pictures of a field, for fusion: where along each ray half of the light is gone.

The median of a ray, not its mean: where a ray meets a leaf and then a wall, or grazes an edge, the mean lies between the
two, at a place where there is nothing, and from camera to camera at another one. The median is on one of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras, Rays, Samples, Scene
from nerf3d.core.cameras import look_at
from nerf3d.core.quadrature import exclusive_sum, sum_per_ray

OPAQUE = 0.8
"""A ray that less of the light stays in has no depth that one could rely on."""
CLEAR = 0.1
"""A ray that no more of the light stays in has met nothing."""
MOST_CAMERAS = 100
MOST_RAYS = 1 << 22  # of all pictures together
CHUNK = 4096  # rays

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DepthPictures:
    """What cameras see of surfaces: distances along the rays of their pixels, in world units. Infinity: the ray meets
    nothing; NaN: nobody knows.
    """

    cameras: Cameras
    depth: Float[Tensor, "b h w"]


@torch.no_grad()
def depth_pictures(scene: Scene, cameras: Cameras, progress: Progress | None = None) -> DepthPictures:
    """The depth of a scene as the cameras see it. At most a hundred of them look, evenly chosen, and their pictures are
    made smaller where all together would have more than four million pixels. `progress` counts cameras.
    """
    seen = _affordable(cameras)
    pictures = []
    for index in range(len(seen)):
        rays = seen.rays(index)
        parts = [_depth(scene, rays[begin : begin + CHUNK]) for begin in range(0, len(rays), CHUNK)]
        pictures.append(torch.cat(parts).cpu())
        if progress is not None:
            progress(index + 1, len(seen))
    return DepthPictures(seen.to("cpu"), torch.stack(pictures).reshape(len(seen), seen.height, seen.width))


def median_distance(
    density: Float[Tensor, "n"], samples: Samples
) -> tuple[Float[Tensor, "rays"], Float[Tensor, "rays"]]:
    """The distance at which half of the light is gone, and the opacity, of every ray; NaN where more than half gets
    through.

    With s the density and w the width of an interval (NeRF, equation 3) that is where the running sum of s w reaches
    ln 2. Worked example: intervals [1, 2] and [2, 4] with s w = (ln 2 / 2, ln 2): the sum reaches ln 2 half-way through
    the second, at 3, and the opacity is 1 - 2^-1.5 = 0.65.
    """
    rays = len(samples.offsets) - 1
    optical = density * samples.width
    before = exclusive_sum(optical, samples.offsets)
    opacity = -torch.expm1(-sum_per_ray(optical, samples.ray, rays))
    # The interval in which it happens is the last of those that more than half of the light reaches.
    reached = sum_per_ray((before < math.log(2)).to(density), samples.ray, rays).long()
    found = ((opacity >= 0.5) & (reached > 0)).nonzero()[:, 0]
    at = samples.offsets[found] + reached[found] - 1
    share = ((math.log(2) - before[at]) / optical[at].clamp_min(1e-12)).clamp(0, 1)
    median = torch.full_like(opacity, torch.nan)
    median[found] = samples.start[at] + share * samples.width[at]
    return median, opacity


def all_around(cameras: Cameras, count: int = 32) -> Cameras:
    """So many cameras on a sphere around the origin, evenly spread by the golden angle, that look at it with the lens and
    from the distance of the first of the given ones: for objects whose own cameras leave out the top or the bottom.
    """
    i = torch.arange(count) + 0.5
    height, angle = 1 - 2 * i / count, math.pi * (3 - math.sqrt(5)) * i
    flat = (1 - height * height).sqrt()
    outward = torch.stack([flat * torch.cos(angle), flat * torch.sin(angle), height], -1)
    pose = look_at(cameras.center[0].norm().cpu() * outward, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    return replace(cameras[torch.zeros(count, dtype=torch.int64)], world_from_camera=pose.to(cameras.center))


def _affordable(cameras: Cameras) -> Cameras:
    if len(cameras) > MOST_CAMERAS:
        cameras = cameras[torch.arange(MOST_CAMERAS) * len(cameras) // MOST_CAMERAS]
    scale = min(1.0, math.sqrt(MOST_RAYS / (len(cameras) * cameras.width * cameras.height)))
    return cameras.scaled_to(max(round(cameras.width * scale), 1), max(round(cameras.height * scale), 1))


def _depth(scene: Scene, rays: Rays) -> Float[Tensor, "rays"]:
    samples = scene.sampler(scene.field, rays, None)
    median, opacity = median_distance(scene.field.density(samples.positions(rays)), samples)
    known = torch.where(opacity >= OPAQUE, median, torch.nan)
    return torch.where(opacity <= CLEAR, torch.inf, known)
