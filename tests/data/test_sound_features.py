import math

import pytest
import torch
from test_sound import tone

from nerf3d.data.sound import RATE
from nerf3d.data.sound_features import (
    BLOCK,
    FILTER_BANK,
    LOG_MEL,
    MFCC,
    FeatureKind,
    Spectrum,
    cosines,
    mel_filters,
    sound_windows,
    steps_of,
    windows_of,
)
from nerf3d.errors import InputError

KINDS = pytest.mark.parametrize("kind", [LOG_MEL, FILTER_BANK, MFCC], ids=str)


def steps(sound: torch.Tensor, kind: FeatureKind = LOG_MEL) -> torch.Tensor:
    return torch.cat(list(steps_of([sound], Spectrum(kind))))


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_lands_in_its_mel_band(hertz: float) -> None:
    middle = steps(tone(1.0, hertz))[10:40].mean(0)
    ends = [2595 * math.log10(1 + f / 700) for f in (LOG_MEL.lowest, LOG_MEL.highest)]
    expected = (2595 * math.log10(1 + hertz / 700) - ends[0]) / (ends[1] - ends[0]) * (LOG_MEL.bands + 1) - 1
    assert abs(int(middle.argmax()) - expected) <= 1


def test_the_power_of_a_tone_is_the_closed_form() -> None:
    """A sine of amplitude a in the middle of a line: a^2 / 4 there, a quarter of that in both neighbours (Hann)."""
    line = RATE / 512
    hertz = 32 * line
    filters = mel_filters(LOG_MEL.bands, LOG_MEL.lowest, LOG_MEL.highest)
    power = torch.zeros(257, dtype=torch.float64)
    power[31:34] = torch.tensor([0.25, 1.0, 0.25]) * 0.5**2 / 4
    expected = torch.log10(1 + power @ filters / 1e-8) / 8
    heard = steps(tone(1.0, hertz))[20].double()
    torch.testing.assert_close(heard[expected > 0.3], expected[expected > 0.3], atol=1e-4, rtol=0)


@KINDS
def test_silence_is_zero(kind: FeatureKind) -> None:
    windows = sound_windows(torch.zeros(RATE), Spectrum(kind))
    assert windows.shape == (25, 16, kind.channels)
    assert bool((windows == 0).all())


def test_filters_are_triangles_of_height_one_without_deaf_bands() -> None:
    for kind in (LOG_MEL, FILTER_BANK):
        filters = mel_filters(kind.bands, kind.lowest, kind.highest)
        assert float(filters.min()) >= 0
        assert float(filters.max()) <= 1
        assert bool((filters.max(0).values > 0.3).all())
        peaks = filters.argmax(0)
        assert bool((peaks.diff() >= 0).all())


def test_mfcc_is_the_cosine_transform_of_the_filter_bank() -> None:
    sound = torch.randn(RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    from scipy.fft import dct

    bands = steps(sound, FILTER_BANK).double().numpy()
    expected = torch.from_numpy(dct(bands, type=2, norm="ortho", axis=1)[:, :13]).float()
    torch.testing.assert_close(steps(sound, MFCC), expected, atol=1e-5, rtol=0)
    assert cosines(26, 13).shape == (26, 13)


@KINDS
def test_forty_milliseconds_later_is_one_frame_later(kind: FeatureKind) -> None:
    sound = torch.randn(RATE, generator=torch.Generator().manual_seed(1)) * 0.1
    sound[:1000] = sound[-1000:] = 0
    later = torch.cat([torch.zeros(640), sound])
    here, there = (sound_windows(s, Spectrum(kind)) for s in (sound, later))
    torch.testing.assert_close(there[1 : len(here)], here[: len(here) - 1])


def test_a_click_at_a_frame_is_in_the_middle_of_its_window() -> None:
    for frame in (0, 7, 24):
        sound = torch.zeros(RATE + 640)
        sound[640 * frame] = 1.0
        window = sound_windows(sound, Spectrum())[frame].sum(1)
        heard = torch.nonzero(window > 0)[:, 0].tolist()
        assert heard == ([8] if frame == 0 else [7, 8])  # before the sound begins there is nothing


@pytest.mark.parametrize("size", [317, 16_000, 160_000, 400_000])
def test_chunk_by_chunk_the_numbers_are_the_same(size: int) -> None:
    """Across two borders of blocks, and with a last step that is not whole."""
    sound = torch.randn(2 * BLOCK * 320 + 12_345, generator=torch.Generator().manual_seed(2)) * 0.1
    whole = sound_windows(sound, Spectrum())
    pieces = torch.cat(list(windows_of(steps_of(sound.split(size), Spectrum()))))
    assert torch.equal(whole, pieces)
    assert len(whole) == -(-len(sound) // 640)
    alone = Spectrum()(torch.nn.functional.pad(sound, (320, 640)))[1:-1]  # without blocks
    torch.testing.assert_close(torch.cat(list(steps_of([sound], Spectrum()))), alone[: -(-len(sound) // 320)])


def test_windows_are_the_sixteen_steps_around_the_frame() -> None:
    """Against the definition: steps 2k - 8 to 2k + 7, zeros outside."""
    given = torch.arange(1.0, 41.0)[:, None].expand(40, 3)
    windows = torch.cat(list(windows_of([given[:9], given[9:10], given[10:]])))
    assert windows.shape == (20, 16, 3)
    for k in range(20):
        for j in range(16):
            step = 2 * k - 8 + j
            assert float(windows[k, j, 0]) == (step + 1 if 0 <= step < 40 else 0)


@pytest.mark.parametrize("frames", [3, 25, 40, 2000])
def test_a_film_longer_or_shorter_than_its_sound(frames: int) -> None:
    sound = tone(1.0)
    windows = sound_windows(sound, Spectrum(), frames)
    assert len(windows) == frames
    usual = sound_windows(sound, Spectrum())
    torch.testing.assert_close(windows[: min(frames, 25)], usual[: min(frames, 25)])
    assert bool((windows[30:] == 0).all())


def test_no_sound_is_refused() -> None:
    with pytest.raises(InputError, match="no sound to hear"):
        sound_windows(torch.zeros(0), Spectrum())


def test_another_feature_is_refused_naming_both() -> None:
    LOG_MEL.require(FeatureKind("log-mel", 40, 40, 60.0, 7600.0), "data")
    with pytest.raises(InputError, match="data has the sound feature mfcc with 13 channels, but log-mel with 40"):
        LOG_MEL.require(MFCC, "data")
    with pytest.raises(InputError, match="differ in how they are made"):
        LOG_MEL.require(FeatureKind("log-mel", 40, 40, 0.0, 8000.0), "data")
