"""COLMAP's sparse models as they lie on disk: cameras, images and points3D, binary or text, read without COLMAP.

The formats are those of https://colmap.github.io/format.html. Binary files are little-endian. What this program has no
use for (the keypoints of every image, the colours and tracks of the points) is stepped over. The pixel convention is
ours: the centre of the first pixel is at (0.5, 0.5).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerf3d.errors import InputError

# Name and number of parameters of every camera model, by its number in binary files.
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
}
COUNTS = dict(MODELS.values())


@dataclass(frozen=True)
class ModelCamera:
    """A camera: the name of its model, the size of its pictures in pixels, and the model's own parameters."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ModelImage:
    """A registered picture: its name relative to the folder of pictures, and its pose, (3, 4), with OpenCV axes."""

    name: str
    camera: int
    world_from_camera: np.ndarray


@dataclass(frozen=True)
class SparseModel:
    """What structure from motion left: cameras by number, images in the order of their names, points as (p, 3)."""

    cameras: dict[int, ModelCamera]
    images: tuple[ModelImage, ...]
    points: np.ndarray


def is_model(folder: Path) -> bool:
    """Whether a folder holds a sparse model, or what is left of one."""
    return any((folder / f"{stem}{suffix}").is_file() for stem in ("cameras", "images") for suffix in (".bin", ".txt"))


def count_images(folder: Path) -> int:
    """The number of registered images, as cheaply as it can be had."""
    path = _file(folder, "images")
    if path.suffix == ".bin":
        with path.open("rb") as file:
            head = file.read(8)
        if len(head) < 8:
            raise _cut_off(path)
        return struct.unpack("<Q", head)[0]
    return len(_text_images(path))


def read_model(folder: Path) -> SparseModel:
    """Read the model in a folder: `.bin` files where there are both, and no points where the file of points is missing.

    Raises InputError for a file that is missing, cut off or inconsistent.
    """
    cameras_file, images_file = _file(folder, "cameras"), _file(folder, "images")
    cameras = (_binary_cameras if cameras_file.suffix == ".bin" else _text_cameras)(cameras_file)
    images = (_binary_images if images_file.suffix == ".bin" else _text_images)(images_file)
    for image in images:
        if image.camera not in cameras:
            raise InputError(
                f"{images_file}: the image '{image.name}' names camera {image.camera}, which {cameras_file.name} "
                "lacks; export the model again."
            )
    points = np.zeros((0, 3))
    if (folder / "points3D.bin").is_file():
        points = _binary_points(folder / "points3D.bin")
    elif (folder / "points3D.txt").is_file():
        points = _text_points(folder / "points3D.txt")
    finite = np.isfinite(points).all(1)
    return SparseModel(cameras, tuple(sorted(images, key=lambda image: image.name)), points[finite])


def _file(folder: Path, stem: str) -> Path:
    for suffix in (".bin", ".txt"):
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    raise InputError(
        f"{folder}: {stem}.bin (or {stem}.txt) is missing from the COLMAP model; "
        "copy the whole model, which is cameras, images and points3D."
    )


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path}: the file is cut off or is no COLMAP model; copy or export it again.")


# ---------------------------------------------------------------------------------------------------- binary


def _binary_cameras(path: Path) -> dict[int, ModelCamera]:
    data = path.read_bytes()
    cameras = {}
    try:
        (count,) = struct.unpack_from("<Q", data)
        at = 8
        for _ in range(count):
            number, kind, width, height = struct.unpack_from("<IiQQ", data, at)
            if kind not in MODELS:
                raise InputError(
                    f"{path}: camera {number} is of the unknown model number {kind}; undistort the pictures with "
                    "COLMAP's image_undistorter, or export the model again if the file is damaged."
                )
            name, parameters = MODELS[kind]
            cameras[number] = _camera(path, name, width, height, struct.unpack_from(f"<{parameters}d", data, at + 24))
            at += 24 + 8 * parameters
    except (struct.error, OverflowError):
        raise _cut_off(path) from None
    return cameras


