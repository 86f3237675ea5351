"""What the mouth does is a function of the sound and of nothing else, so that whoever hears can learn it.

It opens with the loudness in the band of the first formant, which is high for open vowels, and rounds where the
spectrum is dark, as in "oo". Both are smoothed, and run ahead of the sound, as real mouths do.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.sound import RATE

LEAD = 0.04
"""Seconds by which the mouth is ahead of the sound."""
SMOOTHING = 0.16
"""Seconds that the Hann window over the mouth's motion is long; half as much at half its height."""
SLICE, STEP = 400, 80
"""Samples in a slice of sound (25 ms) and between two of them (5 ms)."""
OPENING_BAND, ROUNDING_BAND = (450.0, 1100.0), (200.0, 3800.0)
"""Hertz."""
QUIET, LOUD = -42.0, -12.0
"""Decibels in the opening band at which the mouth is shut and wide open; a sine of full scale has 0."""
BRIGHT, DARK = 2000.0, 1350.0
"""The centre of the spectrum in hertz at which lips are not round at all and wholly round."""
FLOOR = -72.0
"""Decibels below which a frequency does not count."""


@dataclass(frozen=True)
class Motion:
    """The mouth of every frame, both in 0..1."""

    opening: Float[Tensor, "f"]
    rounding: Float[Tensor, "f"]


def mouth(sound: Float[Tensor, "n"], frames: int, fps: float = 25.0) -> Motion:
    """How the mouth moves to a sound at 16 kHz in [-1, 1]. Frame i shows the moment i / fps.

    It depends on the sound between 52.5 ms before and 132.5 ms after that moment alone: LEAD, and to both sides half of
    SMOOTHING and half a slice. Beyond its ends the sound is silence.

    >>> tone = torch.sin(2 * torch.pi * 700 * torch.arange(16_000) / RATE)
    >>> [round(float(x), 2) for x in mouth(0.3 * tone, 25).opening[[0, 12]]], float(mouth(0 * tone, 25).opening.max())
    ([0.92, 1.0], 0.0)
    """
    moment = torch.arange(frames) / fps + LEAD
    at = torch.round(moment * RATE / STEP).long()
    count = int(at.max()) + 1 if frames else 1
    level, center, loud = _slices(sound, count + _KERNEL // 2 + 1)
    opening = ((level - QUIET) / (LOUD - QUIET)).clamp(0, 1)
    dark = ((BRIGHT - center) / (BRIGHT - DARK)).clamp(0, 1)
    rounding = dark * dark * (3 - 2 * dark) * ((loud - QUIET) / 12).clamp(0, 1)
    kernel = torch.hann_window(_KERNEL + 1, periodic=False)
    both = F.conv1d(
        torch.stack([opening, rounding])[:, None], (kernel / kernel.sum())[None, None], padding=_KERNEL // 2
    )
    return Motion(both[0, 0, at], both[1, 0, at])


_KERNEL = round(SMOOTHING * RATE / STEP)


def _slices(sound: Float[Tensor, "n"], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the slices around the samples 0, STEP, 2 STEP ...: the level of the opening band, the centre of the spectrum above
    the floor in hertz, and the level of the whole rounding band.
    """
    needed = (count - 1) * STEP + SLICE
    padded = F.pad(sound, (SLICE // 2, max(needed - len(sound) - SLICE // 2, 0)))[:needed]
    window = torch.hann_window(SLICE)
    spectrum = torch.fft.rfft(padded.unfold(0, SLICE, STEP) * window)
    # Parseval: with this factor the bins of a sine of full scale add up to 1.
    power = spectrum.abs().square() * (4 / (SLICE * float(window.square().sum())))
    hertz = torch.fft.rfftfreq(SLICE, 1 / RATE)

    def level(low: float, high: float) -> Tensor:
        return 10 * torch.log10(power[:, (hertz >= low) & (hertz <= high)].sum(-1) + 1e-12)

    heard = (hertz >= ROUNDING_BAND[0]) & (hertz <= ROUNDING_BAND[1])
    above = (10 * torch.log10(power[:, heard] + 1e-12) - FLOOR).clamp_min(0)
    center = (above * hertz[heard]).sum(-1) / above.sum(-1).clamp_min(1e-6)
    return level(*OPENING_BAND), center, level(*ROUNDING_BAND)
