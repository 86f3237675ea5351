"""A scene small enough to be learnt in seconds: a ball whose eight octants have eight colors, seen from all around."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from nerf3d.cli import main
from nerf3d.core import Box, Cameras, Radiance
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize
from nerf3d.data.capture import Capture, Photographs
from nerf3d.render.render import render
from nerf3d.render.stratified import Stratified

SIZE = 24
UP = torch.tensor([0.0, 0.0, 1.0])
BOX = Box.cube(1.5)

SMALL = (
    "field.layout={levels: 4, features: 2, log2_table_size: 12, coarsest: 8, finest: 32}",
    "field.width=16",
    "field.color_layers=1",
    "field.geometry_features=8",
    "sampler.resolution=16",
    "sampler.steps_per_side=48",
    "rays=128",
    "samples=2048",
    "rate.start=0.05",
    "rate.stop=0.005",
    "warmup=5",
)
"""Settings that make a recipe with a hash grid as small as the scene."""


class Ball:
    """Radius 1, so dense that it is opaque."""

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return 30.0 * (x.norm(dim=-1) < 1.0).to(x.dtype)

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        return Radiance(self.density(x), 0.1 + 0.8 * (x > 0).to(x.dtype))


def cameras(count: int, turn: float = 0.0, size: int = SIZE) -> Cameras:
    """Around the ball, 4 units away, on a spiral from below to above."""
    i = torch.arange(count) + 0.5
    z = 1.6 * i / count - 0.8
    angle = 2.4 * i + turn
    flat = (1 - z * z).sqrt()
    eye = 4.0 * normalize(torch.stack([flat * angle.cos(), flat * angle.sin(), z], -1))
    return Cameras.pinhole(look_at(eye, torch.zeros(3), UP), 1.2 * size, size, size)


@torch.no_grad()
def photographs(views: Cameras, name: str = "r") -> Photographs:
    """What the cameras see, with straight alpha."""
    pictures = []
    for index in range(len(views)):
        out = render(Ball(), views.rays(index), Stratified(BOX, 96))
        color = out.color / out.opacity.clamp_min(1e-6)[:, None]
        picture = torch.cat([color, out.opacity[:, None]], -1).reshape(views.height, views.width, 4)
        pictures.append((255 * picture.clamp(0, 1)).round().to(torch.uint8))
    return Photographs(torch.stack(pictures), views, tuple(f"{name}_{i}.png" for i in range(len(views))))


def capture(train: int = 12, test: int = 2) -> Capture:
    return Capture(photographs(cameras(train)), photographs(cameras(test, turn=1.0)), UP, BOX)


def write(folder: Path, train: int = 12, test: int = 2) -> Path:
    """The same as a NeRF-synthetic folder, which has y up and z backward; returns it."""
    made = capture(train, test)
    for part, views in (("train", made.train), ("test", made.test)):
        (folder / part).mkdir(parents=True)
        frames = []
        for index, name in enumerate(views.names):
            Image.fromarray(views.images[index].numpy()).save(folder / part / name)
            pose = views.cameras.world_from_camera[index].double() * torch.tensor([1.0, -1.0, -1.0, 1.0])
            matrix = [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
            frames.append({"file_path": f"./{part}/{Path(name).stem}", "transform_matrix": matrix})
        angle = 2 * torch.atan(torch.tensor(0.5 / 1.2, dtype=torch.float64)).item()
        document = {"camera_angle_x": angle, "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(document))
    return folder


def options(settings: tuple[str, ...] = SMALL) -> list[str]:
    """The settings as the command line takes them."""
    return [part for setting in settings for part in ("--set", setting)]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says: one sentence on one line, behind nothing but the loader's notes; exit code 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    *notes, line = said.err.splitlines()
    assert line.startswith("nerf3d: ")
    assert all("photographs for training" in note or note.endswith(" s left") for note in notes)
    return line
