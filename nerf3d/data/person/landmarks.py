"""Points on the person's face, numbered like MediaPipe's (its 468 face points and, from 468 on, the irises).

Left and right are the picture's: 33 is the outer corner of the eye at negative x, 61 the corner of the mouth there.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.person import anatomy as a
from nerf3d.data.person.anatomy import Expression, Features, features

INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
"""Left corner, along the upper lip's edge to the right corner, and back along the lower lip's."""
OUTER_LIPS = (61, 37, 0, 267, 291, 314, 17, 84)
LEFT_EYE = (33, 160, 159, 158, 133, 153, 145, 144)
"""Outer corner, along the upper lid to the inner corner, and back along the lower lid."""
RIGHT_EYE = (263, 387, 386, 385, 362, 380, 374, 373)
LEFT_BROW, RIGHT_BROW = (70, 63, 105, 66, 107), (300, 293, 334, 296, 336)
"""From the outer end inwards."""
NOSE = (168, 6, 4, 1, 98, 327)
"""The bridge between the eyes, the ridge, the tip, below it, and the wings."""
JAW = (152, 172, 397)
"""The chin and the angles of the jaw. The chin moves with the mouth."""
FACE = (9, 151, 50, 280, 234, 454)
"""Between the brows, forehead, cheekbones, in front of the ears."""
CHEEKS = (205, 425)
"""The jaw draws them a little."""
IRISES = (468, 473)

NUMBERS = (
    *INNER_LIPS,
    *OUTER_LIPS,
    *LEFT_EYE,
    *RIGHT_EYE,
    *LEFT_BROW,
    *RIGHT_BROW,
    *NOSE,
    *JAW,
    *FACE,
    *CHEEKS,
    *IRISES,
)
"""The order in which `landmarks` gives the points."""
RIGID = (33, 133, 362, 263, *LEFT_BROW, *RIGHT_BROW, *NOSE, *FACE)
"""Those that no expression moves: what a head's pose is found from."""

_RIGHT_FACE = ((0.13, -0.07), (0.185, -0.05), (0.105, -0.13))


def landmarks(face: Expression) -> Float[Tensor, "k 3"]:
    """The points in the head's frame, on its surface.

    >>> shut, wide = landmarks(Expression()), landmarks(Expression(opening=1.0))
    >>> upper, lower = NUMBERS.index(13), NUMBERS.index(14)
    >>> round(float((shut[upper] - shut[lower]).norm()), 3), round(float(wide[upper, 2] - wide[lower, 2]), 3)
    (0.002, 0.082)
    """
    f = features(face)
    flat = [*_brow(-1), *_brow(1), (0.0, 0.015), (0.0, -0.03), (0.0, -0.097), (0.0, -0.13)]
    flat += [(-0.045, -0.112), (0.045, -0.112)]
    flat += [(0.0, -0.318 - f.drop), (-0.15, -0.2), (0.15, -0.2), (0.0, 0.075), (0.0, 0.11)]
    flat += [(sign * x, z) for x, z in _RIGHT_FACE for sign in (-1, 1)]
    irises = [(sign * a.EYE[0], a.EYE[1] - a.EYE_RADIUS, a.EYE[2]) for sign in (-1, 1)]
    return torch.cat(
        [
            torch.tensor(_inner_lips(f)),
            _on_skin(_outer_lips(f), f),
            torch.tensor(_lids(f, -1) + _lids(f, 1)),
            _on_skin(flat, f),
            torch.tensor(irises),
        ]
    )


def _brow(sign: int) -> list[tuple[float, float]]:
    return [(sign * x, z) for x, z in ((0.158, 0.073), (0.137, 0.086), (0.105, 0.0955), (0.075, 0.097), (0.040, 0.078))]


def _mouth_line(f: Features, share: float, rise: float) -> float:
    """z of a parabola through the mouth's corners at a share of the half width."""
    return a.MOUTH[2] + f.smile * share**2 + rise * (1 - share**2)


def _inner_lips(f: Features) -> list[tuple[float, float, float]]:
    """The edges of the opening, where a lip's round section is cut 0.9 of its radius from its middle."""
    points = []
    for share, side in ((-1.0, 0), (-0.3, 1), (0.0, 1), (0.3, 1), (1.0, 0), (0.3, -1), (0.0, -1), (-0.3, -1)):
        thick = (a.UPPER_LIP if side > 0 else a.LOWER_LIP) * (1 - 0.75 * share**2)
        x, rise = share * f.half_width, f.above if side > 0 else -f.below
        y = f.front + a.MOUTH_CURVATURE * x**2 + 0.003 - (1 - 0.9**2) ** 0.5 * thick
        points.append((x, y, _mouth_line(f, share, rise)))
    return points


def _outer_lips(f: Features) -> list[tuple[float, float]]:
    """Where the lips meet the skin."""
    points = []
    for share, side in ((-1.04, 0), (-0.45, 1), (0.0, 1), (0.45, 1), (1.04, 0), (0.45, -1), (0.0, -1), (-0.45, -1)):
        inner, thick = (f.above, a.UPPER_LIP) if side > 0 else (f.below, a.LOWER_LIP)
        rise = side * (inner + 1.8 * thick)
        points.append((share * f.half_width, _mouth_line(f, min(max(share, -1.0), 1.0), rise)))
    return points


def _lids(f: Features, sign: int) -> list[tuple[float, float, float]]:
    """The edges of the lids, on the lids' ball."""
    points = []
    for share, side in ((1.0, 0), (0.5, 1), (0.0, 1), (-0.5, 1), (-1.0, 0), (-0.5, -1), (0.0, -1), (0.5, -1)):
        across = share * a.EYE_HALF_WIDTH
        up = (1 - share**2) * (f.upper_lid if side > 0 else f.lower_lid) + a.EYE_TILT * across
        front = (a.LID_RADIUS**2 - across**2 - up**2) ** 0.5
        points.append((sign * (a.EYE[0] + across), a.EYE[1] - front, a.EYE[2] + up))
    return points


def _on_skin(flat: list[tuple[float, float]], f: Features) -> Float[Tensor, "n 3"]:
    """The points of the skin that are seen from the front at these x and z."""
    from nerf3d.data.person import shape_numba

    x, z = torch.tensor(flat, dtype=torch.float64).unbind(-1)
    y = torch.empty_like(x)
    shape_numba.fronts(x.contiguous().numpy(), z.contiguous().numpy(), f, y.numpy())
    return torch.stack([x, y, z], -1).float()
