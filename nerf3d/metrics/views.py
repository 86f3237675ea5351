"""Whether an object has one front: the Janus problem is a second face where the back should be."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator

SIDES = ("front", "side", "back")
HALF = 45.0
"""Degrees to either side of straight ahead that count as front, and of straight behind that count as back."""


@dataclass(frozen=True)
class ViewConsistency:
    """`janus` is the share of the views from behind that look like a front: 0 is good. `front` is the share of those
    from the front that do: near 1, or `janus` says nothing. `taken_for` says for each view what it looks like.
    """

    janus: float
    front: float
    taken_for: tuple[str, ...]

    @property
    def second_front(self) -> bool:
        """Whether most of what is seen from behind looks like a front."""
        return self.janus > 0.5


def view_consistency(
    evaluator: Evaluator, images: Float[Tensor, "n h w 3"], azimuth: Sequence[float], said: str
) -> ViewConsistency:
    """Ask of every view whether it fits "`said`, front view", "..., side view" or "..., back view" best.

    `images` in [0, 1] are seen from `azimuth` degrees, where 0 looks at the front; `said` describes the object ("a red
    cow"). It makes sense for what has a front. Raises InputError where no view is from behind, or none from the front.
    """
    similarity = evaluator.similarity(images, [f"{said}, {side} view" for side in SIDES])
    return from_similarity(similarity, torch.tensor(azimuth, dtype=torch.float32))


def from_similarity(similarity: Float[Tensor, "n 3"], azimuth: Float[Tensor, "n"]) -> ViewConsistency:
    """The same from similarities that are known, to front, side and back in this order.

    >>> seen = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    >>> from_similarity(seen, torch.tensor([0.0, 90, 180, 270])).janus
    1.0
    """
    turned = ((azimuth + 180) % 360 - 180).abs()
    before, behind = turned <= HALF, turned >= 180 - HALF
    if not bool(before.any()) or not bool(behind.any()):
        raise InputError("View consistency needs a view from the front and one from behind: go all around the object.")
    best = similarity.argmax(1)
    is_front = (best == 0).double()
    return ViewConsistency(
        janus=float(is_front[behind].mean()),
        front=float(is_front[before].mean()),
        taken_for=tuple(SIDES[i] for i in best.tolist()),
    )
