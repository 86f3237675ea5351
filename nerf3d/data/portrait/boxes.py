"""Boxes around face and lips, in which rays are worth more: x, y, width, height in pixels."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.data.portrait.landmarks import NOSE_BRIDGE, OUTER_LIPS

WIDER, TALLER = 1.5, 1.15
"""AD-NeRF's: half the face's width, and the bridge of the nose to the chin, times these."""
AROUND_LIPS = 1.3


def face_boxes(points: Float[Tensor, "n 478 3"], size: int) -> Int64[Tensor, "n 4"]:
    """AD-NeRF's face_rect: around the bridge of the nose, so that hair and chin are in."""
    low, high = points[..., :2].amin(1), points[..., :2].amax(1)
    middle = torch.stack([(low[:, 0] + high[:, 0]) / 2, points[:, NOSE_BRIDGE, 1]], -1)
    half = (high - middle) * torch.tensor([WIDER, TALLER])
    return _within(middle - half, middle + half, size)


def lips_boxes(points: Float[Tensor, "n 478 3"], size: int) -> Int64[Tensor, "n 4"]:
    """Squares around the lips, with some skin."""
    lips = points[:, list(OUTER_LIPS), :2]
    low, high = lips.amin(1), lips.amax(1)
    half = AROUND_LIPS / 2 * (high - low).amax(1, keepdim=True)
    middle = (low + high) / 2
    return _within(middle - half, middle + half, size)


def _within(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Whole pixels inside the picture, at least one."""
    low = low.floor().clamp(0, size - 1).long()
    high = torch.maximum(high.ceil().clamp(0, size).long(), low + 1)
    return torch.cat([low, high - low], -1)
