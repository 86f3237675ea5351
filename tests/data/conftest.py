"""Small data sets, made where a test wants them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at

SIZE = 16


def make_ring(count: int, distance: float = 4.0, target: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Cameras:
    """Cameras at two heights around `target`, which they look at; +z is up."""
    angle = torch.arange(count) * (2 * torch.pi / count)
    height = torch.where(torch.arange(count) % 2 == 0, 0.3, 0.6)
    eye = torch.stack(
        [torch.cos(height) * torch.cos(angle), torch.cos(height) * torch.sin(angle), torch.sin(height)], -1
    )
    middle, up = torch.tensor(target).expand(count, 3), torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)
    poses = look_at(middle + distance * eye, middle, up)
    return Cameras.pinhole(poses, focal=20.0, width=SIZE, height=SIZE)


def make_frames(cameras: Cameras, folder: str = "images") -> list[dict[str, Any]]:
    """The entries of a transforms file: OpenGL axes, y up and z backward."""
    rows = (cameras.world_from_camera.double() * torch.tensor([1.0, -1.0, -1.0, 1.0])).tolist()
    return [
        {"file_path": f"{folder}/{i:02d}.png", "transform_matrix": [*pose, [0.0, 0.0, 0.0, 1.0]]}
        for i, pose in enumerate(rows)
    ]


def write_picture(path: Path, value: int, mode: str = "RGB") -> None:
    """A picture of one grey value; with mode RGBA its left half is transparent."""
    pixels = np.full((SIZE, SIZE, len(mode)), value, np.uint8)
    if mode == "RGBA":
        pixels[..., 3] = np.where(np.arange(SIZE) < SIZE // 2, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def ring() -> Callable[..., Cameras]:
    return make_ring


@pytest.fixture
def picture() -> Callable[..., None]:
    return write_picture


@pytest.fixture
def write_transforms(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder with transforms.json and n pictures of grey values 0, 1, 2, ...; returns the folder.

    `change` may edit the document before it is written; `cameras` are a ring of 4 unless given.
    """

    def write(
        cameras: Cameras | None = None, mode: str = "RGB", change: Callable[[dict[str, Any]], None] | None = None
    ) -> Path:
        cameras = make_ring(4) if cameras is None else cameras
        document: dict[str, Any] = {"fl_x": 20.0, "w": SIZE, "h": SIZE, "frames": make_frames(cameras)}
        for i, frame in enumerate(document["frames"]):
            write_picture(tmp_path / frame["file_path"], i, mode)
        if change is not None:
            change(document)
        (tmp_path / "transforms.json").write_text(json.dumps(document))
        return tmp_path

    return write


@pytest.fixture
def write_blender(tmp_path: Path) -> Callable[..., Path]:
    """Writes a NeRF-synthetic folder with 5 views for each part (train, test, val), by a ring of cameras."""

    def write(parts: tuple[str, ...] = ("train", "test"), mode: str = "RGBA", distance: float = 4.0) -> Path:
        for number, part in enumerate(parts):
            document = {"camera_angle_x": 0.8, "frames": make_frames(make_ring(5, distance), f"./{part}")}
            for i, frame in enumerate(document["frames"]):
                write_picture(tmp_path / frame["file_path"], 10 * number + i, mode)
                frame["file_path"] = frame["file_path"].removesuffix(".png")
            (tmp_path / f"transforms_{part}.json").write_text(json.dumps(document))
        return tmp_path

    return write
