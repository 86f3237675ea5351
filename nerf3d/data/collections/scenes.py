"""A folder of Blender-style scenes: one object in each subfolder, with its transforms file."""

from dataclasses import replace
from pathlib import Path

import torch

from nerf3d.core import Box
from nerf3d.data.capture import Photographs
from nerf3d.data.collections.cameras import visible_box
from nerf3d.data.collections.collection import Attributes, Collection, joined
from nerf3d.data.collections.pictures import resized, resized_size
from nerf3d.data.load import load_capture
from nerf3d.errors import InputError

FILES = ("transforms_train.json", "transforms.json")


def scene_folders(folder: Path) -> list[Path]:
    """The subfolders that hold a transforms file, by name."""
    found = (path for path in folder.iterdir() if any((path / name).is_file() for name in FILES))
    return sorted(path for path in found if not path.name.startswith("."))


def read_scenes(folder: Path, size: int | None = None) -> Collection:
    """The collection of all scenes in a folder, training and test pictures alike, `size` pixels wide (None: as they are).

    Raises InputError for no scenes, for one that is not as it should be, and for pictures that differ in size or lens.
    """
    places = scene_folders(folder)
    if not places:
        raise InputError(
            f"{folder} holds no folders with a {' or '.join(FILES)}; give the folder of the scenes' folders"
        )
    return joined([_scene(place, size) for place in places])


def _scene(folder: Path, size: int | None) -> Collection:
    capture = load_capture(folder)
    parts = [_part(photographs, capture.box, size) for photographs in (capture.train, capture.test) if len(photographs)]
    whole = joined(parts)
    one = torch.zeros(len(whole), dtype=torch.int64)
    return replace(whole, scene=one, captions=("",), attributes=Attributes.unknown(1))


def _part(photographs: Photographs, box: Box | None, size: int | None) -> Collection:
    images = photographs.images
    if not photographs.has_alpha:
        images = torch.cat([images, torch.full_like(images[..., :1], 255)], -1)
    width, height = resized_size(images.shape[2], images.shape[1], size)
    cameras = photographs.cameras.scaled_to(width, height)
    return Collection(
        pictures=resized(images, width, height),
        cameras=cameras,
        scene=torch.zeros(len(images), dtype=torch.int64),
        captions=("",),
        box=visible_box(cameras, whole=False) if box is None else box,
        has_alpha=photographs.has_alpha,
        attributes=Attributes.unknown(1),
    )
