"""Prepared portraits on disk: ours, and those that AD-NeRF's, RAD-NeRF's and ER-NeRF's tools have made.

    transforms_train.json   the first 10/11 of the frames, transforms_val.json the last 1/11. At the top `focal_len`,
                            `cx`, `cy` in pixels and `frames`; ours also `width`, `height`, `fps`, and `sound_feature`
                            with what aud.npy holds (null without sound). For each frame, in AD-NeRF's keys:
                            `img_id`, `aud_id`    the numbers of its picture and of its row in aud.npy
                            `transform_matrix`    camera to head, 4 x 4, OpenGL axes: the head stands still
                            `face_rect`           x, y, width, height of a box with hair and chin, in pixels
                            and ours: `lips_rect`, a square around the lips; `eye`, 0 shut to 1 open; `mouth`, opening
                            and width in distances between the eyes' outer corners; `torso`, how far it is from its
                            usual place to the right and down, in shares of the frame's side
    ori_imgs/N.jpg          the frames, square
    aud.npy                 (frames, 16, channels): the sound around every frame, see `data.sound_features`
    aud.wav                 the sound, 16 kHz, one channel
    parsing/N.png           head blue, torso red, background white
    mattes/N.png            the person's share of every pixel, 0 to 255
    background.png          the background without the person
    landmarks.npy           (frames, 478, 3): x, y in pixels and z; NaN in frames that were dropped
    preview.mp4             the frames with landmarks and sound, to look at

Theirs may lack what is ours, and have the pictures in gt_imgs, com_imgs or head_imgs. What their transforms do not say of
boxes, eyes and mouth is taken from ori_imgs/N.lms and au.csv; sound may be in aud_hu.npy, aud_eo.npy or aud_ds.npy. That
theirs load ours, `data.portrait.layouts` adds the files which they want.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.files import read_json
from nerf3d.data.frames import read_pose
from nerf3d.data.portrait.boxes import face_boxes, lips_boxes
from nerf3d.data.portrait.expression import eye_aspect_ratio, eye_openness, mouth
from nerf3d.data.portrait.foreign import read_eyes, read_landmarks, sound_file, sound_rows, windows_around
from nerf3d.data.portrait.ibug import mesh_of
from nerf3d.data.sound_features import FeatureKind
from nerf3d.data.video import FPS
from nerf3d.errors import InputError

TRAIN, HELD_OUT = "transforms_train.json", "transforms_val.json"
PICTURES, SUFFIXES = ("ori_imgs", "gt_imgs", "com_imgs", "head_imgs"), (".jpg", ".png")
FOREIGN = "foreign"
"""The sound feature of data that does not say what it is."""


@dataclass(frozen=True)
class Shots:
    """Some frames of a portrait, one row each. What the data does not say is NaN, or a box of size 0."""

    picture_id: Int64[Tensor, "n"]
    sound_id: Int64[Tensor, "n"]
    camera_to_head: Float[Tensor, "n 4 4"]
    face: Int64[Tensor, "n 4"]
    lips: Int64[Tensor, "n 4"]
    eye: Float[Tensor, "n"]
    mouth: Float[Tensor, "n 2"]
    torso: Float[Tensor, "n 2"]

    def __len__(self) -> int:
        return len(self.picture_id)

    def __getitem__(self, index: Any) -> "Shots":
        return Shots(*(getattr(self, field.name)[index] for field in fields(self)))

    def __add__(self, other: "Shots") -> "Shots":
        """These and then those."""
        return Shots(*(torch.cat([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)))

    def to(self, device: torch.device | str) -> "Shots":
        return Shots(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Portrait:
    """A prepared folder. `feature`, what its windows of sound hold, is None without sound."""

    folder: Path
    pictures: Path
    train: Shots
    held_out: Shots
    focal: float
    center: tuple[float, float]
    width: int
    height: int
    feature: FeatureKind | None

    def cameras(self, shots: Shots) -> Cameras:
        """The cameras of some frames, in the head's frame and with OpenCV axes."""
        pose = shots.camera_to_head[:, :3] * torch.tensor([1.0, -1.0, -1.0, 1.0])
        intrinsics = torch.tensor([self.focal, self.focal, *self.center]).expand(len(shots), 4)
        return Cameras(pose, intrinsics, torch.zeros(len(shots), 5), self.width, self.height)

    def windows(self, shots: Shots) -> Float[Tensor, "n 16 channels"]:
        """The sound around some frames; a frame after the sound's last row gets that row.

        Raises InputError where the portrait has no sound.
        """
        file = sound_file(self.folder)
        if self.feature is None or file is None:
            raise InputError(
                f"{self.folder} was prepared from a film without sound; prepare it again from one with sound"
            )
        return windows_around(sound_rows(file), shots.sound_id)

    def picture(self, number: int) -> Path:
        """The file of a frame. Raises InputError if there is none."""
        for suffix in SUFFIXES:
            file = self.pictures / f"{number}{suffix}"
            if file.is_file():
                return file
        raise InputError(
            f"{self.pictures} has no picture {number}.jpg, which {TRAIN} or {HELD_OUT} lists; copy it there"
        )


