"""Measures of the face: what its shape, its colours and its landmarks must agree about."""

from dataclasses import dataclass
from typing import NamedTuple

EYE = (0.098, -0.168, 0.0)
"""The middle of the eye at positive x."""
EYE_RADIUS, LID_RADIUS = 0.063, 0.070
EYE_HALF_WIDTH = 0.056
IRIS_RADIUS, PUPIL_RADIUS = 0.029, 0.0125
UPPER_LID, LOWER_LID, CLOSED_LID = 0.033, -0.025, -0.017
"""How high above the eye's middle the middles of the lids' edges stand, open and closed."""
EYE_TILT = 0.06
"""How much the line between the eye's corners rises outwards."""

MOUTH = (0.0, -0.240, -0.205)
"""The middle of the closed lips, on the surface."""
MOUTH_CURVATURE = 2.6
"""The lips run back by this times the square of x."""
MOUTH_HALF_WIDTH = 0.088
UPPER_LIP, LOWER_LIP = 0.0125, 0.0165
"""Half of their thickness in the middle; in the corners it is a quarter of that."""
JAW_DROP = 0.034


@dataclass(frozen=True)
class Expression:
    """What the face does, all in 0..1: how far the mouth is open, how round the lips are, how far the eyes are shut."""

    opening: float = 0.0
    rounding: float = 0.0
    blink: float = 0.0


class Features(NamedTuple):
    """The same in lengths. The edges of the mouth's opening and of the lids are parabolas, rise * (1 - (x / half_width)^2),
    that meet in the corners.
    """

    half_width: float
    """Of the mouth."""
    above: float
    below: float
    """How far the opening reaches above and below the line of the closed lips."""
    front: float
    """y of the lips' middle."""
    smile: float
    """How much higher the corners are than the middle."""
    drop: float
    """How far the jaw is lowered."""
    upper_lid: float
    lower_lid: float


def features(face: Expression) -> Features:
    """Round lips are narrow and stand out; an open mouth is open downwards; shut lids meet below the middle.

    >>> features(Expression()).below, features(Expression(1.0)).below
    (0.0, 0.062)
    """
    opening, rounding, blink = face.opening, face.rounding, face.blink
    return Features(
        half_width=MOUTH_HALF_WIDTH * (1 - 0.42 * rounding - 0.06 * opening),
        above=0.020 * opening + 0.004 * opening * rounding,
        below=0.062 * opening,
        front=MOUTH[1] - 0.018 * rounding,
        smile=0.021 * (1 - rounding) * (1 - 0.4 * opening),
        drop=JAW_DROP * opening,
        upper_lid=UPPER_LID + (CLOSED_LID - UPPER_LID) * blink,
        lower_lid=LOWER_LID + (CLOSED_LID - LOWER_LID) * blink,
    )
