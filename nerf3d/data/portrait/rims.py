"""Mattes reach a pixel or two too far, and what they take along of the old background shows before a new one.

Where the background is known, so is the share of it in a mixed pixel: I = a F + (1 - a) B, with the person's own colour F
from a little further inside (as Smith and Blinn's matting has it, 1996, with B known and F a guess).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

INNER, REACH = 3, 6
"""In pictures of 256 pixels: so far inside a matte nothing of the background is left; from so far around, colours are
taken."""
DISTINCT = 40.0
"""By how much (0 to 255) the colours of person and background must differ for their shares to be told."""


def without_background(
    image: UInt8[Tensor, "h w 3"], matte: UInt8[Tensor, "h w"], plate: UInt8[Tensor, "h w 3"]
) -> UInt8[Tensor, "h w"]:
    """The matte, made smaller along its rim where the picture shows the background there; larger nowhere."""
    scale = max(image.shape[0] / 256, 1 / INNER)
    inner, reach = round(INNER * scale), round(REACH * scale)
    shown, behind, share = _planes(image), _planes(plate), matte.float()[None, None] / 255
    core = (-F.max_pool2d(-share, 2 * inner + 1, 1, inner) > 0.99).float()
    count = _around(core, reach)
    own = _around(shown * core, reach) / count.clamp_min(1e-6)
    apart = own - behind
    square = apart.square().sum(1, keepdim=True)
    told = ((shown - behind) * apart).sum(1, keepdim=True) / square.clamp_min(1.0)
    rim = (count > 1e-4) & (core == 0) & (square > DISTINCT**2)
    better = torch.where(rim, torch.minimum(share, told.clamp(0, 1)), share)
    return (255 * better[0, 0]).round().to(torch.uint8)


def _planes(picture: UInt8[Tensor, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    return picture.permute(2, 0, 1)[None].float()


def _around(values: Float[Tensor, "1 c h w"], reach: int) -> Float[Tensor, "1 c h w"]:
    """The mean over a square; beyond the picture it goes on as at its border."""
    return F.avg_pool2d(F.pad(values, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)
