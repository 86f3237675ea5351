"""From a picture back to the object: the code, and the camera where that is not known, that show the same.

First the code alone (GAN inversion: Abdal et al., "Image2StyleGAN", 2019, whose w+ is a code for every layer; pose and code
together: Ko et al., arXiv 2210.07301), from what an encoder reads in the picture or from the usual object. Then the maker's
weights are tuned around it (Roich et al., "Pivotal Tuning", 2021). From one view alone tuning would flatten the geometry
into a picture: so it also has to keep what the object looks like from other sides, as it was before (pseudo views).

Where codes are planes, the diffusion that draws them does the first part: see `plane_reconstruction`.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Cameras
from nerf3d.core.spaces import Contracted, Space
from nerf3d.data.collections.collection import Attributes, Collection
from nerf3d.tasks.generate.looks import picture
from nerf3d.tasks.generate.maker import Maker
from nerf3d.tasks.generate.plane_reconstruction import Reconstruction, reconstruct
from nerf3d.tasks.generate.resemblance import SQUARED, Resemblance
from nerf3d.tasks.generate.ssdnerf import PlaneObjects

DRAWN = 32
"""Codes that are drawn to see how far each of their numbers spreads."""
CANDIDATES = 4
"""Cameras that are followed where none is known: those from which the first guess looks most like the picture."""


@dataclass(frozen=True)
class Effort:
    """Steps for every candidate camera, then for the best one, then for tuning. `near` keeps the code near where it began,
    `rate` and `tuning_rate` are Adam's, in units of the codes' spread and of the weights.
    """

    pose_steps: int = 30
    steps: int = 150
    tuning_steps: int = 60
    near: float = 2e-3
    rate: float = 0.05
    pose_rate: float = 0.01
    tuning_rate: float = 5e-4


@dataclass(frozen=True)
class Inverted:
    """`error` is how far the object is from the picture at the picture's own camera, as `Resemblance` has it."""

    code: Float[Tensor, "*code"]
    camera: Cameras
    error: float


def invert(
    maker: Maker,
    seen: Float[Tensor, "h w 4"],
    cameras: Cameras,
    known: bool,
    rng: torch.Generator,
    effort: Effort = Effort(),
    resemblance: Resemblance = SQUARED,
) -> Inverted:
    """The code whose object looks like `seen` (colours over black and opacity) from camera 0 of `cameras` if it is `known`,
    else from whichever of them, or near it, shows it best. Planes are led by squared differences, whatever `resemblance`.
    """
    if known and isinstance(maker, PlaneObjects):
        return _reconstructed(maker, seen, cameras[:1], rng)
    start = maker.read(seen[None])[0].detach()
    spread = spread_of(maker, rng)
    if known:
        return _followed(maker, seen, cameras[:1], start, spread, effort.steps, False, rng, effort, resemblance)
    field = maker.fields(start[None])[0]
    with torch.no_grad():
        errors = [float(F.mse_loss(picture(field, cameras, i, maker.sampler), seen)) for i in range(len(cameras))]
    order = torch.tensor(errors).argsort()[:CANDIDATES].tolist()
    tried = [
        _followed(maker, seen, cameras[i : i + 1], start, spread, effort.pose_steps, True, rng, effort, resemblance)
        for i in order
    ]
    best = min(tried, key=lambda each: each.error)
    if isinstance(maker, PlaneObjects):
        return _reconstructed(maker, seen, best.camera, rng)
    return _followed(maker, seen, best.camera, best.code, spread, effort.steps, True, rng, effort, resemblance)


def _reconstructed(
    maker: PlaneObjects, seen: Float[Tensor, "h w 4"], camera: Cameras, rng: torch.Generator
) -> Inverted:
    """Planes are too many numbers to be found by one picture alone: here the diffusion that knows them is led by it."""
    code = reconstruct(maker, one_picture(seen, camera, maker.sampler.space), Reconstruction(), rng)[0].detach()
    with torch.no_grad():
        error = F.mse_loss(picture(maker.fields(code[None])[0], camera, 0, maker.sampler), seen)
    return Inverted(code, camera, float(error))


