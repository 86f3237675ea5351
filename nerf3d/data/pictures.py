"""Pictures from files into one 8-bit tensor.

Whatever a file holds (grey, palette, CMYK, 16 bits a channel) becomes 8-bit RGB, or RGBA with straight alpha as soon as
any picture of the set is really transparent somewhere. The tensor is made once, at its final size, and each picture is
decoded into its place, so that a set never lies in memory twice.

The EXIF orientation is ignored: poses and intrinsics refer to the pixels as they are stored, and a picture that was
turned here would no longer fit them. (Structure from motion reads the stored pixels as well.)
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from nerf3d.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""What counts as a picture, in upper or lower case."""

# Pillow decides by content, not by name. Its other formats are not wanted: one of them (EPS) even runs a program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, sorted by name; none if there is no such folder. Hidden files do not count."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose header was read. Whatever goes wrong with it inside the block becomes an InputError."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            yield picture
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; restore it or take it out of the data set") from None
    except Exception as error:  # decoders raise almost anything on a broken file: OSError, SyntaxError, struct.error...
        empty = path.is_file() and path.stat().st_size == 0
        what = "is empty" if empty else f"cannot be read as a picture ({' '.join(str(error).split())})"
        raise InputError(f"{path} {what}; replace it or take it out of the data set") from None


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, as stored, read from the file's header alone."""
    with _opened(path) as picture:
        return picture.size


def common_size(paths: Sequence[Path]) -> tuple[int, int]:
    """(width, height) of all the pictures; an InputError if they differ or if there are none."""
    if not paths:
        raise InputError("too few pictures exist to train on some and to test on others; add photographs")
    sizes = [picture_size(path) for path in paths]
    for path, size in zip(paths, sizes):
        if size != sizes[0]:
            raise InputError(
                f"{path} is {size[0]} x {size[1]} pixels but {paths[0]} is {sizes[0][0]} x {sizes[0][1]}; pictures of "
                "one data set must have one size: resize it or take it out"
            )
    return sizes[0]


def has_alpha(paths: Sequence[Path]) -> bool:
    """Whether any of the pictures is transparent anywhere. An alpha channel that is opaque all over does not count."""

    def transparent(path: Path) -> bool:
        with _opened(path) as picture:
            return _may_be_transparent(picture) and bool((_decode(picture, alpha=True)[..., 3] < 255).any())

    return any(transparent(path) for path in paths)


def load_pictures(paths: Sequence[Path], alpha: bool | None = None) -> UInt8[Tensor, "b h w c"]:
    """All pictures, in order, with c = 4 (straight alpha) where `alpha` is true and c = 3 where it is false.

    None stands for `has_alpha(paths)`. Without alpha, transparent pixels show the colour that they hold. Raises
    InputError for a file that is missing, empty, cut off or no picture, and for sizes that differ. No pictures have the
    size 0 x 0.
    """
    width, height = common_size(paths) if paths else (0, 0)
    channels = 4 if (has_alpha(paths) if alpha is None else alpha) else 3
    images = torch.empty(len(paths), height, width, channels, dtype=torch.uint8)
    target = images.numpy()

    def place(index: int) -> None:
        with _opened(paths[index]) as picture:
            target[index] = _decode(picture, channels == 4)

    _in_threads(place, len(paths))
    return images


def load_masks(paths: Sequence[Path | None], height: int, width: int) -> Bool[Tensor, "b h w"]:
    """True where a mask is white (brighter than middle grey): those pixels are used. A mask None is white throughout.

    A mask that holds nothing but 0 and 1 is understood as well: 1 counts as white.
    """
    masks = torch.ones(len(paths), height, width, dtype=torch.bool)
    target = masks.numpy()

    def place(index: int) -> None:
        path = paths[index]
        if path is None:
            return
        with _opened(path) as picture:
            if picture.size != (width, height):
                raise InputError(
                    f"the mask {path} is {picture.width} x {picture.height} pixels but its picture is {width} x "
                    f"{height}; give both the same size"
                )
            value = _decode(picture, alpha=False).max(-1)
            target[index] = value > (0 if value.max() <= 1 else 127)

    _in_threads(place, len(paths))
    return masks


def _in_threads(work: Callable[[int], None], count: int) -> None:
    """Call work(0) ... work(count - 1); decoders let go of the interpreter's lock. The first error is raised."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(work, range(count)))


def _may_be_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info


def _decode(picture: Image.Image, alpha: bool) -> UInt8[np.ndarray, "h w c"]:
    """The pixels in 8-bit RGB or RGBA.

    Of 16-bit values the upper byte is kept, which is also what Pillow itself does with 16-bit RGB and RGBA, so that
    257 v becomes v in every mode.
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        picture = Image.fromarray(grey)
    elif picture.mode in ("I", "F"):
        raise InputError(f"{picture.filename} has 32 bits a channel; save it with 8 or 16 bits")  # type: ignore[attr-defined]
    if _may_be_transparent(picture):
        picture = picture.convert("RGBA")  # by this way first: a palette may carry its own transparency
    return np.asarray(picture.convert("RGBA" if alpha else "RGB"))