def split(count: int) -> int:
    """How many of so many frames are for training: the first 10/11, as in AD-NeRF.

    >>> split(8000)
    7272
    """
    return max(count * 10 // 11, 1)


def write_transforms(
    folder: Path, shots: Shots, focal: float, width: int, height: int, feature: FeatureKind | None
) -> None:
    """Both transforms files of a folder whose pictures have their principal point in the middle."""
    train = split(len(shots))
    head: dict[str, Any] = {
        "focal_len": focal,
        "cx": width / 2,
        "cy": height / 2,
        "width": width,
        "height": height,
        "fps": FPS,
    }
    head |= {"sound_feature": None if feature is None else asdict(feature)}
    for name, part in ((TRAIN, shots[:train]), (HELD_OUT, shots[train:])):
        frames = [
            {
                "img_id": int(part.picture_id[i]),
                "aud_id": int(part.sound_id[i]),
                "transform_matrix": _rounded(part.camera_to_head[i]),
                "face_rect": part.face[i].tolist(),
                "lips_rect": part.lips[i].tolist(),
                "eye": _rounded(part.eye[i]),
                "mouth": _rounded(part.mouth[i]),
                "torso": _rounded(part.torso[i]) if bool(part.torso[i].isfinite().all()) else None,
            }
            for i in range(len(part))
        ]
        (folder / name).write_text(json.dumps(head | {"frames": frames}, allow_nan=False), encoding="utf-8")


def read_portrait(folder: Path | str) -> Portrait:
    """Open a prepared folder, ours or another tool's; pictures and sound are read later.

    Raises InputError for what is missing or not as it should be.
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError(
            f"{folder} is a file; prepare it, if it is a film, with: nerf3d avatar prepare {folder} --out DATA"
        )
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that `nerf3d avatar prepare FILM --out DATA` made")
    if not (folder / TRAIN).is_file():
        raise InputError(f"{folder} holds no {TRAIN}; give a folder that `nerf3d avatar prepare FILM --out DATA` made")
    document = read_json(folder / TRAIN)
    if "focal_len" not in document and {"camera_angle_x", "fl_x"} & document.keys():
        raise InputError(f"{folder} holds photographs of a scene, not a film of a speaker: nerf3d fit {folder}")
    focal, cx, cy = (_number(document.get(key), folder / TRAIN, key) for key in ("focal_len", "cx", "cy"))
    other = read_json(folder / HELD_OUT) if (folder / HELD_OUT).is_file() else {"frames": []}
    train, held_out = _shots(folder / TRAIN, document), _shots(folder / HELD_OUT, other)
    shots = _completed(folder, train + held_out, round(2 * cx))
    return Portrait(
        folder,
        _pictures(folder, int(shots.picture_id[0])),
        shots[: len(train)],
        shots[len(train) :],
        focal,
        (cx, cy),
        round(2 * cx),
        round(2 * cy),
        _feature(folder, document),
    )


def _pictures(folder: Path, number: int) -> Path:
    """The first folder with a picture of this number; or the first at all, which will be said to lack it."""
    there = [folder / name for name in PICTURES if (folder / name).is_dir()]
    if not there:
        raise InputError(
            f"{folder} has none of the folders {', '.join(PICTURES)}; copy the frames there as 0.jpg, 1.jpg, ..."
        )
    holding = (p for p in there if any((p / f"{number}{suffix}").is_file() for suffix in SUFFIXES))
    return next(holding, there[0])


def _shots(file: Path, document: dict[str, Any]) -> Shots:
    tables = document.get("frames")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{file} has no list 'frames'; prepare the film again")
    if not tables and file.name == TRAIN:
        raise InputError(f"{file} lists no frames; prepare the film again")
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    gl = torch.tensor([1.0, -1.0, -1.0, 1.0])
    poses = [
        torch.cat([read_pose(f"{file}, frame {i}", t.get("transform_matrix")) * gl, last]) for i, t in enumerate(tables)
    ]

    def column(key: str, width: int, default: float) -> Tensor:
        rows = [_numbers(table.get(key), width, default, f"{file}, frame {i}", key) for i, table in enumerate(tables)]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(tables), width)

    picture = column("img_id", 1, -1.0)[:, 0].long()
    sound = column("aud_id", 1, -1.0)[:, 0].long()
    if bool((picture < 0).any()):
        raise InputError(f"{file}: frame {int((picture < 0).int().argmax())} has no img_id, the number of its picture")
    return Shots(
        picture,
        torch.where(sound < 0, picture, sound),
        torch.stack(poses) if poses else torch.zeros(0, 4, 4),
        column("face_rect", 4, 0.0).round().long(),
        column("lips_rect", 4, 0.0).round().long(),
        column("eye", 1, float("nan"))[:, 0].float(),
        column("mouth", 2, float("nan")).float(),
        column("torso", 2, float("nan")).float(),
    )


def _completed(folder: Path, shots: Shots, size: int) -> Shots:
    """What the transforms leave open of boxes, eyes and mouth, from other tools' blinks and landmarks if there are any."""
    eye = torch.where(shots.eye.isnan(), read_eyes(folder, shots.picture_id), shots.eye)
    no_face, no_lips, no_mouth = shots.face[:, 2] == 0, shots.lips[:, 2] == 0, shots.mouth.isnan().any(-1)
    if not bool((no_face | no_lips | no_mouth | eye.isnan()).any()):
        return replace(shots, eye=eye)
    points = read_landmarks(folder, shots.picture_id)
    seen = points[:, 0, 0].isfinite()
    mesh = mesh_of(points.nan_to_num(0.0))
    ratio = torch.where(seen, eye_aspect_ratio(mesh), torch.nan)
    opened = eye_openness(ratio, float(ratio.nanmedian()))
    return replace(
        shots,
        face=torch.where((no_face & seen)[:, None], face_boxes(mesh, size), shots.face),
        lips=torch.where((no_lips & seen)[:, None], lips_boxes(mesh, size), shots.lips),
        eye=torch.where(eye.isnan(), opened, eye),
        mouth=torch.where((no_mouth & seen)[:, None], mouth(mesh), shots.mouth),
    )


def _feature(folder: Path, document: dict[str, Any]) -> FeatureKind | None:
    """What the sound's rows hold: as the data says of aud.npy, or "foreign" with its channels."""
    file = sound_file(folder)
    if file is None:
        return None
    channels = sound_rows(file).shape[2]
    said = document.get("sound_feature")
    if not isinstance(said, dict) or file.name != "aud.npy":
        return FeatureKind(FOREIGN, channels)
    try:
        kind = FeatureKind(**said)
    except TypeError:
        raise InputError(
            f"{folder / TRAIN}: sound_feature is not of this version's form; prepare the film again"
        ) from None
    if kind.channels != channels:
        raise InputError(f"{file} has {channels} channels where {TRAIN} says {kind}; prepare the film again")
    return kind


def _number(value: Any, file: Path, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
        raise InputError(
            f"{file}: {key} is {value!r}, and a positive number of pixels is needed; prepare the film again"
        )
    return float(value)


def _numbers(value: Any, width: int, default: float, where: str, key: str) -> list[float]:
    if value is None:
        return [default] * width
    values = value if isinstance(value, list) else [value]
    if len(values) != width or any(not isinstance(v, int | float) or isinstance(v, bool) for v in values):
        raise InputError(f"{where}: {key} is {value!r}, and {width} numbers are needed; prepare the film again")
    return [float(v) for v in values]


def _rounded(values: Tensor) -> Any:
    """For JSON: to a part in ten million."""
    plain = values.double()
    return (plain * 1e7).round().div(1e7).tolist()
