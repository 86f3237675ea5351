"""What other tools' loaders want of a prepared folder beside what is there: the same film in their files.

    bc.jpg                  the background, for all of them
    AD-NeRF
    com_imgs/N.jpg          the person before that background
    head_imgs/N.jpg         the head alone before it
    HeadNeRF_config.txt, TorsoNeRF_config.txt, TorsoNeRFTest_config.txt     name, folders, near and far
    RAD-NeRF and ER-NeRF
    gt_imgs/N.jpg           as com_imgs
    torso_imgs/N.png        the torso with transparency, continued upwards behind the head
    ori_imgs/N.lms          the 68 landmarks, see `data.portrait.ibug`
    au.csv                  OpenFace's AU45_r, how far the eyes are shut: a line for every frame of the film
    aud_hu.npy              (frames, 2, 1024) where the sound's feature is a speech model's of that width

The sound is theirs to hear: AD-NeRF's network takes 29 channels, RAD-NeRF's and ER-NeRF's 29, 44, 1024 or 32, and what their
own tools make of aud.wav fits. Frames that were dropped have no files, as they have no line in the transforms.
"""

import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from nerf3d.data.portrait.folder import Portrait, Shots
from nerf3d.data.portrait.footage import load_parts, load_plate
from nerf3d.data.portrait.foreign import BLINK, HARDEST, sound_rows
from nerf3d.data.portrait.ibug import ibug_of
from nerf3d.data.portrait.torso import continued
from nerf3d.data.sound_features import PER_FRAME, WINDOW
from nerf3d.data.video import FPS
from nerf3d.errors import InputError

AD_NERF, RAD_NERF = "adnerf", "radnerf"
LAYOUTS = (AD_NERF, RAD_NERF)
NEAR, FAR = -0.2, 0.4
"""AD-NeRF's, in metres from the head's middle, away from the camera."""
BATCH = 32
SPEECH_WIDTH = 1024
"""Channels of the large HuBERT that ER-NeRF hears with."""


def add_layouts(portrait: Portrait, layouts: Collection[str], home: Path | None = None) -> Iterator[int]:
    """Add the files of some of LAYOUTS to a folder that was prepared here, and tell the number of each frame done.

    A file that exists stays as it is, so that a run that was interrupted can be repeated. `home` is where the folder will
    be when it is used, for AD-NeRF's configurations.

    Raises InputError for a folder of other tools', and for files that are missing or damaged.
    """
    folder, shots = portrait.folder, portrait.train + portrait.held_out
    points = _landmarks(folder, shots)
    plate = load_plate(portrait, portrait.width)
    for part in _once(folder / "bc.jpg"):
        _save(plate, part)
    if AD_NERF in layouts:
        _write_configurations(portrait, folder.absolute() if home is None else home)
    if RAD_NERF in layouts:
        _write_blinks(folder / "au.csv", shots)
        _write_speech(portrait)

    def write(row: int) -> int:
        number = int(shots.picture_id[row])
        _write_pictures(portrait, number, plate, layouts)
        if RAD_NERF in layouts:
            for part in _once(folder / "ori_imgs" / f"{number}.lms"):
                np.savetxt(part, ibug_of(points[row : row + 1])[0].numpy(), "%f")
        return number

    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(shots), BATCH):  # a few at a time, so that Ctrl-C need not wait long
            yield from pool.map(write, range(begin, min(begin + BATCH, len(shots))))


def _landmarks(folder: Path, shots: Shots) -> Float[Tensor, "n 478 3"]:
    """Those of the shots."""
    file = folder / "landmarks.npy"
    try:
        points = torch.from_numpy(np.load(file, allow_pickle=False)).float()
        return points[shots.picture_id]
    except (OSError, ValueError, IndexError):
        raise InputError(
            f"{file} is missing or does not hold the landmarks of all frames: other tools' files are added only to what "
            "`nerf3d avatar prepare` has made; prepare the film again"
        ) from None


def _write_pictures(portrait: Portrait, number: int, plate: UInt8[Tensor, "h w 3"], layouts: Collection[str]) -> None:
    frame, head, torso = load_parts(portrait, number)

    def before_plate(shown: Bool[Tensor, "h w"], name: str) -> None:
        for part in _once(portrait.folder / name / f"{number}.jpg"):
            _save(torch.where(shown[..., None], frame, plate), part)

    if AD_NERF in layouts:
        before_plate(head | torso, "com_imgs")
        before_plate(head, "head_imgs")
    if RAD_NERF in layouts:
        before_plate(head | torso, "gt_imgs")
        for part in _once(portrait.folder / "torso_imgs" / f"{number}.png"):
            _save(continued(frame, head, torso), part)


def _write_blinks(file: Path, shots: Shots) -> None:
    """With the blank before its columns' names that OpenFace leaves and ER-NeRF asks for; dropped frames' eyes are open."""
    shut = torch.zeros(int(shots.picture_id.max()) + 1)
    shut[shots.picture_id] = (HARDEST * (1 - shots.eye)).nan_to_num(0.0)
    lines = (f"{frame + 1}, {frame / FPS:.3f}, {value:.4f}" for frame, value in enumerate(shut.tolist()))
    for part in _once(file):
        part.write_text("\n".join([f"frame, timestamp, {BLINK}", *lines, ""]), encoding="utf-8")


def _write_speech(portrait: Portrait) -> None:
    """Each frame's own two steps, where they are what ER-NeRF's loader calls HuBERT."""
    kind = portrait.feature
    if kind is None or not kind.weights or kind.channels != SPEECH_WIDTH:
        return
    for part in _once(portrait.folder / "aud_hu.npy"):
        np.save(part, sound_rows(portrait.folder / "aud.npy")[:, WINDOW // 2 : WINDOW // 2 + PER_FRAME])


def _write_configurations(portrait: Portrait, home: Path) -> None:
    """Near and far lie around the head's mean distance along the camera's axis."""
    pose = (portrait.train + portrait.held_out).camera_to_head
    distance = float((pose[:, :3, 2] * pose[:, :3, 3]).sum(-1).mean())
    skip = len(portrait.held_out) // 7
    for name, part, last in (
        ("HeadNeRF", "head", f"testskip = {skip}"),
        ("TorsoNeRF", "com", f"testskip = {skip}"),
        ("TorsoNeRFTest", "com", "with_test = 1"),
    ):
        lines = [f"expname = {home.name}_{part}", f"datadir = {home}", f"basedir = {home / 'logs'}"]
        lines += [f"near = {distance + NEAR}", f"far = {distance + FAR}", last, ""]
        for file in _once(portrait.folder / f"{name}_config.txt"):
            file.write_text("\n".join(lines), encoding="utf-8")


def _save(picture: UInt8[Tensor, "h w channels"], path: Path) -> None:
    how = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
    Image.fromarray(picture.numpy()).save(path, **how)  # type: ignore[arg-type]


def _once(path: Path) -> Iterator[Path]:
    """Where to write a file that is not there yet: one place that becomes `path` after the loop's body; else none."""
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".{path.stem}-part{path.suffix}")
    yield part
    os.replace(part, path)
