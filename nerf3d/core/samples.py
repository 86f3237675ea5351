"""Packed samples: the intervals on every ray that are worth asking the field about.

All intervals of all rays lie in flat arrays, ray after ray, near to far. `offsets` says where each ray's part begins:
ray `i` owns the intervals `offsets[i]` to `offsets[i + 1]`, which may be none. Two rays with 2 and 1 intervals:

    start   = [0.0, 0.1, 0.5]
    end     = [0.1, 0.2, 0.6]
    ray     = [0,   0,   1  ]
    offsets = [0, 2, 3]

A padded layout (rays x most samples on any ray) wastes most of its work as soon as empty space is skipped.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core.rays import Rays


@dataclass(frozen=True)
class Samples:
    start: Float[Tensor, "n"]
    end: Float[Tensor, "n"]
    ray: Int64[Tensor, "n"]
    offsets: Int64[Tensor, "rays_plus_one"]
    proposals: tuple["Proposal", ...] = field(default=())
    """The coarser distributions from which these samples were drawn, coarsest first, for losses that train them."""

    def __len__(self) -> int:
        return self.start.shape[0]

    @property
    def middle(self) -> Float[Tensor, "n"]:
        return 0.5 * (self.start + self.end)

    @property
    def width(self) -> Float[Tensor, "n"]:
        return self.end - self.start

    def positions(self, rays: Rays) -> Float[Tensor, "n 3"]:
        """The centres of the intervals, in world coordinates; differentiable with respect to the rays."""
        return rays.origin[self.ray] + self.middle[:, None] * rays.direction[self.ray]

    @staticmethod
    def from_edges(edges: Float[Tensor, "rays edges"], proposals: tuple["Proposal", ...] = ()) -> "Samples":
        """Samples with the same number of adjacent intervals on every ray, from their borders."""
        rays, count = edges.shape[0], edges.shape[1] - 1
        index = torch.arange(rays, device=edges.device)
        return Samples(
            start=edges[:, :-1].reshape(-1),
            end=edges[:, 1:].reshape(-1),
            ray=index.repeat_interleave(count),
            offsets=torch.arange(rays + 1, device=edges.device) * count,
            proposals=proposals,
        )


@dataclass(frozen=True)
class Proposal:
    """What a coarser field believed: its intervals and the weight that it gave to each."""

    samples: Samples
    weights: Float[Tensor, "n"]
