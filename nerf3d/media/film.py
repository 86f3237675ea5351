"""Frames to a film, with sound where there is some: H.264 in MP4, which every player and browser shows, or ProRes 4444
in MOV, which keeps alpha and which editing programs take.

Colours are sRGB; they are converted with the BT.709 matrix and marked so, because left to itself ffmpeg marks nothing and
players guess. Films appear whole or not at all.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.files import whole_file
from nerf3d.media.ffmpeg import ffmpeg, last_line, look_into, source

QUALITY = 18
"""libx264's constant rate factor: 18 is about where the eye sees no difference."""

# Which marks ffmpeg writes, those of the frames or those of the encoder's options, differs by its version: hence both.
FILTERS = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
FILTERS += ",setparams=colorspace=bt709:color_primaries=bt709:color_trc=iec61966-2-1"
MARKS = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv"]


@dataclass(frozen=True)
class Coding:
    """What becomes of frames of so many channels: the file's suffix, and ffmpeg's arguments for pictures and sound.

    `multiple`: width and height are multiples of it.
    """

    suffix: str
    channels: int
    multiple: int
    pictures: tuple[str, ...]
    sound: tuple[str, ...]


def write_film(
    path: Path | str,
    frames: Iterable[UInt8[Tensor, "h w 3"]],
    fps: float = 30.0,
    sound: Path | str | None = None,
    comment: str | None = None,
    *,
    crf: int = QUALITY,
    preset: str = "medium",
    threads: int = 0,
) -> int:
    """Write the frames as an .mp4, one in memory at a time, and return how many there were.

    Odd widths and heights are made even by repeating the last column or row: 4:2:0 chroma needs that, and scaling would
    blur. `sound` is any file that ffmpeg reads; it becomes AAC at 128 kbit/s, with its own rate and channels where AAC
    has them. The film lasts as long as the longer of the two. `comment` goes into the file's comment tag. `crf` and
    `preset` are libx264's; `threads` is 0 for one a core, or 1 for films that are the same whatever machine writes them.

    Raises InputError for another suffix, no frames, frames of different sizes, a sound file without sound, and a place
    that cannot be written. Whatever goes wrong (also in the iterable), the encoder is ended and no part of a file stays.
    """
    coder = ("-c:v", "libx264", "-preset", preset, "-crf", str(crf), "-threads", str(threads), "-pix_fmt", "yuv420p")
    coding = Coding(".mp4", 3, 2, coder, ("-c:a", "aac", "-b:a", "128k"))
    return _write(Path(path), frames, fps, sound, comment, coding)


def write_transparent_film(
    path: Path | str,
    frames: Iterable[UInt8[Tensor, "h w 4"]],
    fps: float = 30.0,
    sound: Path | str | None = None,
    comment: str | None = None,
) -> int:
    """Write frames with straight alpha (colours are not multiplied by it) as ProRes 4444 with 16-bit PCM in a .mov.

    Sizes stay as they are; all else, the errors too, is as in `write_film`.
    """
    coder = ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le")
    return _write(Path(path), frames, fps, sound, comment, Coding(".mov", 4, 1, coder, ("-c:a", "pcm_s16le")))


def _write(
    path: Path, frames: Iterable[Tensor], fps: float, sound: Path | str | None, comment: str | None, coding: Coding
) -> int:
    if path.suffix.lower() != coding.suffix:
        raise InputError(f"{path} does not end in {coding.suffix}, the only format that such films have: rename it.")
    if not 0 < fps <= 1000:
        raise InputError(f"A film has between 0 and 1000 frames per second, not {fps}.")
    heard = None if sound is None else Path(sound)
    if heard is not None and not look_into(heard).has_sound:
        raise InputError(f"{heard} has no sound; give a file with sound")
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path} was not written: there are no frames to make a film of.")
    height, width = (-(-size // coding.multiple) * coding.multiple for size in first.shape[:2])
    with whole_file(path) as temporary:
        command = _command(temporary, height, width, fps, heard, comment, coding)
        count = _encode(path, command, _raw(chain([first], stream), first.shape, height, width, coding.channels))
        if heard is not None and not look_into(temporary).has_sound:  # ffmpeg leaves the track out and is content
            raise InputError(f"{heard} has a sound track with zero samples; record or convert the sound again")
    return count


def _command(
    path: Path, height: int, width: int, fps: float, sound: Path | None, comment: str | None, coding: Coding
) -> list[str]:
    pixels = {3: "rgb24", 4: "rgba"}[coding.channels]
    shown = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "pipe:0"]
    heard = [*source(sound), "-map", "0:v", "-map", "1:a:0", *coding.sound] if sound else []
    tags = ["-map_metadata", "-1", "-map_chapters", "-1"]  # what the sound file says of itself is not said of the film
    tags += ["-metadata", f"comment={comment}"] if comment else []
    end = ["-movflags", "+faststart", "-f", coding.suffix[1:], f"file:{path}"]
    return [ffmpeg(), "-loglevel", "error", "-y", *shown, *heard, "-vf", FILTERS, *MARKS, *coding.pictures, *tags, *end]


def _raw(frames: Iterable[Tensor], shape: torch.Size, height: int, width: int, channels: int) -> Iterator[bytes]:
    """The bytes of every frame, its last row and column repeated until it has the size."""
    rows, columns = torch.arange(height).clamp_max(shape[0] - 1), torch.arange(width).clamp_max(shape[1] - 1)
    for index, frame in enumerate(frames):
        assert (frame.dtype, frame.shape[2:]) == (torch.uint8, (channels,)), "frames are bytes, h w channels"
        if frame.shape != shape:
            raise InputError(
                f"Frame {index} has {frame.shape[1]} x {frame.shape[0]} pixels, the first {shape[1]} x {shape[0]}: "
                "all frames of a film must have one size."
            )
        yield frame.cpu()[rows[:, None], columns].numpy().tobytes()


def _encode(path: Path, command: list[str], frames: Iterator[bytes]) -> int:
    count = 0
    with tempfile.TemporaryFile() as log:  # not a pipe, which would fill up and wait for a reader
        encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        assert encoder.stdin is not None
        try:
            for frame in frames:
                encoder.stdin.write(frame)
                count += 1
            encoder.stdin.close()
            failed = encoder.wait() != 0
        except BrokenPipeError:
            encoder.wait()
            failed = True
        finally:
            encoder.kill()
            encoder.wait()
            with suppress(BrokenPipeError):  # whatever is left in the pipe's buffer: the encoder may be gone
                encoder.stdin.close()
        if failed:
            raise InputError(
                f"{path} could not be written: ffmpeg says {last_line(log)!r}; look for space on the disk."
            )
    return count
