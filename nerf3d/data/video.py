"""Films as square frames, 25 a second, whatever the file's own rate, shape and orientation are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import Contents, decoded, look_into

FPS = 25
GLANCE = 720
UPRIGHT = "scale=trunc(iw*sar):ih,setsar=1"
"""Square pixels; ffmpeg has turned the frame as the file's rotation says before this."""


@dataclass(frozen=True)
class Square:
    """A part of the upright picture, in its pixels: the upper left corner, and the side."""

    x: int
    y: int
    side: int

    def in_larger(self, picture: UInt8[Tensor, "h w 3"], width: int, height: int) -> "Square":
        """The same part of the picture in another size."""
        scale = height / picture.shape[0]
        side = min(round(self.side * scale), width, height)
        x, y = (min(round(at * scale), size - side) for at, size in ((self.x, width), (self.y, height)))
        return Square(x, y, side)


def look_into_film(path: Path | str) -> Contents:
    """What a film holds. Raises InputError where there is no film in the file."""
    contents = look_into(Path(path))
    if not contents.has_video:
        raise InputError(f"{path} holds sound only; give a film of a person who speaks")
    return contents


def frames(path: Path | str, size: int, part: Square | None = None) -> Iterator[UInt8[Tensor, "size size 3"]]:
    """The frames at 25 per second, one at a time: frame k is what the film shows k / 25 seconds after its beginning.

    A variable or other rate is resampled by repeating and leaving out. `part` (None: the largest square in the middle)
    is brought to size x size pixels. Raises InputError for a file that cannot be read to its end or has no frame.
    """
    path = Path(path)
    look_into_film(path)
    crop = "crop=min(iw\\,ih):min(iw\\,ih)" if part is None else f"crop={part.side}:{part.side}:{part.x}:{part.y}"
    chain = f"fps={FPS}:start_time=0,{UPRIGHT},{crop},scale={size}:{size}:flags=area+accurate_rnd+full_chroma_int"
    options = ["-map", "0:V:0", "-vf", chain, "-f", "rawvideo", "-pix_fmt", "rgb24"]
    count = 0
    for piece in decoded(path, [], options, 3 * size * size):
        if len(piece) < 3 * size * size:
            break
        count += 1
        yield torch.from_numpy(np.frombuffer(piece, dtype=np.uint8).reshape(size, size, 3).copy())
    if count == 0:
        raise InputError(f"{path} has no frame that can be shown; give another film, or convert it")


def glances(path: Path | str, most: int = 24) -> list[UInt8[Tensor, "h w 3"]]:
    """Some of the film's key frames, whole, upright and in the order of the film: quickly, to see what it shows.

    They are at most GLANCE pixels high.
    """
    path = Path(path)
    look_into_film(path)
    width, height = upright_size(path)
    if height > GLANCE:
        width, height = max(round(width * GLANCE / height), 1), GLANCE
    chain = f"{UPRIGHT},fps=2:round=up,scale={width}:{height}:flags=area"
    options = ["-map", "0:V:0", "-vf", chain, "-fps_mode", "vfr", "-f", "rawvideo"]
    pieces = decoded(path, ["-skip_frame", "nokey"], [*options, "-pix_fmt", "rgb24"], 3 * width * height)
    seen: list[bytes] = []
    step = 1
    for index, piece in enumerate(pieces):
        if index % step == 0 and len(piece) == 3 * width * height:
            seen.append(piece)
        if len(seen) > most:  # twice as far apart from here on
            seen, step = seen[::2], 2 * step
    return [torch.from_numpy(np.frombuffer(p, dtype=np.uint8).reshape(height, width, 3).copy()) for p in seen]


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of the frames as they are shown, read from the first one, written as a PPM file."""
    options = ["-map", "0:V:0", "-frames:v", "1", "-vf", UPRIGHT, "-c:v", "ppm", "-f", "image2pipe"]
    pieces = decoded(path, [], options, 64)
    head = next(pieces, b"").split(maxsplit=3)
    pieces.close()  # type: ignore[attr-defined]
    if len(head) < 3 or head[0] != b"P6":
        raise InputError(f"{path} has no frame that can be shown; give another film, or convert it")
    return int(head[1]), int(head[2])
