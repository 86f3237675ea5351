"""A talker for tests: a ball for a head whose mouth opens as far as its sound is loud, as a prepared folder on disk, and a
detector that finds the face in pictures by its colours alone.

The head's frame is the puppet's (metres, x right, y up, z towards the viewer), and so is its motion.
"""

import math
from pathlib import Path

import numpy as np
import puppet
import pytest
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from nerf3d.cli import main
from nerf3d.commands.fit_avatar import fit_avatar
from nerf3d.core import Cameras
from nerf3d.core.numerics import normalize
from nerf3d.data.portrait import landmarks as names
from nerf3d.data.portrait.expression import eye_aspect_ratio, eye_openness, mouth
from nerf3d.data.portrait.folder import Shots, read_portrait, write_transforms
from nerf3d.data.portrait.footage import Footage, load_footage, load_plate
from nerf3d.data.portrait.landmarks import Sight
from nerf3d.data.portrait.layers import COLORS, HEAD, TORSO
from nerf3d.data.portrait.likeness import Likeness
from nerf3d.data.portrait.pose import camera_to_head
from nerf3d.data.sound import RATE, read_sound, write_wav
from nerf3d.data.sound_features import LOG_MEL, FeatureKind, Spectrum, sound_windows
from nerf3d.tasks.avatar.scenery import head_box

SIZE = 64
FOCAL = 2.5 * SIZE
RADIUS = 0.08
LIPS, HALF_WIDTH = -0.4 * RADIUS, 0.3 * RADIUS
"""The mouth's height in the head, and half of its width."""
EYES, APART = 0.3 * RADIUS, 0.4 * RADIUS
"""The eyes' height, and how far each is from the middle."""
OPEN_EYE = 0.13 * RADIUS
SKIN, DARK = (0.85, 0.6, 0.45), (0.15, 0.05, 0.05)

SMALL = (
    "head.layout={levels: 3, features: 4, log2_table_size: 11, coarsest: 6, finest: 24}",
    "head.code=8",
    "head.width=32",
    "head.attention_width=16",
    "torso.levels=3",
    "torso.finest=32",
    "torso.pixel_octaves=3",
    "torso.pose_octaves=1",
    "sampler.resolution=24",
    "sampler.steps_per_side=32",
    "rays={count: 512, samples: 2048, lips: 0.6, anywhere: 0.1, patch: 12}",
    "rate={start: 0.03, stop: 0.003}",
    "network_rate={start: 0.02, stop: 0.001}",
    "sound_rate={start: 0.003, stop: 0.001}",
    "warmup=10",
    "polish=0.75",
    "weights={mouth: 1.0, ambient: 1e-4, compact: {kind: Constant, value: 0.0}}",
)
"""Settings that make the default recipe as small as the talker, and in a hurry to listen."""
STEPS = 300
"""After which it has listened."""


