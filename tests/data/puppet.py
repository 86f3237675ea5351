"""A puppet for tests: a rigid head with known poses whose mouth and eyes move, films that number their frames, and a
detector that sees the puppet in them by those numbers."""

import math
import subprocess
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.portrait import landmarks as names
from nerf3d.data.portrait.landmarks import Sight

BITS = 10
SIZE = 256
FOCAL = 2.5 * SIZE


def template() -> Float[Tensor, "478 3"]:
    """Points of the puppet in the head's own frame: metres, x right, y up, z towards the viewer."""
    rng = torch.Generator().manual_seed(0)
    direction = torch.randn(names.POINTS, 3, generator=rng)
    direction[:, 2] = direction[:, 2].abs()
    points = direction / direction.norm(dim=1, keepdim=True) * torch.tensor([0.07, 0.08, 0.09])
    for k, index in enumerate(names.JAW):
        angle = math.pi * k / (len(names.JAW) - 1)
        points[index] = torch.tensor([-0.06 * math.cos(angle), -0.03 - 0.06 * math.sin(angle), 0.04])
    for k, index in enumerate(names.OUTER_LIPS):
        angle = math.pi - 2 * math.pi * k / len(names.OUTER_LIPS)
        points[index] = torch.tensor([0.025 * math.cos(angle), -0.045 - 0.008 * math.sin(angle), 0.085])
    fixed = {33: (-0.045, 0.03, 0.06), 133: (-0.017, 0.03, 0.07), 263: (0.045, 0.03, 0.06), 362: (0.017, 0.03, 0.07)}
    fixed |= {159: (-0.03, 0.035, 0.07), 145: (-0.03, 0.025, 0.07), 386: (0.03, 0.035, 0.07), 374: (0.03, 0.025, 0.07)}
    fixed |= {234: (-0.075, 0.0, 0.0), 454: (0.075, 0.0, 0.0), 10: (0.0, 0.09, 0.06), 152: (0.0, -0.09, 0.06)}
    fixed |= {168: (0.0, 0.03, 0.085), 13: (0.0, -0.045, 0.085), 14: (0.0, -0.045, 0.085)}
    for index, place in fixed.items():
        points[index] = torch.tensor(place)
    return points


def head_to_camera(count: int) -> Float[Tensor, "n 3 4"]:
    """Poses in a swaying motion of a few degrees, with OpenCV axes on the camera's side, about 80 cm away."""
    t = torch.arange(count, dtype=torch.float64) / 25
    yaw, pitch, roll = (math.radians(a) * torch.sin(w * t + p) for a, w, p in ((8, 2.1, 0), (4, 1.7, 1), (5, 1.3, 2)))
    turn = _turn(yaw, 1) @ _turn(pitch, 0) @ _turn(roll, 2)
    place = torch.stack([0.01 * torch.sin(t), 0.01 * torch.cos(t), 0.8 + 0.02 * torch.sin(0.7 * t)], -1)
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)) @ turn
    return torch.cat([rotation, place[..., None]], -1).float()


def openness(index: int) -> float:
    """Of the eyes: shut for three frames, once in 40."""
    return 0.1 if index % 40 in (20, 21, 22) else 1.0


def gape(index: int) -> float:
    """Between the inner lips, in metres."""
    return 0.008 * (1 - math.cos(index * 0.4))


def landmarks(count: int, noise: float = 0.0) -> Float[Tensor, "n 478 3"]:
    """What a perfect detector says, or one with errors of so many pixels."""
    rng = torch.Generator().manual_seed(1)
    shape = template().expand(count, -1, -1).clone()
    for index in range(count):
        shape[index, 14, 1] -= gape(index)
        for upper, lower in ((159, 145), (386, 374)):
            shape[index, [upper, lower], 1] = 0.03 + 0.005 * openness(index) * torch.tensor([1.0, -1.0])
    pose = head_to_camera(count)
    local = shape @ pose[:, :, :3].transpose(1, 2) + pose[:, None, :, 3]
    xy = local[..., :2] / local[..., 2:] * FOCAL + SIZE / 2
    z = (local[..., 2:] - pose[:, None, 2:, 3]) * FOCAL / pose[:, None, 2:, 3]
    return torch.cat([xy, z], -1) + noise * torch.randn(count, names.POINTS, 3, generator=rng)


class Seer:
    """A detector that reads a frame's number from it and knows the rest. `faceless` and `crowded` frames have no face,
    or two."""

    def __init__(self, faceless: Collection[int] = (), crowded: Collection[int] = (), noise: float = 0.3) -> None:
        self._points = landmarks(2**BITS // 2, noise)
        self._faceless, self._crowded = faceless, crowded

    def __call__(self, frame: Tensor) -> Sight:
        index = number(frame)
        scale = frame.shape[1] / SIZE
        face = self._points[index] * scale
        matte = torch.zeros(frame.shape[:2], dtype=torch.uint8)
        middle, span = face[:, :2].mean(0), 0.5 * (face[:, 1].max() - face[:, 1].min())
        y, x = torch.meshgrid(torch.arange(frame.shape[0]), torch.arange(frame.shape[1]), indexing="ij")
        matte[((x - middle[0]) ** 2 + (y - middle[1]) ** 2 < (1.2 * span) ** 2) | (y > middle[1] + 1.1 * span)] = 255
        if index in self._faceless:
            return Sight((), torch.zeros_like(matte))
        other = face - torch.tensor([60.0 * scale, 0, 0])
        return Sight((face, other) if index in self._crowded else (face,), matte)

    def close(self) -> None:
        pass


def number(frame: Tensor) -> int:
    """The number that a frame bears in its top rows."""
    cell = frame.shape[1] // BITS
    cells = [frame[2 : cell // 2, k * cell + 2 : (k + 1) * cell - 2].float().mean() for k in range(BITS)]
    return sum(2**k for k, brightness in enumerate(cells) if brightness > 127)


def frames(count: int, height: int = SIZE, width: int = SIZE) -> Iterator[np.ndarray]:
    """Grey frames with their numbers, in black and white fields along the top."""
    for index in range(count):
        picture = np.full((height, width, 3), 90, dtype=np.uint8)
        picture[..., 2] = np.linspace(60, 200, width, dtype=np.uint8)
        cell = width // BITS
        for k in range(BITS):
            picture[: cell // 2 + 2, k * cell : (k + 1) * cell] = 255 if index >> k & 1 else 0
        yield picture


def encode(
    path: Path,
    pictures: Iterable[np.ndarray],
    options: tuple[str, ...] = (),
    fps: float = 25,
    sound: Path | None = None,
) -> Path:
    """A film of some frames, nearly lossless, with the sound of a file where one is given."""
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    heard = ["-i", str(sound)] if sound else []
    coder = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv444p"]
    ffmpeg(*source, *heard, *coder, *options, str(path), given=b"".join(picture.tobytes() for picture in pictures))
    return path


def ffmpeg(*arguments: str, given: bytes = b"") -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def _turn(angle: Tensor, axis: int) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    one, zero = torch.ones_like(c), torch.zeros_like(c)
    rows = (
        ((one, zero, zero), (zero, c, -s), (zero, s, c)),
        ((c, zero, s), (zero, one, zero), (-s, zero, c)),
        ((c, -s, zero), (s, c, zero), (zero, zero, one)),
    )[axis]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
