"""A capture without its pixels, as a run keeps it: JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.data.capture import Capture, Photographs
from nerf3d.errors import InputError


def write_capture(capture: Capture, file: Path) -> None:
    """Cameras, names, box, up and points."""
    file.write_text(json.dumps(_to_plain(capture)), encoding="utf-8")


def _plain(tensors: Iterable[Tensor]) -> list[Any]:
    return [tensor.tolist() for tensor in tensors]


def _to_plain(capture: Capture) -> dict[str, Any]:
    def views(part: Photographs) -> dict[str, Any]:
        cameras = part.cameras
        return {
            "names": list(part.names),
            "channels": part.images.shape[-1],
            "width": cameras.width,
            "height": cameras.height,
            "lens": cameras.lens,
            "world_from_camera": cameras.world_from_camera.tolist(),
            "intrinsics": cameras.intrinsics.tolist(),
            "distortion": cameras.distortion.tolist(),
        }

    box = None if capture.box is None else _plain((capture.box.low, capture.box.high))
    points = None if capture.points is None else capture.points.tolist()
    return {
        "train": views(capture.train),
        "test": views(capture.test),
        "up": capture.up.tolist(),
        "box": box,
        "points": points,
    }


def read_capture(path: Path) -> Capture:
    """The capture without its pixels. Raises InputError for a file that is missing or damaged."""

    def views(data: dict[str, Any]) -> Photographs:
        count = len(data["names"])
        cameras = Cameras(
            torch.tensor(data["world_from_camera"]).reshape(count, 3, 4),
            torch.tensor(data["intrinsics"]).reshape(count, 4),
            torch.tensor(data["distortion"]).reshape(count, 5),
            data["width"],
            data["height"],
            data["lens"],
        )
        images = torch.zeros(count, 0, 0, data["channels"], dtype=torch.uint8)
        return Photographs(images, cameras, tuple(data["names"]))

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        box = None if data["box"] is None else Box(*(torch.tensor(corner) for corner in data["box"]))
        points = None if data.get("points") is None else torch.tensor(data["points"]).reshape(-1, 3)
        return Capture(views(data["train"]), views(data["test"]), torch.tensor(data["up"]), box, points)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}); it belongs to the run and cannot be made anew"
        ) from error
