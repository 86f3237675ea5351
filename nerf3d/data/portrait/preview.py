"""A film to check a preparation by: the frames with landmarks and boxes drawn in, and the sound."""

import subprocess
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nerf3d.data.ffmpeg import ffmpeg
from nerf3d.data.portrait.landmarks import INNER_LIPS, JAW, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from nerf3d.data.video import FPS
from nerf3d.errors import InputError

MESH, FEATURES = (90, 200, 250), (255, 60, 120)
FACE_BOX, LIPS_BOX = (255, 210, 0), (255, 255, 255)
DRAWN = (*RIGHT_EYE, *LEFT_EYE, *OUTER_LIPS, *INNER_LIPS, *JAW)


def drawn(
    frame: UInt8[Tensor, "h w 3"],
    points: Float[Tensor, "478 3"],
    face: Int64[Tensor, "4"],
    lips: Int64[Tensor, "4"],
) -> UInt8[Tensor, "h w 3"]:
    """The frame with the landmarks (eyes, lips and jaw in another colour) and the two boxes."""
    picture = frame.clone()
    height, width = picture.shape[:2]
    for which, color, reach in ((range(len(points)), MESH, 1), (DRAWN, FEATURES, 2)):
        x, y = points[list(which), :2].long().unbind(-1)
        for across, down in product(range(reach), repeat=2):
            picture[(y + down).clamp(0, height - 1), (x + across).clamp(0, width - 1)] = torch.tensor(
                color, dtype=torch.uint8
            )
    for box, color in ((face, FACE_BOX), (lips, LIPS_BOX)):
        left, top, across, down = box.tolist()
        ink = torch.tensor(color, dtype=torch.uint8)
        for row in (top, top + down - 1):
            picture[row, left : left + across] = ink
        for column in (left, left + across - 1):
            picture[top : top + down, column] = ink
    return picture


def write_preview(path: Path, frames: Iterable[UInt8[Tensor, "h w 3"]], size: int, sound: Path | None) -> None:
    """Encode frames of size x size pixels, an even number, and a sound file as H.264 and AAC in MP4.

    Raises InputError where the encoder gives up.
    """
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size}x{size}", "-r", str(FPS), "-i", "pipe:0"]
    track = ["-i", f"file:{sound}", "-map", "0:v", "-map", "1:a", "-c:a", "aac"] if sound else []
    code = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [ffmpeg(), "-loglevel", "error", "-y", *raw, *track, *code, f"file:{path}"]
    with tempfile.TemporaryFile() as log:
        encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        assert encoder.stdin is not None
        try:
            for frame in frames:
                encoder.stdin.write(frame.contiguous().numpy().tobytes())
            encoder.stdin.close()
            failed = encoder.wait() != 0
        except BrokenPipeError:
            failed = True
        finally:
            encoder.kill()
            encoder.wait()
            _close(encoder)
        if failed:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
            raise InputError(
                f"{path} could not be written: ffmpeg says {said[-1] if said else 'nothing'!r}; look for space"
            )


def _close(encoder: subprocess.Popen) -> None:
    """Close the pipe, whatever is left in its buffer: the encoder may be gone."""
    try:
        if encoder.stdin is not None:
            encoder.stdin.close()
    except BrokenPipeError:
        pass
