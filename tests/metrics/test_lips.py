"""Mouths whose delay, spread and dependence on the sound are known."""

import math

import numpy as np
import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.metrics.lips import correlation, ridge_baseline, shuffled, sound_offset, spread

NAN = float("nan")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def talking(moment: torch.Tensor) -> torch.Tensor:
    """A mouth that can be asked between frames too: five tones up to 4 Hz at 25 frames a second, none in step."""
    return sum(torch.sin(2 * math.pi * f / 25 * moment + 3 * f * f) for f in (0.7, 1.3, 1.9, 2.9, 4.0))


def test_correlation_is_numpys_whatever_scale_and_level() -> None:
    a, b = noise(50), noise(50, seed=1)
    expected = np.corrcoef(a.double(), b.double())[0, 1]
    assert correlation(a, b) == pytest.approx(expected, abs=1e-12)
    assert correlation(3 * a + 7, -2 * b) == pytest.approx(-expected, abs=1e-6)
    assert correlation(a, 5 * a - 2) == pytest.approx(1.0)


def test_frames_without_a_face_are_left_out_of_both() -> None:
    a, b = noise(50), noise(50, seed=1)
    holes_a, holes_b = a.clone(), b.clone()
    holes_a[3], holes_b[7] = NAN, NAN
    kept = [i for i in range(50) if i not in (3, 7)]
    assert correlation(holes_a, holes_b) == correlation(a[kept], b[kept]) != correlation(a, b)
    assert spread(holes_a, holes_b) == spread(a[kept], b[kept]) != spread(a, b)


def test_what_does_not_move_follows_nothing() -> None:
    a, still = noise(50), torch.full((50,), 0.1)
    assert correlation(a, still) == correlation(still, a) == correlation(still, still) == 0.0
    assert correlation(a * NAN, a) == 0.0
    assert correlation(a[:1], a[:1]) == 0.0
    assert spread(still, a) == 0.0
    assert spread(a, still) is None
    assert spread(a, a * NAN) is None


def test_spread_is_the_ratio_of_deviations() -> None:
    a, b = noise(50), noise(50, seed=1)
    assert spread(0.3 * a + 2, a) == pytest.approx(0.3, rel=1e-6)
    assert spread(a, b) == pytest.approx(np.std(a.double().numpy()) / np.std(b.double().numpy()))


@pytest.mark.parametrize("late", [0.0, 3.0, -3.0, 9.0, -9.0, 2.4, -0.3, 0.5])
@pytest.mark.parametrize("fps", [25.0, 50.0])
def test_a_late_mouth_has_a_positive_offset(late: float, fps: float) -> None:
    moment = torch.arange(200.0, dtype=torch.float64)
    true, film = talking(moment), 0.4 * talking(moment - late) + 0.1
    assert sound_offset(film, true, fps) == pytest.approx(late * 1000 / fps, abs=0.05 * 1000 / fps)


def test_the_offset_in_noise_and_with_holes() -> None:
    moment = torch.arange(400.0)
    true, film = talking(moment), talking(moment - 4) + noise(400)
    true[50:60], film[200] = NAN, NAN
    assert sound_offset(film, true, 25.0) == pytest.approx(160, abs=20)


def test_the_offset_is_judged_by_the_frames_that_all_lags_share() -> None:
    """What the truth does in the first and last frames cannot matter; with full overlap it would."""
    true, film = talking(torch.arange(100.0)), talking(torch.arange(100.0) - 2)
    wild = true.clone()
    wild[:10], wild[-10:] = 100.0, -100.0
    assert sound_offset(film, wild, 25.0) == sound_offset(film, true, 25.0)


def test_no_offset_is_told_where_there_is_none() -> None:
    moment = torch.arange(200.0)
    true = talking(moment)
    assert sound_offset(torch.full((200,), 0.2), true, 25.0) is None
    assert sound_offset(true * NAN, true, 25.0) is None
    assert sound_offset(moment.square().neg(), moment, 25.0) is None  # at no lag do they rise together
    slow = torch.sin(moment / 30)
    assert sound_offset(slow.roll(14), slow, 25.0) is None  # the best would lie beyond
    assert sound_offset(true[:39], true[:39], 25.0) is None
    assert sound_offset(true[:40], true[:40], 25.0) == pytest.approx(0, abs=4)
    with pytest.raises(InputError, match="at least 1"):
        sound_offset(true, true, 25.0, most=0)


