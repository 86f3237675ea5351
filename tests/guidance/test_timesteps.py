import pytest
import torch

from nerf3d.core.schedules import Constant, Ramp
from nerf3d.guidance.timesteps import Timesteps, draw_noise, weight

CPU = torch.device("cpu")


def test_random_ones_fill_their_range_evenly(rng: torch.Generator) -> None:
    timesteps = Timesteps(Constant(0.1), Ramp(0.9, 0.5))
    early = timesteps.draw(20000, 1000, 0.0, rng, CPU)
    assert (int(early.min()), int(early.max())) == (100, 899)
    assert early.double().mean() == pytest.approx(499.5, abs=8)
    late = timesteps.draw(20000, 1000, 1.0, rng, CPU)
    assert (int(late.min()), int(late.max())) == (100, 499)
    assert not torch.equal(timesteps.draw(4, 1000, 0.0, rng, CPU), timesteps.draw(4, 1000, 0.0, rng, CPU))


def test_without_chance_they_are_spread() -> None:
    assert Timesteps(Constant(0.0), Constant(1.0)).draw(4, 100, 0.3, None, CPU).tolist() == [12, 37, 62, 87]


def test_decreasing_ones_follow_the_root(rng: torch.Generator) -> None:
    timesteps = Timesteps(Constant(0.3), Constant(0.98), order="decreasing")
    for progress in (0.0, 0.25, 0.81, 1.0):
        expected = int((0.98 - 0.68 * progress**0.5) * 1000 + 1e-3)
        assert timesteps.draw(2, 1000, progress, rng, CPU).tolist() == [expected] * 2


def test_no_timestep_lies_outside(rng: torch.Generator) -> None:
    t = Timesteps(Constant(0.999), Constant(1.0)).draw(1000, 10, 0.0, rng, CPU)
    assert set(t.tolist()) == {9}


def test_weights() -> None:
    alpha_bar = torch.tensor([0.25, 0.81])
    assert weight("variance", alpha_bar).flatten().tolist() == pytest.approx([0.75, 0.19])
    assert weight("uniform", alpha_bar).flatten().tolist() == [1.0, 1.0]
    assert weight("fantasia3d", alpha_bar).flatten().tolist() == pytest.approx([0.375, 0.171])


def test_noise(rng: torch.Generator) -> None:
    like = torch.zeros(2, 3, 64, 64)
    one, other = draw_noise(like, rng), draw_noise(like, rng)
    assert one.std() == pytest.approx(1, abs=0.02)
    assert not torch.equal(one, other)
    assert torch.equal(draw_noise(like, None), draw_noise(like, None))
