"""What a detector sees in a frame: the landmarks of faces, and how much of every pixel is a person.

The 478 points are those of MediaPipe's face mesh with irises. "Left" and "right" are the person's own.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

POINTS = 478
RIGHT_EYE, LEFT_EYE = (33, 133, 159, 145), (263, 362, 386, 374)
"""Outer corner, inner corner, upper lid, lower lid."""
INNER_LIPS = (13, 14)
"""The middle of the upper lip's lower edge, and of the lower lip's upper edge."""
MOUTH_CORNERS = (61, 291)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
JAW = (58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288)
"""From the corner of the right jaw around the chin to that of the left."""
FOREHEAD, CHIN, NOSE_BRIDGE = 10, 152, 168
NOSE_WINGS = (98, 327)
TEMPLES = (234, 454)
"""Right and left, just before the ears."""
RIGID = (
    *(10, 67, 297, 109, 338, 151, 9, 8, 168, 6, 197, 195, 5, 4, 98, 327, 48, 278, 33, 133, 263, 362),
    *(127, 356, 162, 389, 21, 251, 54, 284, 103, 332, 234, 454, 116, 345, 117, 346),
)
"""Points that speech and blinking hardly move: forehead, nose, corners of the eyes, temples, cheekbones."""


@dataclass(frozen=True)
class Sight:
    """The faces in a frame, largest first, and the share of every pixel that is a person, 0 to 255.

    x to the right and y down in pixels, z away from the viewer in the same unit about the head's middle.
    """

    faces: tuple[Float[Tensor, "478 3"], ...]
    matte: UInt8[Tensor, "h w"]


@runtime_checkable
class Detector(Protocol):
    """Sees one frame after another of one film; it may remember the last ones. `close` gives back what it holds."""

    def __call__(self, frame: UInt8[Tensor, "h w 3"]) -> Sight: ...
    def close(self) -> None: ...


def extent(points: Float[Tensor, "478 3"]) -> tuple[float, float, float, float]:
    """The box of a face's landmarks: left, top, right, bottom."""
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def height(points: Float[Tensor, "478 3"]) -> float:
    """How tall a face's box is, in pixels."""
    _, top, _, bottom = extent(points)
    return bottom - top
