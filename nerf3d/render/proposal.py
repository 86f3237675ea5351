"""Proposal networks: small density fields, taught by the large one, that find where it should be asked.

Barron et al., "Mip-NeRF 360" (2022), section 3. Only the last samples are rendered. The small fields never see a
photograph; `interlevel` makes the histogram of each an upper bound of the large field's weights.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Field, Rays, Samples
from nerf3d.core.quadrature import exclusive_sum, sum_per_ray
from nerf3d.core.quadrature import weights as quadrature_weights
from nerf3d.core.samples import Proposal
from nerf3d.core.spaces import Space
from nerf3d.render.edges import Spacing, borders, check_range, curve_of, invert, segments


@runtime_checkable
class DensityField(Protocol):
    """As much of a `Field` as a proposal needs."""

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]: ...


@dataclass(frozen=True)
class ProposalNetworks:
    """How many samples each round takes. The fields themselves are built elsewhere, and their owner trains them."""

    counts: tuple[int, ...] = (128, 64)
    """Intervals that each proposal field is asked about, in order."""
    final_count: int = 32
    """Intervals that the rendered field is asked about."""
    near: float = 0.05
    far: float = 1000.0
    """In units of half the longest side of the space's box or focus."""
    slope: float = 10.0
    """How early annealing ends: b of equation 18."""
    padding: float = 0.01
    """Added to every weight before it is sampled from, so that no place is ruled out for ever."""

    def build(self, space: Space, fields: tuple[DensityField, ...]) -> "ProposalSampler":
        unit = float(curve_of("piecewise", space).unit)
        return ProposalSampler(
            fields, space, self.counts, self.final_count, self.near * unit, self.far * unit, self.slope, self.padding
        )


@dataclass(frozen=True)
class ProposalSampler:
    """One field a round: intervals -> its weights -> the borders of the next round's intervals.

    The first intervals are equal in the spacing (for captures of open places: linear within the focus, then like
    disparity). Later ones hold equal shares of the weights before them. All rounds cover [near, far] (world units)
    without a gap. With rng each ray's borders are jittered together. The rounds are kept in `Samples.proposals`, their
    weights with gradients where those are enabled.
    """

    fields: tuple[DensityField, ...]
    space: Space
    counts: tuple[int, ...]
    final_count: int
    near: float
    far: float
    slope: float = 10.0
    padding: float = 0.01
    spacing: Spacing = "piecewise"
    progress: float = 1.0

    def __post_init__(self) -> None:
        check_range(self.space, self.near, self.far, self.spacing)
        if len(self.fields) != len(self.counts):
            raise ValueError(f"{len(self.counts)} rounds of proposals need as many fields, not {len(self.fields)}")

    def at(self, progress: float) -> "ProposalSampler":
        """The same sampler, annealed as far as a run that is `progress` in [0, 1] done.

        Equation 18: weights are sampled from after being raised to the power b p / ((b - 1) p + 1), which goes from 0
        (all intervals alike) to 1 (the weights themselves), so that the beginning's accidents are not believed at once.
        """
        return replace(self, progress=progress)

    @property
    def exponent(self) -> float:
        return self.slope * self.progress / ((self.slope - 1.0) * self.progress + 1.0)

    def normalized(self, t: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Distances as s of mip-NeRF 360, 0 at near and 1 at far: what `distortion` wants."""
        return curve_of(self.spacing, self.space).s(t, torch.full_like(t, self.near), torch.full_like(t, self.far))

    def __call__(self, field: Field, rays: Rays, rng: torch.Generator | None) -> Samples:
        part = segments(self.space, rays, self.near, self.far, self.spacing)
        hit = len(part.ray)
        s = borders(hit, (*self.counts, self.final_count)[0], part.near, rng, one_per_ray=True)
        proposals: tuple[Proposal, ...] = ()
        for proposal_field, count, following in zip(self.fields, self.counts, (*self.counts[1:], self.final_count)):
            samples = part.samples(part.distance(s))
            density = proposal_field.density(samples.positions(rays))
            weights = quadrature_weights(density, samples.width, samples.offsets)
            proposals = (*proposals, Proposal(samples, weights))
            with torch.no_grad():
                mass = weights.reshape(hit, count) ** self.exponent + self.padding
                s = invert(s, mass, borders(hit, following, s, rng, one_per_ray=True))
        return replace(part.samples(part.distance(s)), proposals=proposals)


def _keys(samples: Samples, low: Tensor, span: Tensor) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Starts and ends as numbers that increase over the whole stream: ray after ray, in double precision."""
    base = samples.ray.double() * span
    return base + (samples.start.double() - low), base + (samples.end.double() - low)


def bound(
    start: Float[Tensor, "n"], end: Float[Tensor, "n"], ray: Int64[Tensor, "n"], proposal: Proposal
) -> Float[Tensor, "n"]:
    """For each interval the weights of all of the proposal's intervals on its ray that overlap it, summed.

    Mip-NeRF 360, equation 12. Worked example: a proposal with intervals [0, 1], [1, 2], [2, 3] and weights (.5, .3, .1)
    bounds [0.5, 1.5] by .8 and [1.2, 1.8] by .3.
    """
    coarse = proposal.samples
    if len(coarse) == 0 or len(start) == 0:
        return torch.zeros_like(start)
    fine = Samples(start, end, ray, coarse.offsets)
    low = torch.minimum(start.amin(), coarse.start.amin()).double()
    span = torch.maximum(end.amax(), coarse.end.amax()).double() - low + 1.0
    fine_start, fine_end = _keys(fine, low, span)
    coarse_start, coarse_end = _keys(coarse, low, span)
    first = torch.searchsorted(coarse_end, fine_start, right=True)  # the first that ends behind the interval's start
    last = torch.searchsorted(coarse_start, fine_end) - 1  # the last that starts before its end
    before = exclusive_sum(proposal.weights, coarse.offsets)
    total = (before + proposal.weights)[last.clamp_min(0)] - before[first.clamp_max(len(coarse) - 1)]
    return torch.where(last >= first, total, 0.0)


def interlevel(samples: Samples, weights: Float[Tensor, "n"]) -> Float[Tensor, "rays"]:
    """The proposals' loss on each ray: where the rendered field has more weight than they allow for.

    Mip-NeRF 360, equation 13, summed over the intervals i and over the proposals in `samples.proposals`:

        1 / w_i  max(0, w_i - bound_i)^2

    The rendered weights w get no gradient from it: the small fields follow the large one, never the reverse.
    """
    w = weights.detach()
    total = torch.zeros_like(w)
    for proposal in samples.proposals:
        excess = (w - bound(samples.start, samples.end, samples.ray, proposal)).clamp_min(0.0)
        total = total + excess.square() / (w + 1e-7)
    return sum_per_ray(total, samples.ray, samples.offsets.shape[0] - 1)
