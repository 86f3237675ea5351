"""Frames to a film (H.264 in MP4, which every player and browser shows) or to a folder of PNGs."""

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

from nerf3d.errors import InputError
from nerf3d.export.files import whole_file
from nerf3d.export.pictures import write_picture

QUALITY = 18  # libx264's constant rate factor: 18 is about where the eye sees no difference


def write_film(path: Path | str, frames: Iterable[UInt8[Tensor, "h w 3"]], fps: float = 30.0) -> int:
    """Write the frames, one in memory at a time, and return how many there were.

    Odd widths and heights are made even by repeating the last column or row: 4:2:0 chroma needs that, and scaling would
    blur. Colours are converted with the BT.709 matrix and marked so; left to itself ffmpeg marks nothing and players
    guess.

    Raises InputError for a suffix other than .mp4, no frames, frames of different sizes, and a folder that cannot be
    written. Whatever goes wrong (also in the iterable), the encoder is ended and no part of a file stays.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path} does not end in .mp4, the only format that films are written in: rename it.")
    if not 0 < fps <= 1000:
        raise InputError(f"A film has between 0 and 1000 frames per second, not {fps}.")
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise InputError(f"{path} was not written: there are no frames to make a film of.")
    with whole_file(path) as temporary:
        return _encode(temporary, chain([first], stream), first.shape[0], first.shape[1], fps)


def write_frames(
    folder: Path | str, frames: Iterable[UInt8[Tensor, "h w 3"]], names: Sequence[str] | None = None
) -> int:
    """Write frames as PNGs, 00000.png and so on or with the given names (without suffix); returns how many there were.

    Raises InputError for no frames, for a name that is not a plain file name, and where there are fewer names than
    frames.
    """
    folder = Path(folder)
    count = 0
    for frame, name in zip(frames, repeat(None) if names is None else chain(names, repeat(""))):
        name = f"{count:05d}" if name is None else name
        if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
            raise InputError(f"Frame {count} has the name {name!r}, but a plain file name without folders is needed.")
        write_picture(folder / f"{name}.png", frame)
        count += 1
    if count == 0:
        raise InputError(f"Nothing was written to {folder}: there are no frames.")
    return count


def _command(path: Path, height: int, width: int, fps: float) -> list[str]:
    import imageio_ffmpeg

    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    matrix = ["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"]
    marks = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv"]
    target = ["-c:v", "libx264", "-preset", "medium", "-crf", str(QUALITY), "-pix_fmt", "yuv420p"]
    end = ["-movflags", "+faststart", "-an", "-f", "mp4", f"file:{path}"]
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *source, *matrix, *marks, *target, *end]


def _encode(path: Path, frames: Iterable[UInt8[Tensor, "h w 3"]], height: int, width: int, fps: float) -> int:
    count = 0
    below, beside = height % 2, width % 2
    command = _command(path, height + below, width + beside, fps)
    with (
        tempfile.TemporaryFile() as log
    ):  # not a pipe: an encoder that complains a lot would wait for a reader for ever
        encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        assert encoder.stdin is not None
        try:
            for frame in frames:
                if frame.shape[:2] != (height, width):
                    raise InputError(
                        f"Frame {count} has {frame.shape[1]} x {frame.shape[0]} pixels, the first {width} x {height}: "
                        "all frames of a film must have one size."
                    )
                planes = frame.cpu().permute(2, 0, 1)[None].float()
                whole = pad(planes, (0, beside, 0, below), mode="replicate")[0].permute(1, 2, 0).byte()
                encoder.stdin.write(whole.contiguous().numpy().tobytes())
                count += 1
            encoder.stdin.close()
            failed = encoder.wait() != 0
        except BrokenPipeError:
            encoder.wait()
            failed = True
        finally:
            if encoder.poll() is None:
                encoder.kill()
                encoder.wait()
            _close(encoder)
        if failed:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise InputError(f"The film could not be written: ffmpeg says {said[-1] if said else 'nothing'!r}.")
    return count


def _close(encoder: subprocess.Popen) -> None:
    """Close the pipe, whatever is left in its buffer: the encoder may be gone."""
    try:
        if encoder.stdin is not None:
            encoder.stdin.close()
    except BrokenPipeError:
        pass
