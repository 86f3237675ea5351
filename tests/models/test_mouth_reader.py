"""Kernel ridge regression against its formula, written out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.models import mouth_reader
from nerf3d.models.mouth_reader import APART, BELLS, MOST_GAIN, RIDGE, TRUSTED, WIDTH, MouthReader


def speech(frames: int, channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Windows of smooth noise, and a mouth that is a bent function of their middle."""
    rng = torch.Generator().manual_seed(seed)
    steps = torch.randn(2 * frames + 16, channels, generator=rng)
    steps = (steps + steps.roll(1, 0) + steps.roll(2, 0)) * torch.linspace(0.1, 3.0, channels) + 5.0
    windows = steps.unfold(0, 16, 2)[:frames].transpose(1, 2)
    middle = (windows[:, 7:9].mean(1) - 5.0) / torch.linspace(0.1, 3.0, channels)
    return windows.contiguous(), torch.stack([middle[:, 0].tanh(), middle[:, 1].square()], 1)


def test_it_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mouth_reader, "SHIFTS", (2,))
    windows, mouths = speech(60, 3)
    new, _ = speech(10, 3, seed=1)
    reader = MouthReader(3, 60)
    reader.learn(windows, mouths)
    steps = windows.reshape(-1, 3).double().numpy()

    def compared(w: Tensor, bell: float) -> np.ndarray:
        weight = np.exp(-0.5 * ((np.arange(16) - 9.5) / bell) ** 2)  # the middle is 7.5, and 2 later is asked for
        z = (w.double().numpy() - steps.mean(0)) / steps.std(0, ddof=1) * weight[:, None]
        return z.reshape(len(w), -1)

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    own, others = np.zeros((60, 60)), np.zeros((10, 60))
    for bell in BELLS:
        within = distances(compared(windows, bell), compared(windows, bell))
        flat = np.sort(within[within > 1e-9])
        median = flat[(len(flat) - 1) // 2]
        own += np.exp(-((within / median) ** 2) / WIDTH) / len(BELLS)
        across = distances(compared(new, bell), compared(windows, bell))
        others += np.exp(-((across / median) ** 2) / WIDTH) / len(BELLS)
    kernel = own + RIDGE * np.eye(60)
    y = mouths.double().numpy()
    weights = np.linalg.solve(kernel, y - y.mean(0))
    read = others @ weights
    guesses = np.empty_like(y)
    for begin in range(0, 60, 12):
        part = np.arange(begin, begin + 12)
        rest = np.array([i for i in range(60) if i < begin - APART or i > begin + 11 + APART])
        mean = y[rest].mean(0)
        guesses[part] = mean + kernel[np.ix_(part, rest)] @ np.linalg.solve(kernel[np.ix_(rest, rest)], y[rest] - mean)
    trust = [min(max(np.corrcoef(guesses[:, i], y[:, i])[0, 1] / TRUSTED, 0), 1) for i in range(2)]
    gain = 1 + np.array(trust) * ((y.std(0) / guesses.std(0)).clip(1, MOST_GAIN) - 1)
    expected = y.mean(0) + gain**2 * read
    np.testing.assert_allclose(reader(new).numpy(), expected, atol=8e-3)


def test_a_sound_that_comes_late_is_noticed() -> None:
    """The mouth follows the middle of a window; in windows that are cut 40 ms earlier that lies two steps later."""
    windows, mouths = speech(402, 2)
    early = torch.cat([torch.zeros(1, 16, 2), windows[:-1]])[2:]
    found = []
    for heard in (windows[2:], early):
        reader = MouthReader(2, 400)
        reader.learn(heard, mouths[2:])
        found.append(float(reader.shift))
    assert found[1] == found[0] + 2


def test_what_it_reads_spreads_as_far_as_the_truth() -> None:
    windows, mouths = speech(900, 2)
    noisy = mouths[:800] + torch.randn(800, 2, generator=torch.Generator().manual_seed(5))
    reader = MouthReader(2, 800)
    reader.learn(windows[:800], noisy)
    assert bool((reader.gain > 1.1).all())
    spread = (
        reader(windows[800:]).std(0) / reader.gain / noisy.std(0)
    )  # the head, which is to show it, takes that off again
    assert bool(((spread > 0.8) & (spread < 1.4)).all())


def test_a_sound_that_says_nothing_does_not_make_it_rave() -> None:
    windows, mouths = speech(600, 2)
    shuffled = mouths[torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    reader = MouthReader(2, 400)
    reader.learn(windows[:400], shuffled[:400])
    assert float(reader.gain.max()) < 1.2
    assert float((reader(windows[420:]).std(0) / mouths.std(0)).max()) < 0.75


def test_it_reads_what_it_has_not_heard() -> None:
    windows, mouths = speech(900, 2)
    reader = MouthReader(2, 800)
    reader.learn(windows[:800], mouths[:800])
    both = torch.stack([reader(windows[800:])[:, 0], mouths[800:, 0]])
    assert float(torch.corrcoef(both)[0, 1]) > 0.9
    wrong = torch.stack([reader(windows[800:].roll(50, 0))[:, 0], mouths[800:, 0]])
    assert abs(float(torch.corrcoef(wrong)[0, 1])) < 0.3


def test_unknown_mouths_are_left_out() -> None:
    windows, mouths = speech(40, 2)
    holes = mouths.clone()
    holes[::3] = torch.nan
    reader = MouthReader(2, 40)
    reader.learn(windows, holes)
    assert bool(reader(windows).isfinite().all())
    with pytest.raises(InputError, match="says nothing about the mouth"):
        reader.learn(windows, torch.full_like(mouths, torch.nan))


def test_many_channels_are_compared_by_their_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten channels that are mixtures of two say the same as the two."""
    monkeypatch.setattr(mouth_reader, "MOST_CHANNELS", 2)
    windows, mouths = speech(300, 2)
    mixed = windows @ torch.randn(2, 10, generator=torch.Generator().manual_seed(3))
    reader = MouthReader(10, 250)
    assert reader.windows.shape == (250, 32)
    reader.learn(mixed[:250], mouths[:250])
    both = torch.stack([reader(mixed[250:])[:, 0], mouths[250:, 0]])
    assert float(torch.corrcoef(both)[0, 1]) > 0.8


def test_long_films_keep_some_of_their_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mouth_reader, "MOST_WINDOWS", 100)
    windows, mouths = speech(400, 2)
    reader = MouthReader(2, 400)
    reader.learn(windows, mouths)
    assert reader.windows.shape[0] == 100
    both = torch.stack([reader(windows)[:, 0], mouths[:, 0]])
    assert float(torch.corrcoef(both)[0, 1]) > 0.7
