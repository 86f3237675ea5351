"""What other tools keep beside their transforms: landmarks, blinks, and sound under other names and in other windows."""

import csv
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.data.portrait.ibug import COUNT
from nerf3d.data.sound_features import PER_FRAME, WINDOW
from nerf3d.errors import InputError

SOUNDS = ("aud.npy", "aud_hu.npy", "aud_eo.npy", "aud_ds.npy")
"""Ours and AD-NeRF's, then what RAD-NeRF and ER-NeRF call HuBERT, wav2vec 2.0 (Esperanto) and DeepSpeech."""
BLINK, HARDEST = "AU45_r", 2.0
"""OpenFace's column for the eyes' closing, 0 to 5; ER-NeRF takes 2 for shut."""


def read_landmarks(folder: Path, numbers: Int64[Tensor, "n"]) -> Float[Tensor, "n 68 2"]:
    """Those of ori_imgs/N.lms in pixels, a line each; NaN where there is no such file. InputError for anything else."""
    points = torch.full((len(numbers), COUNT, 2), torch.nan)
    for row, number in enumerate(numbers.tolist()):
        file = folder / "ori_imgs" / f"{number}.lms"
        if not file.is_file():
            continue
        try:
            found = np.loadtxt(file.read_text(encoding="utf-8").splitlines(), ndmin=2)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is no table of landmarks ({error}); make it anew or remove it") from None
        if found.shape != (COUNT, 2) or not np.isfinite(found).all():
            raise InputError(f"{file} does not hold {COUNT} lines of x and y; make it anew or remove it")
        points[row] = torch.from_numpy(found)
    return points


def read_eyes(folder: Path, numbers: Int64[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The eyes' opening, 0 to 1, from OpenFace's au.csv with a line for every frame of the film, as ER-NeRF reads it.

    NaN without such a file, and beyond its end. Raises InputError where it has no column AU45_r of numbers.
    """
    file = folder / "au.csv"
    eyes = torch.full((len(numbers),), torch.nan)
    if not file.is_file():
        return eyes
    try:
        lines = csv.reader(file.read_text(encoding="utf-8").splitlines())
        column = [name.strip() for name in next(lines)].index(BLINK)
        shut = torch.tensor([float(line[column]) for line in lines], dtype=torch.float32)
    except (OSError, ValueError, IndexError, StopIteration):
        raise InputError(f"{file} has no column {BLINK} of numbers; make it anew with OpenFace, or remove it") from None
    there = numbers < len(shut)
    eyes[there] = 1 - shut[numbers[there]].clamp(0, HARDEST) / HARDEST
    return eyes


def sound_file(folder: Path) -> Path | None:
    """The file with a folder's sound features; None where there is none."""
    return next((folder / name for name in SOUNDS if (folder / name).is_file()), None)


def sound_rows(file: Path) -> np.ndarray:
    """(frames, steps, channels), not read yet: either the 16 steps around each frame or its own two (ER-NeRF's HuBERT).

    Raises InputError for everything else.
    """
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not a whole .npy file of numbers ({error}); prepare the film again") from None
    if rows.ndim != 3 or rows.dtype.kind != "f" or len(rows) == 0 or rows.shape[1] not in (WINDOW, PER_FRAME):
        raise InputError(
            f"{file} has the shape {rows.shape}, and (frames, {WINDOW} steps, channels) or (frames, {PER_FRAME}, "
            "channels) is needed; prepare it again"
        )
    return rows


def windows_around(rows: np.ndarray, numbers: Int64[Tensor, "n"]) -> Float[Tensor, "n 16 channels"]:
    """The sound around some frames; a frame after the last row gets that row. Before and after all rows is silence, 0.

    >>> rows = np.arange(1.0, 21.0).reshape(10, 2, 1)  # two steps a frame: frame k hears 2 k - 8 to 2 k + 7
    >>> windows_around(rows, torch.tensor([1, 9]))[..., 0].int().tolist()
    [[0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 0, 0, 0, 0, 0, 0]]
    """
    last = len(rows) - 1
    frame = numbers.clamp_max(last).numpy()
    if rows.shape[1] == WINDOW:
        return torch.from_numpy(np.array(rows[frame], dtype=np.float32))
    around = frame[:, None] + np.arange(WINDOW // PER_FRAME) - WINDOW // PER_FRAME // 2
    heard = np.array(rows[around.clip(0, last)], dtype=np.float32)
    heard[(around < 0) | (around > last)] = 0
    return torch.from_numpy(heard.reshape(len(frame), WINDOW, rows.shape[2]))
