"""Films of a prepared portrait's own frames, or of what a head makes of them, with the portrait's own sound."""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.data.portrait.folder import Portrait, Shots
from nerf3d.data.sound import RATE, sound_chunks, write_wav
from nerf3d.data.video import FPS
from nerf3d.media.film import write_film

TAG = "Synthesised by nerf3d: a computer made this person's face say this sound. Not a recording."
"""In the comment of every film."""


def write_with_own_sound(
    path: Path, frames: Iterable[UInt8[Tensor, "h w 3"]], portrait: Portrait, shots: Shots
) -> None:
    """One picture for each of some consecutive shots, with what was heard meanwhile, where the data has it still."""
    wav, heard = portrait.folder / "aud.wav", torch.zeros(0)
    if wav.is_file():
        begin = int(shots.sound_id[0]) * RATE // FPS
        heard = torch.cat(list(sound_chunks(wav)))[begin : begin + len(shots) * RATE // FPS]
    if len(heard) == 0:
        write_film(path, frames, float(FPS), comment=TAG)
        return
    piece = path.with_name(f".{path.stem}.wav")
    try:
        write_wav(piece, [heard])
        write_film(path, frames, float(FPS), piece, TAG)
    finally:
        piece.unlink(missing_ok=True)