def loudness(moment: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """0 to 1 at some moments in frames: slow tones that never repeat, and at no distance resemble themselves."""
    tones = sum(torch.sin(2 * math.pi * f / 25 * moment + p) for f, p in ((0.9, 0.0), (1.6, 1.0), (2.3, 2.0)))
    return (0.5 + 0.2 * tones).clamp(0, 1)


def opening(count: int) -> Float[Tensor, "n"]:
    """Of the mouth, in metres."""
    return 0.5 * RADIUS * loudness(torch.arange(count).double()).float()


def speech(seconds: float, rng: torch.Generator | None = None) -> Float[Tensor, "samples"]:
    """Noise whose loudness in decibels follows `loudness`."""
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    noise = torch.randn(round(seconds * RATE), generator=rng)
    quiet = 1 - loudness(torch.arange(len(noise)).double() * 25 / RATE).float()
    return (0.2 * 10 ** (-1.5 * quiet) * noise).clamp(-1, 1)


def cameras(count: int) -> Cameras:
    pose = camera_to_head(puppet.head_to_camera(count))[:, :3] * torch.tensor([1.0, -1.0, -1.0, 1.0])
    return Cameras.pinhole(pose, FOCAL, SIZE, SIZE)


def plate() -> Float[Tensor, "h w 3"]:
    """The background: bluish, brighter to the right and below."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
    return torch.stack([0.1 + 0.1 * x, 0.2 + 0.3 * y, 0.5 + 0.4 * x], -1)


def head(views: Cameras, index: int, gape: float, eye: float) -> Float[Tensor, "h w 4"]:
    """The ball in one frame, its share of every pixel last; edges are a pixel wide."""
    rays = views.rays(index)
    along = -(rays.origin * rays.direction).sum(-1)
    off = (rays.origin + along[:, None] * rays.direction).norm(dim=-1)
    pixel = float(views.center[index].norm()) / FOCAL
    share = ((RADIUS - off) / pixel + 0.5).clamp(0, 1)
    near = along - (RADIUS**2 - off.square()).clamp_min(0).sqrt()
    x, y, z = (rays.origin + near[:, None] * rays.direction).unbind(-1)

    def patch(to_x: float, to_y: float, half_width: float, half_height: float) -> Tensor:
        inside = [((half - (at - to).abs()) / pixel + 0.5).clamp(0, 1) for at, to, half in
                  ((x, to_x, half_width), (y, to_y, half_height))]  # fmt: skip
        return inside[0] * inside[1] * (z > 0) * min(2 * half_height / pixel, 1.0)

    light = (0.8 + 0.2 * normalize(torch.stack([x, y, z], -1)) @ torch.tensor([0.3, 0.5, 0.8]))[:, None]
    color = light * torch.tensor(SKIN)
    eyes = 0.5 * OPEN_EYE * eye
    for spot in (
        patch(0, LIPS, HALF_WIDTH, gape / 2),
        patch(-APART, EYES, 0.015, eyes),
        patch(APART, EYES, 0.015, eyes),
    ):
        color = torch.lerp(color, torch.tensor(DARK), spot[:, None])
    return torch.cat([color, share[:, None]], -1).reshape(SIZE, SIZE, 4)


def torso(views: Cameras, index: int) -> Float[Tensor, "h w"]:
    """Its share of every pixel: shoulders and a neck that go along with the head."""
    x, y = neck(views)[index].tolist()
    row, column = (torch.arange(SIZE) + 0.5)[:, None], torch.arange(SIZE) + 0.5
    half = torch.where(row < y + 4, 6.0, 24.0)
    return (half - (column - x).abs() + 0.5).clamp(0, 1) * (row - y + 0.5).clamp(0, 1)


def neck(views: Cameras) -> Float[Tensor, "n 2"]:
    """The pixel in which the torso is fixed, in every frame."""
    count = len(views)
    return views.project(torch.arange(count), torch.tensor([[0.0, -0.9 * RADIUS, 0.0]]).expand(count, 3))[0]


def frame(views: Cameras, index: int, gape: float, eye: float) -> tuple[Tensor, Tensor, Tensor]:
    """The picture, and the shares of head and torso in every pixel."""
    ball, shoulders = head(views, index, gape, eye), torso(views, index)[..., None]
    behind = torch.lerp(plate(), torch.tensor([0.2, 0.6, 0.2]), shoulders)
    share = ball[..., 3:]
    return torch.lerp(behind, ball[..., :3], share), share[..., 0], (shoulders * (1 - share))[..., 0]


def landmarks(views: Cameras, gape: Float[Tensor, "n"], eye: Float[Tensor, "n"]) -> Float[Tensor, "n 478 3"]:
    """Those of the true face in pixels; z is 0."""
    count = len(gape)
    points = face(gape, eye)
    index = torch.arange(count).repeat_interleave(names.POINTS)
    pixel, _ = views.project(index, points.reshape(-1, 3))
    return torch.cat([pixel, torch.zeros_like(pixel[:, :1])], -1).reshape(count, names.POINTS, 3)


def face(gape: Float[Tensor, "n"], eye: Float[Tensor, "n"]) -> Float[Tensor, "n 478 3"]:
    """In the head's frame, on the front of the ball."""
    angle = torch.arange(names.POINTS) * 2.4
    radius = RADIUS * (torch.arange(names.POINTS) / names.POINTS).sqrt()
    flat = torch.stack([radius * angle.cos(), radius * angle.sin()], -1).repeat(len(gape), 1, 1)
    for k, i in enumerate(names.OUTER_LIPS):
        turn = 2 * math.pi * k / len(names.OUTER_LIPS)
        flat[:, i, 0] = -1.2 * HALF_WIDTH * math.cos(turn)
        flat[:, i, 1] = LIPS - (0.6 * gape + 0.1 * RADIUS) * math.sin(turn)
    flat[:, names.MOUTH_CORNERS[0]] = torch.tensor([-1.2 * HALF_WIDTH, LIPS])
    flat[:, names.MOUTH_CORNERS[1]] = torch.tensor([1.2 * HALF_WIDTH, LIPS])
    for i, sign in zip(names.INNER_LIPS, (0.5, -0.5)):
        flat[:, i] = torch.stack([torch.zeros_like(gape), LIPS + sign * gape], -1)
    for (outer, inner, upper, lower), side in ((names.RIGHT_EYE, -1), (names.LEFT_EYE, 1)):
        flat[:, outer] = torch.tensor([side * (APART + 0.015), EYES])
        flat[:, inner] = torch.tensor([side * (APART - 0.015), EYES])
        for i, sign in ((upper, 0.5), (lower, -0.5)):
            height = EYES + sign * OPEN_EYE * eye
            flat[:, i] = torch.stack([torch.full_like(height, side * APART), height], -1)
    deep = (RADIUS**2 - flat.square().sum(-1)).clamp_min(0).sqrt()
    return torch.cat([flat, deep[..., None]], -1)


class Seer:
    """A detector that knows nothing but what it sees: skin is where the face is, darkness where mouth and eyes are open."""

    def __call__(self, picture: UInt8[Tensor, "h w 3"]) -> Sight:
        scale = picture.shape[0] / SIZE
        color = picture.float() / 255
        row, column = (torch.arange(len(picture)) + 0.5)[:, None] / scale, (torch.arange(len(picture)) + 0.5) / scale
        skin = (color[..., 0] - color[..., 2] > 0.12).float()
        matte = ((color - _grown(plate(), len(picture))).abs().amax(-1) > 0.08).byte() * 255
        if float(skin.sum()) < 100 * scale * scale:
            return Sight((), matte)
        x, y = (float((skin * at).sum() / skin.sum()) for at in (column, row))
        pixels = FOCAL / 0.8  # for a metre
        dark = ((0.5 - color[..., 0]) / (0.5 - DARK[0])).clamp(0, 1)

        def height(to_x: float, to_y: float, half_width: float, reach: float) -> float:
            """Of a dark spot of this width around a place in the head, in metres."""
            near = ((column - x) / pixels - to_x).abs() < half_width + 0.01
            near = near & (((y - row) / pixels - to_y).abs() < reach)
            return float(dark[near].sum()) / scale**2 / pixels**2 / (2 * half_width)

        gape = torch.tensor([height(0, LIPS, HALF_WIDTH, 0.4 * RADIUS)])
        eyes = [height(side * APART, EYES, 0.015, 0.15 * RADIUS) for side in (-1, 1)]
        points = face(gape, torch.tensor([sum(eyes) / 2 / OPEN_EYE]))[0]
        points = torch.stack([x + pixels * points[:, 0], y - pixels * points[:, 1], torch.zeros(names.POINTS)], -1)
        return Sight((scale * points,), matte)

    def close(self) -> None:
        self.closed = True


def _grown(picture: Tensor, side: int) -> Tensor:
    return torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None], (side, side))[0].permute(1, 2, 0)


