"""How the mouth and the eyes stand in every frame, whatever the distance and the turn of the head."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.data.portrait.landmarks import INNER_LIPS, LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE


def mouth(points: Float[Tensor, "n 478 3"]) -> Float[Tensor, "n 2"]:
    """Opening and width: between the inner lips, and between the corners, in distances of the eyes' outer corners."""
    unit = _apart(points, RIGHT_EYE[0], LEFT_EYE[0])
    return torch.stack([_apart(points, *INNER_LIPS) / unit, _apart(points, *MOUTH_CORNERS) / unit], -1)


def eye_aspect_ratio(points: Float[Tensor, "n 478 3"]) -> Float[Tensor, "n"]:
    """Height by width of the eyes, the mean of both (after Soukupova and Cech, 2016): about 0.3 open, 0.1 shut."""
    ratios = [
        _apart(points, upper, lower) / _apart(points, outer, inner)
        for outer, inner, upper, lower in (RIGHT_EYE, LEFT_EYE)
    ]
    return torch.stack(ratios).mean(0)


def eye_openness(ratio: Float[Tensor, "n"], usual: float | None = None, shut: float = 0.35) -> Float[Tensor, "n"]:
    """0 shut to 1 as this person's eyes usually are, from the eye aspect ratio.

    `usual` is by default the median over the film; `shut` is the share of it at which lids meet: a mesh's never quite do.

    >>> eye_openness(torch.tensor([0.30, 0.30, 0.20, 0.09, 0.30]))
    tensor([1.0000, 1.0000, 0.4872, 0.0000, 1.0000])
    """
    whole = ratio.median() if usual is None else ratio.new_tensor(usual)
    return ((ratio / whole.clamp_min(1e-6) - shut) / (1 - shut)).clamp(0, 1)


def blinks(openness: Float[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """The frames in which the eyes are more shut than open."""
    return openness < 0.5


def _apart(points: Tensor, first: int, second: int) -> Tensor:
    return (points[:, first] - points[:, second]).norm(dim=-1)
