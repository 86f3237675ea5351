"""Conditions that are left out in some of the lessons, so that their effect can be exaggerated afterwards.

Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), in the convention of the whole program:

    answer = free + scale (told - free)

A condition that is not there is None, or a row of NaN.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

LEFT_OUT = 0.1
"""The share of lessons without a condition."""


def sometimes(condition: Float[Tensor, "b k"] | None, rng: torch.Generator) -> Float[Tensor, "b k"] | None:
    """The condition, with NaN in the rows of some lessons."""
    if condition is None:
        return None
    left_out = torch.rand(len(condition), 1, generator=rng, device=rng.device).to(condition) < LEFT_OUT
    return torch.where(left_out, torch.nan, condition)


def guided(answer: Callable[[Tensor | None], Tensor], condition: Tensor | None, scale: float) -> Tensor:
    """The answer of a network under a condition, as far beyond that without one as `scale` says.

    >>> guided(lambda told: torch.tensor(1.0 if told is None else 3.0), torch.zeros(1), 2.0)
    tensor(5.)
    """
    told = answer(condition)
    if condition is None or scale == 1:
        return told
    free = answer(None)
    return free + scale * (told - free)
