"""Sound as a model hears it: a vector every 20 ms, and for every frame of a film the 16 vectors around it.

The contract is AD-NeRF's (Guo et al., 2021, section 3.2): 25 frames a second, and frame k gets the steps 2k - 8 to
2k + 7. Step j is what is heard around (20 j + 10) ms, so the window's middle is the moment 40 k ms of its frame.

Three features are made here, without any weights. With P(b) the power in triangular mel band b of a windowed stretch of
32 ms (Hann, scaled so that a full sine has power 1/4 in all),

    log-mel(b)      = log10(1 + P(b) / 1e-8) / 8        silence is exactly 0, and a full sine nearly 1
    filter-bank(b)  = the same after pre-emphasis x(n) - 0.97 x(n - 1), in 26 bands
    mfcc(c)         = the first 13 coefficients of the orthonormal cosine transform (type II) of the filter bank

Mel is O'Shaughnessy's 2595 log10(1 + f / 700). A film's whole sound and the same sound chunk by chunk give the same
numbers: `steps_of` works in blocks of ten seconds with their surroundings either way.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.sound import RATE
from nerf3d.errors import InputError

STEP = RATE // 50
"""Samples from one vector to the next: 20 ms."""
WINDOW = 16
"""Vectors for each frame of a film."""
PER_FRAME = 2
"""Steps from one frame to the next."""
BLOCK = 500
"""Steps that are computed at once."""
STRETCH = 512
FLOOR = 1e-8


@dataclass(frozen=True)
class FeatureKind:
    """What a model was trained to hear. Written into prepared data and checkpoints, where two can be compared.

    `bands` lie between `lowest` and `highest` Hz after `emphasis`; `weights` identifies the model that made the feature,
    where one did.
    """

    name: str
    channels: int
    bands: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    emphasis: float = 0.0
    weights: str = ""

    def __str__(self) -> str:
        made_by = f" of the weights {self.weights}" if self.weights else ""
        return f"{self.name} with {self.channels} channels{made_by}"

    def require(self, given: "FeatureKind", where: str) -> None:
        """Raise InputError, naming both, unless what is given is this very feature."""
        if given != self:
            same = "; they differ in how they are made" if str(given) == str(self) else ""
            raise InputError(
                f"{where} has the sound feature {given}, but {self} is needed{same}; prepare the data again with "
                f"--features {self.name}"
            )


LOG_MEL = FeatureKind("log-mel", 40, 40, 60.0, 7600.0)
FILTER_BANK = FeatureKind("filter-bank", 26, 26, 0.0, 8000.0, 0.97)
MFCC = FeatureKind("mfcc", 13, 26, 0.0, 8000.0, 0.97)


@runtime_checkable
class Hearing(Protocol):
    """Turns sound into vectors. `margin` is how many steps of surroundings it wants on either side of a block."""

    kind: FeatureKind
    margin: int

    def __call__(self, sound: Float[Tensor, "samples"]) -> Float[Tensor, "steps channels"]:
        """One vector for every 320 samples, the surroundings' among them."""
        ...


class Spectrum:
    """Log-mel, filter bank or MFCC, whichever the kind says."""

    margin = 1

    def __init__(self, kind: FeatureKind = LOG_MEL) -> None:
        self.kind = kind
        self._filters = mel_filters(kind.bands, kind.lowest, kind.highest)
        hann = torch.hann_window(STRETCH, dtype=torch.float64)
        self._hann = hann / hann.sum()

    def __call__(self, sound: Float[Tensor, "samples"]) -> Float[Tensor, "steps channels"]:
        steps = len(sound) // STEP
        side = (STRETCH - STEP) // 2
        padded = torch.nn.functional.pad(sound.double(), (side + 1, side))
        emphasised = padded[1:] - self.kind.emphasis * padded[:-1]
        stretches = emphasised.unfold(0, STRETCH, STEP)[:steps]
        spectrum = torch.fft.rfft(stretches * self._hann).abs().square()
        bands = torch.log10(1 + spectrum @ self._filters / FLOOR) / -math.log10(FLOOR)
        if self.kind.channels < self.kind.bands:
            bands = bands @ cosines(self.kind.bands, self.kind.channels)
        return bands.float()


