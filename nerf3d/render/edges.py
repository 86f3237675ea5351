"""Borders of sample intervals: which part of a ray is sampled, how s in [0, 1] runs along it, where borders lie in s.

Every sampler but the occupancy grid is these three steps: `segments`, then borders in s, then `Segments.samples`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Rays, Samples
from nerf3d.core.spaces import Contracted, Space

Spacing = Literal["linear", "disparity", "piecewise"]


@dataclass(frozen=True)
class Curve:
    """How densely samples lie along a ray: equal steps of g(t) between near and far (mip-NeRF 360, equation 11).

    linear       g(t) = t
    disparity    g(t) = -1 / t                                        (needs near > 0)
    piecewise    g(t) = t / 2 - 1 for t <= 1, else -1 / (2 t)         in units of `unit`: linear within the scene's
                                                                      radius, like disparity beyond (nerfacto)

    The curves approach 0 and not 1 at infinity, where single precision would have no digits left.
    """

    spacing: Spacing
    unit: Float[Tensor, ""]

    def g(self, t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        if self.spacing == "linear":
            return t
        if self.spacing == "disparity":
            return -1.0 / t
        t = t / self.unit
        return torch.where(t <= 1.0, 0.5 * t - 1.0, -0.5 / t.clamp_min(1.0))

    def g_inverse(self, y: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        if self.spacing == "linear":
            return y
        if self.spacing == "disparity":
            return -1.0 / y
        return self.unit * torch.where(y <= -0.5, 2.0 * y + 2.0, -0.5 / y.clamp_min(-0.5))

    def s(self, t: Float[Tensor, "*b"], near: Float[Tensor, "*#b"], far: Float[Tensor, "*#b"]) -> Float[Tensor, "*b"]:
        """The normalised distance: 0 at near, 1 at far."""
        low, high = self.g(near), self.g(far)
        return (self.g(t) - low) / (high - low)

    def t(self, s: Float[Tensor, "*b"], near: Float[Tensor, "*#b"], far: Float[Tensor, "*#b"]) -> Float[Tensor, "*b"]:
        """The inverse of `s`, never outside of [near, far]."""
        t = self.g_inverse(torch.lerp(self.g(near), self.g(far), s))
        return torch.minimum(torch.maximum(t, near), far)


@dataclass(frozen=True)
class Segments:
    """The part of each ray that is sampled. Rays without such a part are left out; `ray` says which ones remain."""

    ray: Int64[Tensor, "hit"]
    near: Float[Tensor, "hit"]
    far: Float[Tensor, "hit"]
    rays: int
    curve: Curve

    def distance(self, s: Float[Tensor, "hit k"]) -> Float[Tensor, "hit k"]:
        """Distances along the rays, from positions s in [0, 1]."""
        return self.curve.t(s, self.near[:, None], self.far[:, None])

    def samples(self, edges: Float[Tensor, "hit k"]) -> Samples:
        """Adjacent intervals between sorted borders (distances); the rays that were left out get none."""
        count = edges.shape[1] - 1
        counts = torch.zeros(self.rays + 1, dtype=torch.int64, device=edges.device)
        counts[self.ray + 1] = count
        return Samples(
            start=edges[:, :-1].reshape(-1),
            end=edges[:, 1:].reshape(-1),
            ray=self.ray.repeat_interleave(count),
            offsets=counts.cumsum(0),
        )


def curve_of(spacing: Spacing, space: Space) -> Curve:
    """The curve whose unit is half the longest side of the box, or of the contraction's focus."""
    box = space.focus if isinstance(space, Contracted) else space
    return Curve(spacing, 0.5 * box.size.amax())


@torch.no_grad()
def segments(space: Space, rays: Rays, near: float, far: float, spacing: Spacing) -> Segments:
    """Cut the rays to the space, to their own near and far, and to [near, far]. The space lies on the rays' device."""
    enter, leave = space.clip(rays)
    enter, leave = enter.clamp_min(near), leave.clamp_max(far)
    ray = (leave > enter).nonzero()[:, 0]
    return Segments(ray, enter[ray], leave[ray], len(rays), curve_of(spacing, space))


