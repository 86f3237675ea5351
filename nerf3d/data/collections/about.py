"""What a run keeps of the collection that it learns from: enough to look at its objects without the pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.files import read_json
from nerf3d.errors import InputError

CAMERAS = 64
"""Of a larger collection so many cameras are kept."""


@dataclass(frozen=True)
class About:
    """`cameras` are some of the collection's, evenly chosen, `box` holds all objects, `kinds` are their captions, each once,
    `objects` is how many are learnt from.
    """

    cameras: Cameras
    box: Box
    kinds: tuple[str, ...]
    objects: int

    @staticmethod
    def of(collection: Collection) -> "About":
        some = collection.cameras[_evenly(len(collection), CAMERAS)]
        return About(some, tight_box(collection), collection.kinds, collection.scenes)

    def views(self, count: int) -> Cameras:
        """So many of the cameras at most, evenly chosen."""
        return self.cameras[_evenly(len(self.cameras), count)]


def _evenly(count: int, most: int) -> Int64[Tensor, "n"]:
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def write_about(about: About, file: Path) -> None:
    cameras = about.cameras
    said = {
        "width": cameras.width,
        "height": cameras.height,
        "lens": cameras.lens,
        "world_from_camera": cameras.world_from_camera.tolist(),
        "intrinsics": cameras.intrinsics.tolist(),
        "distortion": cameras.distortion.tolist(),
        "box": [about.box.low.tolist(), about.box.high.tolist()],
        "kinds": list(about.kinds),
        "objects": about.objects,
    }
    file.write_text(json.dumps(said), encoding="utf-8")


def read_about(file: Path) -> About:
    """Raises InputError for a file that is missing or damaged."""
    said = read_json(file)
    try:
        pose = torch.tensor(said["world_from_camera"]).reshape(-1, 3, 4)
        count = len(pose)
        intrinsics = torch.tensor(said["intrinsics"]).reshape(count, 4)
        distortion = torch.tensor(said["distortion"]).reshape(count, 5)
        cameras = Cameras(pose, intrinsics, distortion, said["width"], said["height"], said["lens"])
        low, high = (torch.tensor(corner) for corner in said["box"])
        return About(cameras, Box(low, high), tuple(said["kinds"]), int(said["objects"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{file} is damaged ({error}); it belongs to the run and cannot be made anew") from error
