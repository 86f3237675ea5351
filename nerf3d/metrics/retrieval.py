"""R-precision: whether the true caption is the one that fits best, among all that it could have been (Park et al. 2021).

DreamFusion (Poole et al. 2022) measures text-to-3D so, by CLIP, on pictures with colours and without.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator


@dataclass(frozen=True)
class Retrieval:
    """`rank` is 1 where the true caption comes first, for the mean similarity over all views.

    `right_views` is the share of single views for which it does, `found` the caption that comes first, `margin` by how
    much the true caption is ahead of the best other one (negative: behind).
    """

    rank: int
    right_views: float
    found: str
    margin: float


def retrieve(evaluator: Evaluator, images: Float[Tensor, "n h w 3"], truth: str, captions: Sequence[str]) -> Retrieval:
    """Look for `truth` among `captions`, to which it is added where it is not among them. `images` in [0, 1] are views
    of one object.
    """
    options = list(dict.fromkeys([*captions, truth]))
    similarity = evaluator.similarity(images, options)
    place = options.index(truth)
    each = torch.tensor([rank(view, place) == 1 for view in similarity])
    mean = similarity.mean(0)
    others = torch.cat([mean[:place], mean[place + 1 :], torch.tensor([-1.0])])
    margin = float(mean[place] - others.max())
    return Retrieval(rank(mean, place), float(each.double().mean()), options[int(mean.argmax())], margin)


def rank(similarity: Float[Tensor, "t"], truth: int) -> int:
    """The place of one among all, from 1. Whatever is just as similar is counted before it: nothing is won by a tie, and
    NaN comes last.

    >>> rank(torch.tensor([0.1, 0.7, 0.4]), 2)
    2
    """
    return int((~(similarity < similarity[truth])).sum())


def r_precision(found: Sequence[Retrieval]) -> float:
    """The share of objects whose true caption came first. InputError where there are none."""
    if not found:
        raise InputError("R-precision is a mean over objects, and there is none: give at least one.")
    return sum(one.rank == 1 for one in found) / len(found)
