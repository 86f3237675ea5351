import pytest

from nerf3d.core.schedules import Constant, Decay, Ramp


def test_constant() -> None:
    assert [Constant(0.3)(at) for at in (-1.0, 0.0, 0.5, 7.0)] == [0.3] * 4


def test_ramp() -> None:
    ramp = Ramp(2.0, 10.0, begin=0.25, until=0.75)
    assert [ramp(at) for at in (0.0, 0.25, 0.375, 0.5, 0.75, 1.0, 9.0)] == [2.0, 2.0, 4.0, 6.0, 10.0, 10.0, 10.0]
    assert [Ramp(1.0, 0.0)(at) for at in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]


def test_decay_is_straight_in_the_logarithm() -> None:
    decay = Decay(1e-2, 1e-4)
    assert [decay(at) for at in (-1.0, 0.0, 0.5, 1.0, 3.0)] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4, 1e-4])
    assert Decay(1.0, 8.0, begin=1.0, until=4.0)(2.0) == pytest.approx(2.0)
