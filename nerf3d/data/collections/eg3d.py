"""EG3D's layout (Chan et al. 2022): pictures, and a dataset.json with a camera for each.

    dataset.json            {"labels": [["00000/img00000000.png", [25 numbers]], ...]}
    00000/img00000000.png   the pictures, in folders of a thousand

The 25 numbers are a camera-to-world matrix with OpenCV axes, 4 x 4, row after row, and the intrinsics, 3 x 3, row after
row, in units of the picture's width (first row) and height (second row). Beside "labels" ours has a key "nerf3d", which
other readers pass over: `scenes` (which object each picture shows), `captions`, `attributes` and their `attribute_names`
for every object, and the `box` around all of them. Where it is missing, every picture is its own object.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.data.collections.cameras import exact_poses, visible_box
from nerf3d.data.collections.collection import Attributes, Collection
from nerf3d.data.collections.pictures import load_resized
from nerf3d.data.files import inside, read_json
from nerf3d.data.pictures import SUFFIXES
from nerf3d.errors import InputError

LABELS = "dataset.json"
OURS = "nerf3d"
NUMBERS = 25
TOLERANCE = 1e-4


def read_eg3d(folder: Path, size: int | None = None) -> Collection:
    """The collection in a folder with a dataset.json, its pictures `size` pixels wide (None: as they are).

    Raises InputError for what cannot be learnt from: no poses, poses that are no rigid motion, another camera model,
    pictures that are missing, unlabelled or of mixed sizes, a single picture.
    """
    file = folder / LABELS
    document = read_json(file)
    names, numbers = _labels(file, document)
    paths = [inside(folder, name) for name in names]
    _check_pictures(folder, names, paths)
    where = [f"{file}: {name}" for name in names]
    poses = exact_poses(numbers[:, :16].reshape(-1, 4, 4), where)
    intrinsics = _intrinsics(numbers[:, 16:].reshape(-1, 3, 3), where)
    pictures = load_resized(paths, size)
    height, width = pictures.shape[1:3]
    intrinsics = intrinsics * torch.tensor([width, height, width, height])
    cameras = Cameras(poses, intrinsics, torch.zeros(len(names), 5), width, height)
    has_alpha = bool((pictures[..., 3] < 255).any())
    return _with_ours(file, document, pictures, cameras, has_alpha)


def camera_of(folder: Path, picture: Path, size: int) -> Cameras | None:
    """The camera of one square picture of such a folder, `size` pixels wide; None where the folder does not label it."""
    file = folder / LABELS
    names, numbers = _labels(file, read_json(file))
    wanted = picture.resolve()
    rows = [i for i, name in enumerate(names) if inside(folder, name) == wanted]
    if not rows:
        return None
    where = [f"{file}: {names[rows[0]]}"]
    pose = exact_poses(numbers[rows[:1], :16].reshape(-1, 4, 4), where)
    intrinsics = size * _intrinsics(numbers[rows[:1], 16:].reshape(-1, 3, 3), where)
    return Cameras(pose, intrinsics, torch.zeros(1, 5), size, size)


def write_eg3d(folder: Path, collections: Iterable[Collection]) -> None:
    """Write collections, one after another, as one into an existing folder; none but the present one is in memory.

    Pictures have an alpha channel where they have alpha. Raises InputError for lenses that the layout cannot say.
    """
    from PIL import Image

    labels: list[list[Any]] = []
    scenes: list[int] = []
    captions: list[str] = []
    attributes: list[list[float]] = []
    boxes: list[Tensor] = []
    columns: tuple[str, ...] = ()
    for part in collections:
        if part.cameras.lens != "pinhole" or bool(part.cameras.distortion.any()):
            raise InputError("EG3D's layout has no distorted lenses; undistort the pictures first")
        if captions and part.attributes.names != columns:
            raise InputError("collections with different attributes cannot be written as one; leave them out")
        columns = part.attributes.names
        scenes += [len(captions) + number for number in part.scene.tolist()]
        captions += part.captions
        attributes += [[_short(value) for value in row] for row in part.attributes.values.tolist()]
        boxes.append(torch.stack([part.box.low, part.box.high]))
        for picture, numbers in zip(part.pictures, to_numbers(part.cameras).tolist()):
            index = f"{len(labels):08d}"
            name = f"{index[:5]}/img{index}.png"
            (folder / index[:5]).mkdir(exist_ok=True)
            Image.fromarray(picture[..., : 4 if part.has_alpha else 3].contiguous().numpy()).save(folder / name)
            labels.append([name, [_short(value) for value in numbers]])
    if not labels:
        raise InputError("a collection without pictures cannot be written; give it at least two")
    all_boxes = torch.stack(boxes)
    box = [all_boxes[:, 0].amin(0).tolist(), all_boxes[:, 1].amax(0).tolist()]
    ours = {"scenes": scenes, "captions": captions, "attribute_names": columns, "attributes": attributes, "box": box}
    (folder / LABELS).write_text(json.dumps({"labels": labels, OURS: ours}, allow_nan=False), encoding="utf-8")


def to_numbers(cameras: Cameras) -> Float[Tensor, "n 25"]:
    """The 25 numbers of undistorted cameras.

    >>> eye = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -2]])[None]
    >>> to_numbers(Cameras.pinhole(eye, 16.0, 8, 8))[0, 11:].tolist()
    [-2.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.5, 0.0, 2.0, 0.5, 0.0, 0.0, 1.0]
    """
    count = len(cameras)
    pose = torch.cat([cameras.world_from_camera.double(), torch.zeros(count, 1, 4)], 1)
    pose[:, 3, 3] = 1
    w, h = cameras.width, cameras.height
    fx, fy, cx, cy = (cameras.intrinsics.double() / torch.tensor([w, h, w, h])).unbind(-1)
    matrix = torch.zeros(count, 3, 3, dtype=torch.float64)
    matrix[:, 0, 0], matrix[:, 0, 2], matrix[:, 1, 1], matrix[:, 1, 2], matrix[:, 2, 2] = fx, cx, fy, cy, 1
    return torch.cat([pose.flatten(1), matrix.flatten(1)], 1).float()


def _short(value: float) -> float:
    """As many digits as a number in single precision has."""
    return float(f"{value:.9g}")


def _labels(file: Path, document: dict[str, Any]) -> tuple[list[str], Float[Tensor, "n 25"]]:
    labels = document.get("labels")
    if not isinstance(labels, list) or not labels:
        raise InputError(
            f"{file} gives no poses (its 'labels' are empty); add a row [file name, 25 numbers] per picture"
        )
    names, rows = [], []
    for index, row in enumerate(labels):
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str):
            raise InputError(f"{file}: label {index} is not [file name, 25 numbers]; correct it")
        name, numbers = row
        if not isinstance(numbers, list) or len(numbers) != NUMBERS:
            held = len(numbers) if isinstance(numbers, list) else 1
            raise InputError(
                f"{file}: {name} has {held} numbers where a pose (16) and intrinsics (9) make {NUMBERS}; correct it"
            )
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in numbers):
            raise InputError(f"{file}: {name} has something among its {NUMBERS} numbers that is none; correct it")
        names.append(name)
        rows.append([float(v) for v in numbers])
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"{file} labels {twice} twice; take one of the rows out")
    if len(names) < 2:
        raise InputError(f"{file} labels one picture, which is no collection; add pictures")
    return names, torch.tensor(rows)


def _check_pictures(folder: Path, names: Sequence[str], paths: Sequence[Path]) -> None:
    missing = [name for name, path in zip(names, paths) if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} pictures that {folder / LABELS} labels do not exist (first: {missing[0]}); "
            "restore them or take their rows out"
        )
    known = set(paths)
    found = (path for path in folder.resolve().rglob("*") if path.suffix.lower() in SUFFIXES and path not in known)
    extra = sorted(path.relative_to(folder.resolve()).as_posix() for path in found if not path.name.startswith("."))
    if extra:
        raise InputError(
            f"{folder / LABELS} has {len(names)} labels for {len(names) + len(extra)} pictures (without one: {extra[0]}); "
            "add a row for every picture or move the others away"
        )


def _intrinsics(matrix: Float[Tensor, "n 3 3"], where: Sequence[str]) -> Float[Tensor, "n 4"]:
    """fx, fy, cx, cy in units of the picture's size."""
    fx, fy, cx, cy = matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]
    finite = matrix.isfinite().flatten(1).all(1)
    skew = matrix[:, [0, 1, 2, 2], [1, 0, 0, 1]].abs().amax(1) + (matrix[:, 2, 2] - 1).abs()
    center = torch.stack([cx, cy], -1)
    wrong = [
        (~finite, "has intrinsics that are not finite"),
        (skew > TOLERANCE, "has another camera model (skew, or a last row other than 0 0 1)"),
        ((fx <= 0) | (fy <= 0), "has a focal length that is not above 0"),
        (
            ((center < 0) | (center > 1)).any(-1),
            "has its principal point outside of the picture (in units of its size)",
        ),
    ]
    for bad, what in wrong:
        if bool(bad.any()):
            raise InputError(f"{where[int(bad.nonzero()[0])]} {what}; correct its intrinsics or take the picture out")
    return torch.stack([fx, fy, cx, cy], -1)


def _with_ours(file: Path, document: dict[str, Any], pictures: Tensor, cameras: Cameras, has_alpha: bool) -> Collection:
    """The collection with what our own key says of it, where there is one."""
    count = len(cameras)
    ours = document.get(OURS)
    if ours is None:
        own = Attributes.unknown(count)
        box = visible_box(cameras, has_alpha)
        return Collection(pictures, cameras, torch.arange(count), ("",) * count, box, has_alpha, own)
    try:
        scene = torch.tensor(ours["scenes"], dtype=torch.int64)
        captions, names = tuple(map(str, ours["captions"])), tuple(map(str, ours["attribute_names"]))
        values = torch.tensor(ours["attributes"], dtype=torch.float32).reshape(len(captions), len(names))
        low, high = torch.tensor(ours["box"], dtype=torch.float32).reshape(2, 3)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{file}: what its key {OURS!r} holds does not fit together ({error}); take it out") from None
    if scene.shape != (count,) or not 0 <= int(scene.min()) <= int(scene.max()) < len(captions):
        raise InputError(f"{file}: 'scenes' of its key {OURS!r} does not name an object for each picture; take it out")
    return Collection(pictures, cameras, scene, captions, Box(low, high), has_alpha, Attributes(names, values))