def test_of_equally_good_lags_the_least_is_taken() -> None:
    """A mouth that repeats itself every 6 frames, to the bit."""
    true = torch.tensor([0.0, 1.0, 3.0, 4.0, 2.0, 1.0]).repeat(20)
    assert abs(sound_offset(true.roll(1), true, 25.0) - 40) < 20


def explicit_ridge(x: np.ndarray, y: np.ndarray, asked: np.ndarray, strength: float) -> np.ndarray:
    """The minimum with an intercept that is not penalised: one system of normal equations for both."""
    mean, deviation = x.mean(0), x.std(0)
    z, q = (np.column_stack([np.ones(len(t)), (t - mean) / deviation]) for t in (x, asked))
    penalty = strength * len(x) * np.eye(z.shape[1])
    penalty[0, 0] = 0.0
    return q @ np.linalg.inv(z.T @ z + penalty) @ z.T @ y


@pytest.mark.parametrize("frames", [200, 9])  # more and fewer than a window has numbers
@pytest.mark.parametrize("strength", [0.05, 1.0, 20.0])
def test_ridge_equals_the_normal_equations(frames: int, strength: float) -> None:
    sound, asked = 3 * noise(frames, 4, 5) + 2, noise(30, 4, 5, seed=1)
    opening = sound[:, 1, 2] + 0.5 * noise(frames, seed=2)
    flat, q = (t.flatten(1).double().numpy() for t in (sound, asked))
    expected = explicit_ridge(flat, opening.double().numpy(), q, strength)
    np.testing.assert_allclose(ridge_baseline(sound, opening, asked, strength).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_ridge_hears_what_is_there_and_the_control_does_not() -> None:
    sound, heard = noise(1000, 16, 4), noise(300, 16, 4, seed=1)
    opening, true = (t[:, 7, 1] - t[:, 9, 2] + noise(len(t), seed=5) for t in (sound, heard))
    r = correlation(ridge_baseline(sound, opening, heard), true)
    assert r == pytest.approx(math.sqrt(2 / 3), abs=0.08)  # two parts in three are in the sound
    assert abs(correlation(ridge_baseline(sound, opening, shuffled(heard)), true)) < 0.15


def test_unknown_openings_and_dead_channels_do_not_matter() -> None:
    sound, asked = noise(100, 4, 5), noise(20, 4, 5, seed=1)
    opening = sound[:, 0, 0].clone()
    holes = opening.clone()
    holes[60:] = NAN
    some = ridge_baseline(sound[:60], opening[:60], asked)
    torch.testing.assert_close(ridge_baseline(sound, holes, asked), some)
    dead, loud = (torch.cat([t, torch.full((len(t), 4, 1), v)], -1) for t, v in ((sound, 0.1), (asked, 50.0)))
    torch.testing.assert_close(ridge_baseline(dead, holes, loud), some)
    silent = ridge_baseline(torch.zeros(3, 4, 5), torch.tensor([1.0, 2.0, 6.0]), asked)
    assert silent.tolist() == [3.0] * 20


def test_ridge_refuses_what_it_cannot_learn_from() -> None:
    sound = noise(10, 4, 5)
    with pytest.raises(InputError, match="positive"):
        ridge_baseline(sound, sound[:, 0, 0], sound, 0.0)
    with pytest.raises(InputError, match="fewer than two"):
        ridge_baseline(sound, torch.full((10,), NAN), sound)


@pytest.mark.parametrize("frames", [2, 7, 8])
def test_shuffled_gives_every_frame_the_sound_of_another(frames: int) -> None:
    sound = noise(frames, 3, 2)
    rolled = shuffled(sound)
    assert all(torch.equal(rolled[(i + frames // 2) % frames], sound[i]) for i in range(frames))
    assert torch.equal(sound[shuffled(torch.arange(frames))], rolled)
    assert not bool((shuffled(torch.arange(frames)) == torch.arange(frames)).any())
    with pytest.raises(InputError, match="two frames"):
        shuffled(sound[:1])
