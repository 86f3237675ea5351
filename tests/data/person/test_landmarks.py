"""The landmarks lie on the face, keep their numbers, and move with what moves them."""

import numpy as np
import torch

from nerf3d.data.person import shape_numba
from nerf3d.data.person.anatomy import Expression, features
from nerf3d.data.person.landmarks import INNER_LIPS, IRISES, LEFT_EYE, NUMBERS, RIGHT_EYE, RIGID, landmarks

TALKING = Expression(opening=0.8, rounding=0.3, blink=0.6)
MIRRORED = {61: 291, 78: 308, 33: 263, 133: 362, 159: 386, 145: 374, 70: 300, 107: 336, 98: 327, 172: 397, 468: 473}


def at(points: torch.Tensor, number: int) -> torch.Tensor:
    return points[NUMBERS.index(number)]


def test_every_number_occurs_once() -> None:
    assert len(set(NUMBERS)) == len(NUMBERS) == len(landmarks(Expression()))
    assert set(RIGID) <= set(NUMBERS)


def test_they_lie_on_the_surface() -> None:
    for face in (Expression(), TALKING, Expression(opening=1.0, rounding=1.0, blink=1.0)):
        f = features(face)
        for number, (x, y, z) in zip(NUMBERS, landmarks(face).double().tolist()):
            gap = shape_numba.skin(x, y, z, f)
            if number in IRISES:
                assert abs(shape_numba.eyes(x, y, z)) < 1e-5
            else:  # the soft union lifts lips and lids by a little
                assert abs(gap) < (0.008 if number in (*INNER_LIPS, *LEFT_EYE, *RIGHT_EYE) else 1e-4), number


def test_right_mirrors_left() -> None:
    points = landmarks(TALKING)
    for left, right in MIRRORED.items():
        torch.testing.assert_close(at(points, left) * torch.tensor([-1.0, 1, 1]), at(points, right))
        assert float(at(points, left)[0]) < 0


def test_rigid_ones_stay_and_others_go() -> None:
    rest, talking = landmarks(Expression()), landmarks(TALKING)
    for number in RIGID:
        torch.testing.assert_close(at(rest, number), at(talking, number), atol=2e-4, rtol=0)
    for number in (13, 14, 17, 61, 152, 159, 386):
        assert float((at(rest, number) - at(talking, number)).norm()) > 0.005, number


def test_gaps_say_what_the_face_does() -> None:
    def gaps(face: Expression) -> np.ndarray:
        points = landmarks(face)
        pairs = ((13, 14), (61, 291), (159, 145))
        return np.array([float((at(points, a) - at(points, b)).norm()) for a, b in pairs])

    mouth, width, eye = gaps(Expression())
    assert mouth < 0.003
    assert abs(gaps(Expression(opening=0.5))[0] - 0.041) < 0.003
    assert gaps(Expression(rounding=1.0))[1] < 0.65 * width
    assert gaps(Expression(blink=1.0))[2] < 0.01 < 0.05 < eye
