"""What the person's mouth and eyes do, from pixels alone: for films that a model made, where no landmarks are known.

Nothing else in the picture has the magenta of lips, tongue and cavity, and nothing above the mouth but the irises is blue.
How tall the mouth is, how wide it is and how much of the irises can be seen gives opening, rounding and blink, by straight
lines that were fitted to a true film of 256 x 256 (correlations 0.997, 0.99 and 0.98). Made for pictures by the person's own
camera, at any size from some 128 pixels on, with the head within some 15 degrees.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MAGENTA, BLUE = (0.09, 0.20), (0.06, 0.14)
"""Where a colour begins to count, and counts wholly."""
OPENING = (-0.692, 14.95)
"""Offset, and slope by the mouth's height."""
ROUNDING = (2.648, -4.158, -18.85)
"""Offset, and slopes by its height and its width."""
OPEN_EYES = 0.0030
"""Where the irises cover so much, the eyes count as open; the lids cover them in proportion."""


@dataclass(frozen=True)
class Measured:
    """One frame. All in 0..1, the mouth's a little beyond at times; NaN where the picture shows no mouth."""

    opening: float
    rounding: float
    blink: float


def measured(picture: Float[Tensor, "h w 3"]) -> Measured:
    """Measure a picture with values in [0, 1]."""
    tall, wide, iris = extents(picture)
    opening = OPENING[0] + OPENING[1] * tall
    rounding = ROUNDING[0] + ROUNDING[1] * tall + ROUNDING[2] * wide
    return Measured(opening, rounding, math.nan if math.isnan(iris) else max(1 - iris / OPEN_EYES, 0.0))


def extents(picture: Float[Tensor, "h w 3"]) -> tuple[float, float, float]:
    """The height and the width of the mouth in heights of the picture, and the area of the irises in its squares.

    The height is that of the middle half. The width is sqrt(12) standard deviations: that of the rectangle which spreads
    as much.
    """
    height, width = picture.shape[:2]
    red, green, blue = picture.unbind(-1)
    total = picture.sum(-1) + 0.05
    y, x = (torch.arange(n, dtype=picture.dtype) + 0.5 for n in (height, width))
    mouth = _counts((red - 2 * green + blue) / total, *MAGENTA)
    # Where most of it is together, lest a few brown hairs count.
    side = 2 * round(0.06 * height) + 1
    densest = int(F.avg_pool2d(mouth[None], side, 1, side // 2).argmax())
    middle_y, middle_x = densest // width + 0.5, densest % width + 0.5
    mouth = mouth * _window(y - middle_y, 0.12 * height)[:, None] * _window(x - middle_x, 0.13 * height)
    mass = mouth.sum()
    if float(mass) < 5e-4 * height**2:
        return math.nan, math.nan, math.nan
    down, across = mouth.sum(1) / mass, mouth.sum(0) / mass
    wide = (12 * (across @ (x - across @ x).square())).sqrt()
    # Teeth are not magenta, but have lips above and below.
    filled = torch.minimum(mouth.cummax(0).values, mouth.flip(0).cummax(0).values.flip(0))
    central = _window(x - across @ x, 0.25 * float(wide))
    tall = (filled.sum(0) @ central) / central.sum()
    # The eyes are in a window above the mouth, as wide as the face.
    eyes = _window(y - (down @ y) + 0.175 * height, 0.105 * height)[:, None] * _window(x - across @ x, 0.15 * height)
    iris = _counts((blue - red) / total, *BLUE) * eyes
    return float(tall) / height, float(wide) / height, float(iris.sum()) / height**2


def _window(offset: Float[Tensor, "n"], half: float) -> Float[Tensor, "n"]:
    return (offset.abs() < half).to(offset.dtype)


def _counts(x: Tensor, begin: float, whole: float) -> Tensor:
    return ((x - begin) / (whole - begin)).clamp(0, 1)
