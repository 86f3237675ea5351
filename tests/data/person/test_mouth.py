"""The mouth hears the sound, the sound around it alone, and nothing where there is nothing."""

import math

import torch
from torch import Tensor

from nerf3d.data.person.film import UNHEARD, VOICE
from nerf3d.data.person.mouth import LEAD, LOUD, QUIET, SLICE, SMOOTHING, STEP, mouth
from nerf3d.data.sound import RATE, read_sound


def tone(*parts: tuple[float, float], seconds: float = 1.0) -> Tensor:
    """Sines with these (hertz, height)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return sum((height * torch.sin(2 * math.pi * hertz * time) for hertz, height in parts), torch.zeros_like(time))


def test_silence_keeps_it_shut() -> None:
    moved = mouth(torch.zeros(RATE), 25)
    assert float(moved.opening.abs().max()) == 0
    assert float(moved.rounding.abs().max()) == 0
    assert len(mouth(torch.zeros(0), 0).opening) == 0
    assert float(mouth(torch.zeros(0), 5).opening.max()) == 0


def test_it_opens_with_the_logarithm_of_the_loudness() -> None:
    for level in (-37.0, -27.0, -17.0):
        opening = float(mouth(tone((700, 10 ** (level / 20))), 25).opening[12])
        assert abs(opening - (level - QUIET) / (LOUD - QUIET)) < 0.01


def test_vowels_are_told_apart() -> None:
    """Formants: an open "ah", a spread "ee", a round "oo"."""
    ah = mouth(tone((730, 0.2), (1090, 0.1), (2440, 0.03)), 25)
    ee = mouth(tone((270, 0.2), (2290, 0.06), (3010, 0.06)), 25)
    oo = mouth(tone((300, 0.2), (480, 0.06), (870, 0.05)), 25)
    assert float(ah.opening[12]) > 0.6 > float(ee.opening[12]) + 0.2
    assert float(oo.rounding[12]) > 0.8 > 0.5 > float(ee.rounding[12])


def test_it_hears_what_is_around_the_moment_and_nothing_else() -> None:
    rng = torch.Generator().manual_seed(0)
    sound = 0.1 * torch.randn(RATE, generator=rng)
    before = mouth(sound, 25)
    reach = SMOOTHING / 2 + SLICE / 2 / RATE
    changed = sound.clone()
    changed[8000:8400] = 0
    after = mouth(changed, 25)
    time = torch.arange(25) / 25
    may = (time + LEAD + reach > 8000 / RATE) & (time + LEAD - reach < 8400 / RATE)
    differs = (before.opening != after.opening) | (before.rounding != after.rounding)
    assert not bool((differs & ~may).any())
    assert int(differs.sum()) >= 3


def test_it_runs_ahead_of_the_sound() -> None:
    burst = torch.zeros(RATE)
    burst[7600:8400] = tone((700, 0.3), seconds=0.05)  # its middle is at half a second
    opening = mouth(burst, 100, fps=100.0).opening
    middle = float((opening @ torch.arange(100.0)) / opening.sum()) / 100
    assert abs(middle - (0.5 - LEAD)) < 0.006


def test_against_a_slow_reference() -> None:
    """One frame's opening, term by term."""
    rng = torch.Generator().manual_seed(1)
    sound = 0.05 * torch.randn(RATE // 2, generator=rng)
    center = round((5 / 25 + LEAD) * RATE)
    window = torch.hann_window(SLICE, dtype=torch.float64)
    n = torch.arange(SLICE, dtype=torch.float64)
    half = round(SMOOTHING * RATE / STEP / 2)
    total = weights = 0.0
    for k in range(-half, half + 1):
        begin = center + k * STEP - SLICE // 2
        piece = sound[begin : begin + SLICE].double() * window
        power = 0.0
        for bin in range(SLICE // 2 + 1):
            if 450 <= bin * RATE / SLICE <= 1100:
                angle = 2 * math.pi * bin * n / SLICE
                power += float((piece @ torch.cos(angle)) ** 2 + (piece @ torch.sin(angle)) ** 2)
        level = 10 * math.log10(4 * power / (SLICE * float(window.square().sum())))
        weight = 0.5 + 0.5 * math.cos(math.pi * k / half)
        total += weight * min(max((level - QUIET) / (LOUD - QUIET), 0), 1)
        weights += weight
    assert abs(float(mouth(sound, 6).opening[5]) - total / weights) < 1e-4


def test_the_voices_use_the_whole_mouth() -> None:
    for file, least in ((VOICE, 23.0), (UNHEARD, 6.0)):
        sound = read_sound(file)
        assert len(sound) > least * RATE
        moved = mouth(sound, int(len(sound) / RATE * 25))
        for x in (moved.opening, moved.rounding):
            assert float(x.quantile(0.1)) < 0.05
            assert float(x.quantile(0.95)) > 0.75
        assert abs(float(torch.corrcoef(torch.stack([moved.opening, moved.rounding]))[0, 1])) < 0.7
    assert sum(file.stat().st_size for file in (VOICE, UNHEARD)) < 300_000