def mel_filters(bands: int, lowest: float, highest: float) -> Float[Tensor, "frequencies bands"]:
    """Triangles of height 1 whose corners are evenly spaced in mel, over the frequencies of a stretch's spectrum.

    In bands narrower than the spectrum's lines the triangle is widened to them, so that no band is deaf.

    >>> mel_filters(40, 60.0, 7600.0).shape, bool((mel_filters(40, 60.0, 7600.0).sum(0) > 0).all())
    (torch.Size([257, 40]), True)
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    corners = 700 * (10 ** (torch.linspace(low, high, bands + 2, dtype=torch.float64) / 2595) - 1)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    line = RATE / STRETCH
    frequency = torch.arange(STRETCH // 2 + 1, dtype=torch.float64)[:, None] * line
    rise = 1 - (middle - frequency) / (middle - left).clamp_min(line)
    fall = 1 - (frequency - middle) / (right - middle).clamp_min(line)
    return torch.minimum(rise, fall).clamp(0, 1)


def cosines(bands: int, coefficients: int) -> Float[Tensor, "bands coefficients"]:
    """The orthonormal cosine transform of type II, its first columns.

    >>> c = cosines(4, 4); bool(((c.T @ c - torch.eye(4, dtype=torch.float64)).abs() < 1e-12).all())
    True
    """
    n = torch.arange(bands, dtype=torch.float64)[:, None]
    k = torch.arange(coefficients, dtype=torch.float64)
    scale = torch.full_like(k, math.sqrt(2 / bands))
    scale[0] = math.sqrt(1 / bands)
    return scale * torch.cos(math.pi * (n + 0.5) * k / bands)


def steps_of(chunks: Iterable[Float[Tensor, "_"]], hearing: Hearing) -> Iterator[Float[Tensor, "steps channels"]]:
    """The vectors of sound that comes in chunks of any size, ten seconds at a time; silence surrounds the sound.

    The last step is made of what sound there is. Memory does not grow with the sound's length.
    """
    margin, block = hearing.margin * STEP, BLOCK * STEP
    held = torch.zeros(margin)  # from `margin` samples before the next block on
    source = iter(chunks)
    more = True
    while more:
        while len(held) < block + 2 * margin:
            chunk = next(source, None)
            if chunk is None:
                more = False
                break
            held = torch.cat([held, chunk])
        while len(held) >= block + 2 * margin:
            yield hearing(held[: block + 2 * margin])[hearing.margin : -hearing.margin]
            held = held[block:]
    while (left := len(held) - margin) > 0:
        steps = min(-(-left // STEP), BLOCK)
        whole = torch.nn.functional.pad(held, (0, max(steps * STEP + 2 * margin - len(held), 0)))
        yield hearing(whole[: steps * STEP + 2 * margin])[hearing.margin : -hearing.margin]
        held = held[steps * STEP :]


def windows_of(
    steps: Iterable[Float[Tensor, "_ channels"]], frames: int | None = None
) -> Iterator[Float[Tensor, "frames 16 channels"]]:
    """The windows of consecutive frames, in portions; zeros (silence) surround the steps.

    `frames` is how many windows there shall be in all (None: one for every 40 ms that has begun).
    """
    held: Tensor | None = None  # from 8 steps before the next frame on
    made = heard = 0
    for portion in steps:
        heard += len(portion)
        held = torch.cat([portion.new_zeros(WINDOW // 2, portion.shape[1]) if held is None else held, portion])
        ready = (len(held) - WINDOW) // PER_FRAME + 1 if len(held) >= WINDOW else 0
        ready = ready if frames is None else min(ready, frames - made)
        if ready > 0:
            yield held.unfold(0, WINDOW, PER_FRAME)[:ready].transpose(1, 2).contiguous()
            made, held = made + ready, held[ready * PER_FRAME :]
        if made == frames:
            return
    if held is None:
        raise InputError("there is no sound to hear; give a recording that is not empty")
    left = (-(-heard // PER_FRAME) if frames is None else frames) - made
    while left > 0:  # a film that is longer than its sound ends in silence
        part = min(left, BLOCK)
        needed = (part - 1) * PER_FRAME + WINDOW
        whole = torch.cat([held, held.new_zeros(max(needed - len(held), 0), held.shape[1])])
        yield whole[:needed].unfold(0, WINDOW, PER_FRAME).transpose(1, 2).contiguous()
        held, left = held[part * PER_FRAME :], left - part


def sound_windows(
    sound: Float[Tensor, "samples"], hearing: Hearing, frames: int | None = None
) -> Float[Tensor, "frames 16 channels"]:
    """The windows of a whole sound at once, as AD-NeRF keeps them in aud.npy."""
    return torch.cat(list(windows_of(steps_of([sound], hearing), frames)))
