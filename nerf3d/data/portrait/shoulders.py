"""Where the torso stands in every frame: shoulders go their own ways, which no pose of the head tells.

A torso that follows the head alone is off by a pixel of 256 where a person sits and speaks, and collars and lapels are what
eyes are drawn to. So the middle of the torso, as it usually looks, is laid onto every frame, to the right and down
(Lucas and Kanade, 1981), first much blurred, since it may be far off.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from nerf3d.data.portrait.align import with_slopes
from nerf3d.data.portrait.pose import LANDMARK_FILTER, smoothed

BLURS = (8.0, 3.0, 1.0)
"""Of the pictures, in pixels of 256, one after another (Gaussian deviations)."""
ROUNDS, LOOKS, SAMPLES = 5, 4, 64
"""Steps for each blur, how often the usual look is taken anew, and the frames that it is the median of."""
USUAL = 0.8
"""A pixel that is torso in so many of those frames is looked at."""
LEAST = 200
"""With fewer such pixels there is nothing to follow."""
NOISE = 6.0
"""Levels of grey; errors beyond this count less (Huber, 1964)."""
SPACING = 2
"""Of the pixels that are looked at."""
MARGIN = 32
"""Pixels above them that are kept, for what moves up to them."""
PLAIN = 1.0
"""Levels of grey a pixel: what holds still what has no edges."""
FARTHEST = 0.2
"""Of the frame's side: who seems to go farther was not found."""
CHUNK = 100


def follow_torso(
    picture: Callable[[int], UInt8[Tensor, "h w"]],
    torso: Callable[[int], Bool[Tensor, "h w"]],
    times: Float[Tensor, "n"],
) -> Float[Tensor, "n 2"]:
    """How far the torso is from its usual place, to the right and down, in shares of the frames' side; smooth in time.

    `picture` gives the frames in grey, some 256 pixels wide, `torso` where their torso is, `times` their numbers in the
    film. NaN where hardly any torso is seen.
    """
    count = len(times)
    some = torch.linspace(0, count - 1, min(SAMPLES, count)).round().long()
    area = torch.stack([torso(int(i)) for i in some]).float().mean(0) >= USUAL
    if int(area.sum()) < LEAST:
        return torch.full((count, 2), torch.nan)
    rows, columns = torch.nonzero(area[::SPACING, ::SPACING]).mul(SPACING).unbind(-1)
    top = max(int(rows.min()) - MARGIN, 0)
    points = torch.stack([columns, rows - top], -1).float() + 0.5

    def cut(frames: Int64[Tensor, "m"]) -> Float[Tensor, "m h w"]:
        return torch.stack([picture(int(i))[top:] for i in frames]).float()

    looks = _usual_looks(cut(some), points)
    found = [_laid(cut(part), points, looks) for part in torch.arange(count).split(CHUNK)]
    moved = torch.cat(found) / area.shape[1]
    moved = torch.where((moved.norm(dim=-1) < FARTHEST)[:, None], moved, moved.median(0).values)
    return smoothed(moved.double(), times, LANDMARK_FILTER).float()


def _usual_looks(frames: Float[Tensor, "s h w"], points: Float[Tensor, "k 2"]) -> list[Tensor]:
    """The grey at the points, for every blur, as most frames show it once they are laid upon one another."""
    stacks = [with_slopes(frames, blur) for blur in BLURS]
    moved = torch.zeros(len(frames), 2)
    for _ in range(LOOKS):
        for stack in stacks:
            usual = _seen(stack, points, moved)[:, 0].median(0).values
            moved = _stepped(stack, points, usual, moved)
        moved = moved - moved.median(0).values
    return [_seen(stack, points, moved)[:, 0].median(0).values for stack in stacks]


def _laid(frames: Float[Tensor, "m h w"], points: Float[Tensor, "k 2"], looks: list[Tensor]) -> Float[Tensor, "m 2"]:
    moved = torch.zeros(len(frames), 2)
    for blur, usual in zip(BLURS, looks, strict=True):
        moved = _stepped(with_slopes(frames, blur), points, usual, moved)
    return moved


def _stepped(stack: Tensor, points: Tensor, usual: Tensor, moved: Float[Tensor, "m 2"]) -> Float[Tensor, "m 2"]:
    """Gauss and Newton's steps towards where the pictures show the usual look."""
    for _ in range(ROUNDS):
        grey, *slopes = _seen(stack, points, moved).unbind(1)
        error = grey - usual
        error = error - error.median(-1, keepdim=True).values  # the light may change
        weight = (NOISE / error.abs().clamp_min(1e-6)).clamp_max(1)
        slope = torch.stack(slopes, -1)
        weighted = (slope * weight[..., None]).transpose(1, 2)
        normal = weighted @ slope + PLAIN * torch.eye(2)
        moved = moved - torch.linalg.solve(normal, weighted @ error[..., None])[..., 0]
    return moved


def _seen(stack: Float[Tensor, "m 3 h w"], points: Float[Tensor, "k 2"], moved: Float[Tensor, "m 2"]) -> Tensor:
    """Grey and its slopes, (m 3 k), at points that are moved."""
    place = 2 * (points + moved[:, None]) / points.new_tensor([stack.shape[3], stack.shape[2]]) - 1
    return F.grid_sample(stack, place[:, None], padding_mode="border", align_corners=False)[:, :, 0]
