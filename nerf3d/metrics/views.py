"""Whether an object has one front: the Janus problem is a second face where the back should be.

The true object says what its front and its back look like: as depths, from eight sides and as many between them. Every
view of the object in question is taken for that of the truth which it is nearest to. With a second face, what is seen
from before and from behind is taken for the same, be it the front or (a chair with two backs) the back.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.shape import SILHOUETTE_SAMPLES, ShapeError, normalized, on_surface, put_in_place

SIDES = ("front", "side", "back")
HALF = 45.0
"""Degrees to either side of straight ahead that count as front, and of straight behind that count as back."""
VIEWS = 8
PIXELS, REACH = 48, 1.1
FAR = 0.4
"""Depths (in radii of the true object's ball) differ by no more, and by so much where only one of two views shows
anything."""


@dataclass(frozen=True)
class ViewConsistency:
    """`front` and `behind` are the shares of the views from before and from behind that are taken for a front: 1 and 0
    for what has one face. `taken_for` says for each view, counter-clockwise from the front, what it looks like.
    """

    front: float
    behind: float
    taken_for: tuple[str, ...]

    @property
    def janus(self) -> float:
        """0 for one face, 1 where the front looks no other than the back."""
        return 1 - abs(self.front - self.behind)


def view_consistency(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    true_vertices: Float[Tensor, "w 3"],
    true_faces: Int64[Tensor, "g 3"],
    alignment: ShapeError,
) -> ViewConsistency:
    """A triangle mesh against the true one, whose front looks to -y; z is up in both, `alignment` what `compare` found.

    It makes sense for what has a front.
    """
    rng = torch.Generator().manual_seed(0)
    x = put_in_place(on_surface(vertices, faces, SILHOUETTE_SAMPLES, rng)[0].float(), alignment)
    true = normalized(on_surface(true_vertices, true_faces, SILHOUETTE_SAMPLES, rng)[0].float())
    azimuth = torch.arange(VIEWS) * (360 / VIEWS)
    known = torch.arange(2 * VIEWS) * (180 / VIEWS)
    truth = [nearness(true, float(a)) for a in known]
    off = torch.tensor([[unlike(nearness(x, float(a)), t) for t in truth] for a in azimuth])
    side = _side(known)
    return from_similarity(torch.stack([-off[:, side == i].amin(1) for i in range(3)], 1), azimuth)


def from_similarity(similarity: Float[Tensor, "n 3"], azimuth: Float[Tensor, "n"]) -> ViewConsistency:
    """The same from similarities that are known, to front, side and back in this order; azimuth 0 looks at the front.

    Raises InputError where no view is from behind, or none from the front.

    >>> seen = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    >>> from_similarity(seen, torch.tensor([0.0, 90, 180, 270])).janus
    1.0
    """
    side = _side(azimuth)
    before, behind = side == 0, side == 2
    if not bool(before.any()) or not bool(behind.any()):
        raise InputError("View consistency needs a view from the front and one from behind: go all around the object.")
    best = similarity.argmax(1)
    is_front = (best == 0).double()
    return ViewConsistency(
        front=float(is_front[before].mean()),
        behind=float(is_front[behind].mean()),
        taken_for=tuple(SIDES[i] for i in best.tolist()),
    )


def nearness(x: Float[Tensor, "n 3"], azimuth: float) -> Float[Tensor, "p"]:
    """How near to the viewer, who stands level at an azimuth in degrees, a dense cloud of points comes in every pixel
    (parallel projection); -inf where there is nothing.

    >>> seen = nearness(torch.tensor([[0.0, -0.5, 0.0], [0.0, 0.25, 0.0]]), 0.0)
    >>> float(seen.max()), int(seen.isfinite().sum())
    (0.5, 1)
    """
    c, s = math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))
    place = torch.stack([x[:, 2], c * x[:, 0] + s * x[:, 1]], -1)
    row, column = ((place / REACH + 1) * (PIXELS / 2)).long().clamp(0, PIXELS - 1).unbind(-1)
    nothing = torch.full((PIXELS**2,), -math.inf)
    return nothing.scatter_reduce(0, row * PIXELS + column, s * x[:, 0] - c * x[:, 1], "amax")


def unlike(one: Float[Tensor, "p"], other: Float[Tensor, "p"]) -> float:
    """The mean difference of two views' depths over the pixels of either, each at most FAR."""
    shown, both = one.isfinite() | other.isfinite(), one.isfinite() & other.isfinite()
    off = torch.where(both, (one - other).abs().clamp_max(FAR), FAR)
    return float(off[shown].mean()) if bool(shown.any()) else 0.0


def _side(azimuth: Float[Tensor, "n"]) -> Int64[Tensor, "n"]:
    """0 for views from before, 2 for those from behind, 1 for the others."""
    turned = ((azimuth + 180) % 360 - 180).abs()
    return torch.where(turned <= HALF, 0, torch.where(turned >= 180 - HALF, 2, 1))
