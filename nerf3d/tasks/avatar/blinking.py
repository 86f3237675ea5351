"""When the eyes blink while an avatar speaks a new sound: by chance, from a file, or as in the film it learnt from.

Everything here is the eyes' openness, one number per frame, 0 shut to 1 open.
"""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.errors import InputError

GAP = (2.0, 6.0)
"""Seconds from the beginning of one blink to that of the next."""
DOWN, SHUT, UP = 0.15, 0.05, 0.2
"""Seconds that the lids take to fall, rest and rise."""
OPENFACE = "AU45_r"
"""OpenFace's column for blinks, from 0 open to 5; its files write a space before the name."""


def natural_blinks(frames: int, rng: torch.Generator | None, fps: float = 25.0) -> Float[Tensor, "frames"]:
    """Open eyes that blink at moments chosen by `rng`, without it every four seconds.

    >>> natural_blinks(112, None)[100:]
    tensor([1.0000, 0.8346, 0.4477, 0.0955, 0.0000, 0.0000, 0.0955, 0.3455, 0.6545,
            0.9045, 1.0000, 1.0000])
    """
    openness = torch.ones(frames)
    begin = _between(0.5, GAP[1], rng) if rng is not None else sum(GAP) / 2
    while begin * fps < frames:
        first, last = math.ceil(begin * fps), min(math.ceil((begin + DOWN + SHUT + UP) * fps), frames)
        openness[first:last] = lids(torch.arange(first, last) / fps - begin)
        begin += _between(*GAP, rng)
    return openness


def lids(seconds: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How open the eyes are so long after a blink began; the lids start and stop gently (half waves of a cosine).

    >>> lids(torch.tensor([0.0, DOWN / 2, DOWN, DOWN + SHUT, DOWN + SHUT + UP / 2, 1.0]))
    tensor([1.0000, 0.5000, 0.0000, 0.0000, 0.5000, 1.0000])
    """
    falling = (seconds / DOWN).clamp(0, 1)
    rising = ((seconds - DOWN - SHUT) / UP).clamp(0, 1)
    return (0.5 + 0.5 * torch.cos(math.pi * (falling - rising))).clamp(0, 1)


def replayed(eyes: Float[Tensor, "n"], frames: int) -> Float[Tensor, "frames"]:
    """The eyes of the film in order, then backward, and so on; where they are not known (NaN) they go straight from the
    last known frame to the next. Eyes that nobody knows are open.

    >>> replayed(torch.tensor([1.0, float("nan"), 0.0]), 7)
    tensor([1.0000, 0.5000, 0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """
    return bridged(eyes)[mirrored(len(eyes), frames)]


def bridged(values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The same with straight lines over the gaps (NaN), level before the first and after the last known value; 1 if none
    is known.
    """
    known = ~values.isnan()
    if not bool(known.any()):
        return torch.ones_like(values)
    at = torch.arange(len(values)).numpy()
    line = np.interp(at, at[known.numpy()], values[known].double().numpy())
    return torch.from_numpy(line).to(values.dtype)


def mirrored(count: int, frames: int) -> Int64[Tensor, "frames"]:
    """Which row of so many each frame shows: forward, then backward, the rows at the ends twice, as RAD-NeRF does.

    >>> mirrored(3, 8).tolist()
    [0, 1, 2, 2, 1, 0, 0, 1]
    """
    around = torch.arange(frames) % (2 * count)
    return torch.minimum(around, 2 * count - 1 - around)


def blinks_from_file(path: Path, frames: int) -> Float[Tensor, "frames"]:
    """The eyes as a file says: .txt, .csv, .json (a list) or .npy with one number per frame, or OpenFace's .csv, whose
    action unit 45 becomes 1 - clip(AU45, 0, 2) / 2 (ER-NeRF, 2023).

    Raises InputError for another number of frames, for anything outside of 0..1, and for what cannot be read.
    """
    readers = {".npy": _from_npy, ".json": _from_json, ".csv": _from_table, ".txt": _from_table}
    if path.suffix.lower() not in readers:
        raise InputError(
            f"{path} is no .csv, .txt, .json or .npy file; write the eyes' openness, one number per frame, to one of these"
        )
    values = readers[path.suffix.lower()](path)
    if len(values) != frames:
        raise InputError(
            f"{path} holds the eyes of {len(values)} frames and the sound lasts {frames}; give one number for each frame"
        )
    return checked(path, values)


def checked(path: Path, values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The same values. Raises InputError for one that is not in 0..1."""
    wrong = ~((values >= 0) & (values <= 1))
    if bool(wrong.any()):
        i = int(wrong.int().argmax())
        raise InputError(
            f"{path}: the eyes' openness in frame {i} is {float(values[i]):g}; write numbers from 0 (shut) to 1 (open)"
        )
    return values


def read_npy(path: Path) -> np.ndarray:
    """The numbers of a .npy file. Raises InputError for another file."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a whole .npy file of numbers ({error}); save it again") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputError(f"{path} is not a .npy file of real numbers; save it again")
    return array


def _from_npy(path: Path) -> Tensor:
    array = read_npy(path)
    if array.ndim != 1:
        raise InputError(f"{path} has the shape {array.shape}, and (frames,) is needed; save one number per frame")
    return torch.from_numpy(np.array(array, dtype=np.float32))


def _from_json(path: Path) -> Tensor:
    try:
        values = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not complete, valid JSON ({error}); write it again") from None
    if not isinstance(values, list):
        raise InputError(f"{path} holds a JSON {type(values).__name__}; write a list with one number for each frame")
    return _numbers(path, values)


def _from_table(path: Path) -> Tensor:
    """Lines of one number, or a table whose first line names a column AU45_r."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(_text(path).splitlines()) if any(map(str.strip, row))]
    if not rows or OPENFACE not in rows[0]:
        if any(len(row) != 1 for row in rows):
            raise InputError(
                f"{path} has several columns and none is named {OPENFACE}; give OpenFace's table or one number a line"
            )
        return _numbers(path, [row[0] for row in rows])
    column = rows[0].index(OPENFACE)
    unit = _numbers(path, [row[column] if column < len(row) else None for row in rows[1:]])
    return 1 - unit.clamp(0, 2) / 2


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); check that it is there and holds numbers") from None


def _numbers(path: Path, values: list[Any]) -> Tensor:
    numbers = []
    for i, value in enumerate(values):
        try:
            if isinstance(value, bool):
                raise TypeError
            numbers.append(float(value))
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{path}: frame {i} has {value!r} where a number is needed; correct it") from None
    return torch.tensor(numbers, dtype=torch.float32)


def _between(low: float, high: float, rng: torch.Generator | None) -> float:
    """A number by chance, or the one in the middle."""
    return low + (high - low) * (0.5 if rng is None else float(torch.rand((), generator=rng)))
