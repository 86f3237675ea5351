"""The torso alone, as RAD-NeRF keeps it: transparent around it, and going on behind the head, which may move off.

Upwards from the seam between torso and head every column keeps one colour, a little darker from pixel to pixel, and what
was painted is blurred across the columns (after RAD-NeRF's data tools; Tang et al., 2022).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

BEHIND, BELOW = 53, 4
"""In pictures of 512 pixels: how far it goes on upwards, and from how far below the seam a colour is taken, as there the
head's border is mixed in."""
DARKER = 0.98
"""From each of such pixels to the next."""
BLUR = 5


def continued(
    frame: UInt8[Tensor, "h w 3"], head: Bool[Tensor, "h w"], torso: Bool[Tensor, "h w"]
) -> UInt8[Tensor, "h w 4"]:
    """The torso's pixels and those that it goes on to, opaque; elsewhere all is 0."""
    scale = len(frame) / 512
    behind, below = round(BEHIND * scale), max(round(BELOW * scale), 1)
    row = torch.arange(len(frame))[:, None].expand(head.shape)
    seam = _next(torso)
    added = head & (seam < _next(~head & ~torso)) & (seam - row <= behind)
    edge = torso & (row - _last(head) <= below) & (_last(head) > _last(~head & ~torso))
    lower = (seam + below).clamp_max(len(frame) - 1)
    source = torch.where(torso.gather(0, lower), lower, seam.clamp_max(len(frame) - 1))
    column = torch.arange(head.shape[1]).expand(head.shape)
    faded = frame[source, column] * (DARKER ** ((seam - row) / scale))[..., None]
    painted = added | edge
    picture = torch.where(painted[..., None], faded, frame.float())
    whole = torso | added
    picture = torch.where(painted[..., None], _blurred(picture, whole), picture)
    return torch.cat([picture.round() * whole[..., None], 255.0 * whole[..., None]], -1).to(torch.uint8)


def _next(mask: Bool[Tensor, "h w"]) -> Int64[Tensor, "h w"]:
    """The first row from each pixel downwards, its own included, where the mask holds; the height where there is none."""
    row = torch.arange(len(mask))[:, None]
    return torch.where(mask, row, len(mask)).flip(0).cummin(0).values.flip(0)


def _last(mask: Bool[Tensor, "h w"]) -> Int64[Tensor, "h w"]:
    """The last row down to each pixel where the mask holds; far above the picture where there is none."""
    row = torch.arange(len(mask))[:, None]
    return torch.where(mask, row, -2 * len(mask)).cummax(0).values


def _blurred(picture: Float[Tensor, "h w 3"], where: Bool[Tensor, "h w"]) -> Float[Tensor, "h w 3"]:
    """The mean over a small square of what counts."""
    weight = where[None, None].float()
    planes = picture.permute(2, 0, 1)[None] * weight
    sums = [F.avg_pool2d(part, BLUR, 1, BLUR // 2) for part in (planes, weight)]
    return (sums[0] / sums[1].clamp_min(1e-6))[0].permute(1, 2, 0)