def one_picture(seen: Float[Tensor, "h w 4"], camera: Cameras, space: Space) -> Collection:
    """A collection of one object, of which there is one picture (colours over black and opacity)."""
    alpha = seen[..., 3:]
    straight = torch.cat([seen[..., :3] / alpha.clamp_min(1e-6), alpha], -1).clamp(0, 1)
    pictures = (255 * straight).round().to(torch.uint8)[None]
    box = space.focus if isinstance(space, Contracted) else space
    return Collection(pictures, camera, torch.zeros(1, dtype=torch.int64), ("",), box, True, Attributes.unknown(1))


def _followed(
    maker: Maker,
    seen: Tensor,
    camera: Cameras,
    start: Tensor,
    spread: Tensor,
    steps: int,
    moves: bool,
    rng: torch.Generator,
    effort: Effort,
    resemblance: Resemblance,
) -> Inverted:
    off = torch.zeros_like(start, requires_grad=True)
    turn = torch.zeros(6, requires_grad=True)
    groups = [{"params": [off], "lr": effort.rate}]
    if moves:
        groups.append({"params": [turn], "lr": effort.pose_rate})
    optimizer = torch.optim.Adam(groups)
    best = Inverted(start, camera, float("inf"))
    for step in range(steps + 1):
        code, there = start + spread * off, moved(camera, turn) if moves else camera
        shown = picture(maker.fields(code[None])[0], there, 0, maker.sampler, rng if step < steps else None)
        error = resemblance(shown, seen)
        if float(error.detach()) < best.error:
            best = Inverted(code.detach(), _fixed(there), float(error.detach()))
        optimizer.zero_grad()
        (error + effort.near * off.square().mean()).backward()
        optimizer.step()
    return best


def tune(
    maker: nn.Module,
    found: Inverted,
    seen: Float[Tensor, "h w 4"],
    around: Cameras,
    rng: torch.Generator,
    effort: Effort = Effort(),
    resemblance: Resemblance = SQUARED,
) -> dict[str, Tensor]:
    """Weights of the maker, by name, with which the code's object looks more like the picture, and as before from `around`.

    `maker` is not changed.
    """
    tuned = copy.deepcopy(maker).requires_grad_(True)
    assert isinstance(tuned, Maker)
    with torch.no_grad():
        pivot = tuned.fields(found.code[None])[0]
        before = [picture(pivot, around, i, tuned.sampler) for i in range(len(around))]
    names = dict(tuned.named_parameters())
    optimizer = torch.optim.Adam(names.values(), lr=effort.tuning_rate)
    for _ in range(effort.tuning_steps):
        field = tuned.fields(found.code[None])[0]
        other = int(torch.randint(len(around), (), generator=rng))
        loss = resemblance(picture(field, found.camera, 0, tuned.sampler, rng), seen)
        loss = loss + F.mse_loss(picture(field, around, other, tuned.sampler, rng), before[other])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.detach() for name, value in names.items() if value.grad is not None}


def spread_of(maker: Maker, rng: torch.Generator) -> Float[Tensor, "*code"]:
    """The standard deviation of every number of drawn codes; where that is next to none, a hundredth of the mean one."""
    deviation = maker.draw(DRAWN, rng).std(0)
    return deviation.clamp_min(1e-2 * float(deviation.mean().clamp_min(1e-6)))


def moved(camera: Cameras, turn: Float[Tensor, "6"]) -> Cameras:
    """The camera turned about the world's origin by a rotation vector (radians) and then moved (world units).

    >>> camera = Cameras.pinhole(torch.eye(3, 4)[None], 8.0, 4, 4)
    >>> moved(camera, torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])).center
    tensor([[1., 2., 3.]])
    """
    x, y, z = turn[:3]
    zero = torch.zeros_like(x)
    generator = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    pose = torch.linalg.matrix_exp(generator) @ camera.world_from_camera[0]
    pose = pose + F.pad(turn[3:, None], (3, 0))
    return Cameras(pose[None], camera.intrinsics, camera.distortion, camera.width, camera.height, camera.lens)


def _fixed(camera: Cameras) -> Cameras:
    pose = camera.world_from_camera.detach()
    return Cameras(pose, camera.intrinsics, camera.distortion, camera.width, camera.height, camera.lens)