def write(folder: Path, count: int = 264, feature: FeatureKind | None = LOG_MEL) -> Path:
    """The talker as a prepared folder, ten elevenths of it for training; returns it. Without a `feature` it is mute."""
    for name in ("ori_imgs", "mattes", "parsing"):
        (folder / name).mkdir(parents=True)
    views, gapes, number = cameras(count), opening(count), torch.arange(count)
    eyes = torch.tensor([puppet.openness(index) for index in range(count)])
    for index in range(count):
        picture, share, shoulders = frame(views, index, float(gapes[index]), float(eyes[index]))
        _save(picture, folder / "ori_imgs" / f"{index}.jpg", quality=95, subsampling=0)
        _save(share + shoulders, folder / "mattes" / f"{index}.png", compress_level=1)
        parts = torch.where(share >= 0.5, HEAD, torch.where(shoulders >= 0.5, TORSO, 0))
        _save(torch.tensor(COLORS)[parts] / 255, folder / "parsing" / f"{index}.png", compress_level=1)
    _save(plate(), folder / "background.png")
    points, pose = landmarks(views, gapes, eyes), camera_to_head(puppet.head_to_camera(count))
    boxes = squares(views, RADIUS), squares(views, 1.5 * HALF_WIDTH, LIPS)
    shots = Shots(
        number,
        number,
        pose,
        *boxes,
        eye_openness(eye_aspect_ratio(points)),
        mouth(points),
        (neck(views) - neck(views).median(0).values) / SIZE,
    )
    write_transforms(folder, shots, FOCAL, SIZE, SIZE, feature)
    if feature is not None:
        write_wav(folder / "aud.wav", [speech(count / 25)])
        windows = sound_windows(read_sound(folder / "aud.wav"), Spectrum(feature), count)
        np.save(folder / "aud.npy", windows.numpy())
    return folder


def squares(views: Cameras, half: float, height: float = 0.0) -> Tensor:
    """Squares around a place of the head's front."""
    index = torch.arange(len(views))
    middle, z = views.project(index, torch.tensor([[0.0, height, 0.5 * RADIUS]]).expand(len(views), 3))
    reach = half * FOCAL / z[:, None]
    low = (middle - reach).floor().clamp_min(0).long()
    return torch.cat([low, (middle + reach).ceil().clamp_max(SIZE).long() - low], -1)


def _save(picture: Tensor, path: Path, **how: int) -> None:
    Image.fromarray((255 * picture.clamp(0, 1)).round().byte().numpy()).save(path, **how)


def known(folder: Path) -> tuple[Likeness, Footage]:
    """What `avatar fit` takes from a written folder."""
    portrait = read_portrait(folder)
    footage = load_footage(portrait, portrait.train, SIZE)
    box = head_box(portrait.cameras(portrait.train), footage)
    plain = load_plate(portrait, SIZE)
    return Likeness(portrait.train, plain, box, portrait.focal, portrait.center, LOG_MEL), footage


def finished(folder: Path) -> Path:
    """A run that has learnt from the talker, in the data "a person" beside it; made by whoever asks first."""
    if not (folder / "run").is_dir():
        data = write(folder / "a person")
        fit_avatar(data, folder / "run", settings=SMALL, steps=STEPS, checkpoint_every=200)
    return folder / "run"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says last: one sentence; exit code 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    line = said.err.splitlines()[-1]
    assert line.startswith("nerf3d: ")
    assert "Traceback" not in said.err
    return line
