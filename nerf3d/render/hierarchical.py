"""Hierarchical sampling: a coarse field says where the fine one should look (NeRF 2020, section 5.2)."""

from dataclasses import dataclass, replace

import torch

from nerf3d.core import Field, Rays, Samples
from nerf3d.core.quadrature import weights as quadrature_weights
from nerf3d.core.samples import Proposal
from nerf3d.core.spaces import Space
from nerf3d.render.edges import Spacing, borders, check_range, invert, quantiles, segments

PADDING = 1e-5
"""Added to every weight, so that no place is ruled out for ever; the value of the paper's code."""


@dataclass(frozen=True)
class Hierarchical:
    """Borders of `coarse_count` stratified intervals, and among them `fine_count` drawn where `coarse` sees weight.

    The answer holds the union, coarse_count + fine_count intervals on every ray that meets the space, and as its one
    proposal the coarse samples with their weights. The weights carry gradients where those are enabled; rendering
    `coarse` on the proposal's samples gives the paper's coarse picture, for its share of the loss.
    """

    coarse: Field
    space: Space
    coarse_count: int = 64
    fine_count: int = 128
    near: float = 0.0
    far: float = float("inf")
    spacing: Spacing = "linear"

    def __post_init__(self) -> None:
        check_range(self.space, self.near, self.far, self.spacing)

    def __call__(self, field: Field, rays: Rays, rng: torch.Generator | None) -> Samples:
        part = segments(self.space, rays, self.near, self.far, self.spacing)
        hit = len(part.ray)
        edges = part.distance(borders(hit, self.coarse_count, part.near, rng))
        coarse = part.samples(edges)
        weights = quadrature_weights(self.coarse.density(coarse.positions(rays)), coarse.width, coarse.offsets)
        with torch.no_grad():
            mass = weights.reshape(hit, self.coarse_count) + PADDING
            between = invert(edges, mass, quantiles(hit, self.fine_count, edges, rng))
            union = torch.cat([edges, between], -1).sort(-1).values
        return replace(part.samples(union), proposals=(Proposal(coarse, weights),))
