"""Stratified sampling: the same number of intervals on every ray, wherever the scene may be (NeRF 2020, section 4)."""

from dataclasses import dataclass

import torch

from nerf3d.core import Field, Rays, Samples
from nerf3d.core.spaces import Space
from nerf3d.render.edges import Spacing, borders, check_range, segments


@dataclass(frozen=True)
class Stratified:
    """`count` intervals between where a ray enters the space and leaves it, cut to [near, far] (world units).

    They cover that part without a gap; a ray that misses the space has none. Without rng they are equal in the chosen
    spacing (see `edges.Curve`), with it their borders are jittered, each by itself or all of a ray together.
    """

    space: Space
    count: int
    near: float = 0.0
    far: float = float("inf")
    spacing: Spacing = "linear"
    one_jitter_per_ray: bool = False

    def __post_init__(self) -> None:
        check_range(self.space, self.near, self.far, self.spacing)

    @torch.no_grad()
    def __call__(self, field: Field, rays: Rays, rng: torch.Generator | None) -> Samples:
        part = segments(self.space, rays, self.near, self.far, self.spacing)
        s = borders(len(part.ray), self.count, part.near, rng, self.one_jitter_per_ray)
        return part.samples(part.distance(s))