def _binary_images(path: Path) -> list[ModelImage]:
    data = path.read_bytes()
    images = []
    try:
        (count,) = struct.unpack_from("<Q", data)
        at = 8
        for _ in range(count):
            _, *pose, camera = struct.unpack_from("<I7dI", data, at)
            end = data.find(b"\0", at + 64)
            if end < 0:
                raise _cut_off(path)
            (keypoints,) = struct.unpack_from("<Q", data, end + 1)
            images.append(ModelImage(data[at + 64 : end].decode(), camera, _world_from_camera(path, pose)))
            at = end + 9 + 24 * keypoints  # each: x, y as doubles, and the number of its point
    except (struct.error, OverflowError, UnicodeDecodeError):
        raise _cut_off(path) from None
    if at > len(data):
        raise _cut_off(path)
    return images


def _binary_points(path: Path) -> np.ndarray:
    data = path.read_bytes()
    track_length = struct.Struct("<Q")
    begins = []
    try:
        (count,) = track_length.unpack_from(data)
        at = 8
        # Records differ in length, so their beginnings have to be found one by one; all else is done at once below.
        for _ in range(count):
            begins.append(at)
            at += 51 + 8 * track_length.unpack_from(data, at + 43)[0]
    except (struct.error, OverflowError):
        raise _cut_off(path) from None
    if at > len(data):
        raise _cut_off(path)
    if not begins:
        return np.zeros((0, 3))
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), 24)
    return windows[np.array(begins) + 8].view("<f8").astype(np.float64)


# ---------------------------------------------------------------------------------------------------- text


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from (line for line in path.read_text(encoding="utf-8").split("\n") if not line.startswith("#"))
    except UnicodeDecodeError:
        raise _cut_off(path) from None


def _text_cameras(path: Path) -> dict[int, ModelCamera]:
    cameras = {}
    for line in _lines(path):
        if line.strip():
            try:
                number, model, width, height, *parameters = line.split()
                camera = _camera(path, model, int(width), int(height), tuple(float(p) for p in parameters))
                cameras[int(number)] = camera
            except ValueError:
                raise _cut_off(path) from None
    return cameras


def _text_images(path: Path) -> list[ModelImage]:
    images = []
    lines = _lines(path)
    for line in lines:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)  # a name may hold spaces
        try:
            pose, camera = [float(word) for word in words[1:8]], int(words[8])
            name = words[9].rstrip()
        except (ValueError, IndexError):
            raise _cut_off(path) from None
        images.append(ModelImage(name, camera, _world_from_camera(path, pose)))
        next(lines, None)  # the image's keypoints, which may be an empty line
    return images


def _text_points(path: Path) -> np.ndarray:
    try:
        rows = [line.split(maxsplit=4)[1:4] for line in _lines(path) if line.strip()]
        return np.array(rows, np.float64).reshape(len(rows), 3)
    except ValueError:
        raise _cut_off(path) from None


# ---------------------------------------------------------------------------------------------------- both


def _camera(path: Path, model: str, width: int, height: int, parameters: tuple[float, ...]) -> ModelCamera:
    if len(parameters) != COUNTS.get(model, len(parameters)) or width < 1 or height < 1:
        raise _cut_off(path)
    if not all(math.isfinite(p) for p in parameters):
        raise InputError(f"{path}: a camera's parameters are not finite numbers; run the reconstruction again.")
    return ModelCamera(model, width, height, parameters)


def _world_from_camera(path: Path, pose: list[float]) -> np.ndarray:
    """(3, 4) from COLMAP's camera-from-world quaternion (w, x, y, z) and translation."""
    length = math.sqrt(sum(q * q for q in pose[:4]))
    if not all(math.isfinite(p) for p in pose) or length < 1e-9:
        raise InputError(f"{path}: an image's pose is not a rotation and a place; run the reconstruction again.")
    w, x, y, z = (q / length for q in pose[:4])
    world_rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
            [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
            [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.concatenate([world_rotation, -world_rotation @ np.array(pose[4:])[:, None]], 1)
