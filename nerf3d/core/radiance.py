"""What a field answers, and what a renderer returns."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from nerf3d.core.samples import Samples


@dataclass(frozen=True)
class Radiance:
    """A field's answer at n points: density in 1 / world unit, and colour (or c features for a generator)."""

    density: Float[Tensor, "n"]
    color: Float[Tensor, "n channels"]


@dataclass(frozen=True)
class Rendering:
    """One value per ray, and what a loss needs of the samples behind it.

    `color` includes the background; `opacity` is the sum of the weights; `depth` is the expected distance along the ray
    of what was hit, sum(w t) / opacity, and 0 where nothing was hit.
    """

    color: Float[Tensor, "rays channels"]
    opacity: Float[Tensor, "rays"]
    depth: Float[Tensor, "rays"]
    weights: Float[Tensor, "n"]
    samples: Samples