def check_range(space: Space, near: float, far: float, spacing: Spacing) -> None:
    """ValueError for a range of distances that cannot be divided into intervals."""
    if not 0.0 <= near < far:
        raise ValueError(f"a sampler needs 0 <= near < far, but near is {near} and far is {far}")
    if spacing == "disparity" and near == 0.0:
        raise ValueError("disparity spacing divides by the distance: give it a near above 0")
    if isinstance(space, Contracted) and far == float("inf"):
        raise ValueError("a contracted space has no end: give its sampler a finite far")


def _chance(rows: int, columns: int, like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(rows, columns, generator=rng, device=rng.device, dtype=like.dtype).to(like.device)


def borders(
    rows: int, count: int, like: Tensor, rng: torch.Generator | None, one_per_ray: bool = False
) -> Float[Tensor, "r k"]:
    """(rows, count + 1) borders of `count` intervals that cover [0, 1]; dtype and device are those of `like`.

    Without `rng` they are equidistant. With it each border but the first and the last moves by up to half an interval
    either way, on its own or, with `one_per_ray`, all of a row together; their order never changes. The centres of the
    intervals then reach all of their strata (NeRF 2020, equation 2), but of the two at the ends only the middle half:
    the price of leaving no gap there.

    >>> borders(1, 4, torch.zeros(()), None)
    tensor([[0.0000, 0.2500, 0.5000, 0.7500, 1.0000]])
    """
    regular = torch.arange(count + 1, dtype=like.dtype, device=like.device) / count
    if rng is None or count == 1:
        return regular.expand(rows, -1)
    shift = (_chance(rows, 1 if one_per_ray else count - 1, like, rng) - 0.5) / count
    ends = regular[[0, -1]].expand(rows, 2)
    return torch.cat([ends[:, :1], regular[1:-1] + shift, ends[:, 1:]], -1)


def quantiles(rows: int, count: int, like: Tensor, rng: torch.Generator | None) -> Float[Tensor, "r k"]:
    """(rows, count) increasing numbers, one in each of `count` equal parts of [0, 1]: in the middle, or by chance.

    >>> quantiles(1, 4, torch.zeros(()), None)
    tensor([[0.1250, 0.3750, 0.6250, 0.8750]])
    """
    lower = torch.arange(count, dtype=like.dtype, device=like.device).expand(rows, -1)
    return (lower + (0.5 if rng is None else _chance(rows, count, like, rng))) / count


@torch.no_grad()
def invert(edges: Float[Tensor, "r k"], weights: Float[Tensor, "r w"], u: Float[Tensor, "r j"]) -> Float[Tensor, "r j"]:
    """Inverse transform sampling: where the distribution function of a histogram reaches u in [0, 1].

    The histogram has w = k - 1 intervals of constant density between sorted edges, with masses in proportion to
    `weights` >= 0 (they need not sum to one). A row of zero weights counts as constant density all over.
    Increasing u give increasing positions.

    Worked example: edges (0, 1, 2), weights (3, 1). Three quarters of the mass lie in [0, 1], so u = 3/8 is half way
    through the first interval and u = 7/8 half way through the second:

    >>> invert(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[3.0, 1.0]]), torch.tensor([[0.375, 0.875]]))
    tensor([[0.5000, 1.5000]])
    """
    total = weights.sum(-1, keepdim=True)
    mass = torch.where(total > 0, weights, edges.diff(dim=-1))
    running = torch.cumsum(mass, -1)
    running = running / running[:, -1:].clamp_min(torch.finfo(running.dtype).tiny)
    distribution = torch.cat([torch.zeros_like(running[:, :1]), running], -1)
    below = torch.searchsorted(distribution, u.contiguous(), right=True) - 1
    below = below.clamp(0, edges.shape[1] - 2)
    start = distribution.gather(1, below)
    gap = (
        distribution.gather(1, below + 1) - start
    )  # not from `mass`: at u = 1 the answer shall be the last edge itself
    part = ((u - start) / gap.clamp_min(torch.finfo(gap.dtype).tiny)).clamp(0.0, 1.0)
    return torch.lerp(edges.gather(1, below), edges.gather(1, below + 1), part)
