"""Sound of any file that ffmpeg reads, a film's included: 16,000 samples a second, one channel, about in [-1, 1]."""

import wave
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import decoded, look_into

RATE = 16_000
"""Samples per second."""
CHUNK = 30 * RATE


def read_sound(path: Path | str) -> Float[Tensor, "samples"]:
    """The whole sound of a file. Raises InputError as `sound_chunks` does."""
    return torch.cat(list(sound_chunks(path)))


def sound_chunks(path: Path | str, size: int = CHUNK) -> Iterator[Float[Tensor, "samples"]]:
    """The sound of a file in chunks of `size` samples (the last may be shorter), so that an hour needs little memory.

    Channels are averaged and any rate is converted. Sound that begins later than the film, or has holes, gets silence
    there, so that sample n is heard n / 16,000 seconds after the film's beginning.

    Raises InputError for a file without sound, with zero samples or with values that are not numbers, and where ffmpeg
    cannot read it.
    """
    path = Path(path)
    if not look_into(path).has_sound:
        raise InputError(f"{path} has no sound; give a file with sound")
    chain = f"aresample={RATE}:ochl=mono:rematrix_maxval=1:async=1:first_pts=0"
    options = ["-map", "0:a:0", "-af", chain, "-f", "f32le"]
    empty = True
    for piece in decoded(path, [], options, 4 * size):
        chunk = torch.from_numpy(np.frombuffer(piece, dtype="<f4").copy())
        if not bool(chunk.isfinite().all()):
            raise InputError(f"{path} holds samples that are not finite numbers; record or convert the sound again")
        empty = False
        yield chunk
    if empty:
        raise InputError(f"{path} has a sound track with zero samples; record or convert the sound again")


def write_wav(path: Path, chunks: Iterable[Float[Tensor, "_"]]) -> float:
    """Write sound as a 16-bit wav and return its greatest absolute value; what lies outside of [-1, 1] is cut off."""
    loudest = 0.0
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for chunk in chunks:
            loudest = max(loudest, float(chunk.abs().max()))
            whole = (chunk.clamp(-1, 1) * 32767).round().to(torch.int16)
            file.writeframes(whole.numpy().astype("<i2").tobytes())
    return loudest
