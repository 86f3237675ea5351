"""Frames to a film (H.264 in MP4, which every player and browser shows) or to a folder of PNGs."""

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.export.pictures import write_picture
from nerf3d.files import whole_folder
from nerf3d.media import film


def write_film(path: Path | str, frames: Iterable[UInt8[Tensor, "h w 3"]], fps: float = 30.0) -> int:
    """Write the frames to an .mp4, one in memory at a time, and return how many there were; see `media.film.write_film`."""
    return film.write_film(path, frames, fps)


def write_frames(
    folder: Path | str,
    frames: Iterable[UInt8[Tensor, "h w 3"] | UInt8[Tensor, "h w 4"]],
    names: Sequence[str] | None = None,
) -> int:
    """Write frames as PNGs, 00000.png and so on or with the given names (without suffix); returns how many there were. A
    folder that is not there yet appears with all of them, or not at all.

    A fourth channel is straight alpha. Raises InputError for no frames, for a name that is not a plain file name, and
    where there are fewer names than frames.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        with whole_folder(folder) as aside:
            return _write_frames(aside, frames, names)
    return _write_frames(folder, frames, names)


def _write_frames(folder: Path, frames: Iterable[Tensor], names: Sequence[str] | None) -> int:
    count = 0
    for frame, name in zip(frames, repeat(None) if names is None else chain(names, repeat(""))):
        name = f"{count:05d}" if name is None else name
        if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
            raise InputError(f"Frame {count} has the name {name!r}, but a plain file name without folders is needed.")
        write_picture(folder / f"{name}.png", frame)
        count += 1
    if count == 0:
        raise InputError("Nothing was written: there are no frames.")
    return count
