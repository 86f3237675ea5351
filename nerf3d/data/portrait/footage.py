"""The pixels of a prepared portrait: frames, how much of each pixel is head, and the background without the person."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from nerf3d.data.portrait.folder import Portrait, Shots
from nerf3d.data.portrait.layers import BACKGROUND, COLORS, HEAD, TORSO
from nerf3d.data.portrait.rims import without_background
from nerf3d.errors import InputError

PLATES = ("background.png", "bc.jpg")
"""Ours, and that of AD-NeRF's tools."""
HALO = 2
"""Pixels beyond the head's border in which a soft matte still counts as the head's."""


@dataclass(frozen=True)
class Footage:
    """Frames, one row each. `person` is the share of every pixel that is the person's, `head` that which is the head's,
    0 to 255.
    """

    images: UInt8[Tensor, "n h w 3"]
    person: UInt8[Tensor, "n h w"]
    head: UInt8[Tensor, "n h w"]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "Footage":
        return Footage(self.images.to(device), self.person.to(device), self.head.to(device))


def load_footage(portrait: Portrait, shots: Shots, side: int) -> Footage:
    """The frames of some shots, reduced or enlarged to `side` pixels a side; the person's rim without the background.

    Raises InputError for pictures that are missing, damaged, or not of the size that the data says.
    """
    count = len(shots)
    images = torch.empty(count, side, side, 3, dtype=torch.uint8)
    person, head = torch.empty(2, count, side, side, dtype=torch.uint8)
    plate = _plate(portrait, side)

    def read(row: int) -> None:
        number = int(shots.picture_id[row])
        images[row] = _picture(portrait.picture(number), "RGB", (portrait.width, portrait.height), side)
        person[row], head[row] = _shares(portrait, number, side)
        if plate is not None:
            person[row] = without_background(images[row], person[row], plate)
            head[row] = torch.minimum(head[row], person[row])

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(read, range(count)):
            pass
    return Footage(images, person, head)


def load_plate(portrait: Portrait, side: int) -> UInt8[Tensor, "h w 3"]:
    """The background without the person; mid grey where the data has none."""
    plate = _plate(portrait, side)
    return torch.full((side, side, 3), 128, dtype=torch.uint8) if plate is None else plate


def load_parts(
    portrait: Portrait, number: int
) -> tuple[UInt8[Tensor, "h w 3"], Bool[Tensor, "h w"], Bool[Tensor, "h w"]]:
    """A frame at its own size, and where its parsing says head, and torso (which the neck belongs to): hard borders.

    Raises InputError as `load_footage` does. The portrait's frames are square.
    """
    size, side = (portrait.width, portrait.height), portrait.width
    frame = _picture(portrait.picture(number), "RGB", size, side)
    parts = _picture(portrait.folder / "parsing" / f"{number}.png", "RGB", size, side, smooth=False).int()
    head = _is(parts, HEAD)
    return frame, head, ~_is(parts, BACKGROUND) & ~head


def _plate(portrait: Portrait, side: int) -> UInt8[Tensor, "h w 3"] | None:
    for name in PLATES:
        if (portrait.folder / name).is_file():
            return _picture(portrait.folder / name, "RGB", (portrait.width, portrait.height), side)
    return None


def _shares(portrait: Portrait, number: int, side: int) -> tuple[UInt8[Tensor, "h w"], UInt8[Tensor, "h w"]]:
    """The person's soft matte, and of it what is head or a little beyond; hard borders where there is no matte."""
    size = (portrait.width, portrait.height)
    parts = _picture(portrait.folder / "parsing" / f"{number}.png", "RGB", size, side, smooth=False).int()
    head = _is(parts, HEAD)
    matte = portrait.folder / "mattes" / f"{number}.png"
    if not matte.is_file():
        return (~_is(parts, BACKGROUND)).to(torch.uint8) * 255, head.to(torch.uint8) * 255
    near = torch.nn.functional.max_pool2d(head[None].float(), 2 * HALO + 1, 1, HALO)[0] > 0
    soft = _picture(matte, "L", size, side)
    return soft, torch.where(near & ~_is(parts, TORSO), soft, 0).to(torch.uint8)


def _is(parts: Tensor, which: int) -> Tensor:
    return (parts - torch.tensor(COLORS[which], dtype=torch.int32)).abs().amax(-1) < 64


def _picture(file: Path, mode: str, size: tuple[int, int], side: int, smooth: bool = True) -> Tensor:
    try:
        with Image.open(file) as picture:
            if picture.size != size:
                raise InputError(
                    f"{file} has {picture.width} x {picture.height} pixels where the data says {size[0]} x {size[1]}; "
                    "prepare the film again"
                )
            whole: Image.Image = picture.convert(mode)
            if size != (side, side):
                how = Image.Resampling.BOX if side < size[0] else Image.Resampling.BICUBIC
                whole = whole.resize((side, side), how if smooth else Image.Resampling.NEAREST)
            return torch.from_numpy(np.array(whole))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error}); prepare the film again") from None
