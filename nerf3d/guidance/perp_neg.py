"""Perp-Neg: negative prompts that only push across the wanted direction (Armandpour et al. 2023).

A view seen from the side should not look like one from the front. Subtracting the front's direction as it is would also
take away what both share, the object itself; so of each negative direction only the part is used that is perpendicular
to the positive one:

    eps = uncond + scale * (d + sum_i w_i (d_i - <d_i, d> / |d|^2 d))
    d = text - uncond,  d_i = view_i - uncond,  w_i <= 0

The negatives are a flat list in which every entry names its picture. So pictures may have any number of them, an overhead
view none, and none can meet another picture's noise.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.guidance.text import Text


@dataclass(frozen=True)
class Against:
    """Views that pictures should not show: `row` says which picture, `weight` (0 or less) how strongly."""

    text: Text
    row: Int64[Tensor, "n"]
    weight: Float[Tensor, "n"]


def perpendicular(
    toward: Float[Tensor, "b c h w"], views: Float[Tensor, "n c h w"], against: Against
) -> Float[Tensor, "b c h w"]:
    """The weighted sum of the views' directions for each picture, without their parts along its `toward`.

    >>> d, view = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2), torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    >>> one = Against(Text(torch.zeros(1, 1, 1)), torch.tensor([0]), torch.tensor([-0.5]))
    >>> perpendicular(d, view, one).flatten().tolist()
    [0.0, -2.0]
    """
    d = toward[against.row].flatten(1)
    v = views.flatten(1)
    along = (v * d).sum(1, keepdim=True) / d.square().sum(1, keepdim=True).clamp_min(1e-20)
    across = (against.weight[:, None] * (v - along * d)).view_as(views)
    return torch.zeros_like(toward).index_add(0, against.row, across)


@dataclass(frozen=True)
class Strength:
    """How strongly a view is kept away, by r in [0, 1]: -(a exp(-b r) + c)."""

    a: float
    b: float
    c: float

    def __call__(self, r: float) -> float:
        return -(self.a * math.exp(-self.b * r) + self.c)


# The values that published implementations use. r is 1 at the first of the two views and 0 at the second.
FRONT_SIDE = Strength(4.0, 0.5, -2.426)
"""The front's weight between front and side; the side's, too, with 1 - r."""
SIDE_BACK = Strength(1.0, 0.5, -0.606)
"""The side's weight between side and back."""
FRONT_FROM_BEHIND = Strength(1.0, 0.5, 0.967)
"""The front's weight between side and back."""
