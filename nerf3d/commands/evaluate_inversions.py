"""How well held-out objects are found again from one picture each: part of `nerf3d gen eval`."""

import math
import statistics
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.console import tracked
from nerf3d.core import Cameras, Field
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.world import object_of, truth_of
from nerf3d.errors import InputError
from nerf3d.metrics.pictures import psnr
from nerf3d.render.render import render
from nerf3d.scenes import Model
from nerf3d.tasks.generate.inversion import invert
from nerf3d.tasks.generate.looks import Gallery, on_white, picture

INVERTED, UNSEEN = 10, 4
POSED = 5
"""Objects whose camera is looked for too, which takes longer."""
SOLID = 0.5


@dataclass(frozen=True)
class Inversions:
    """`input` and `unseen` are the PSNR at the picture that was given and at others of the same object, in decibels; `depth`
    is the mean error of the distance at the others, as a share of the box's longest side, where the truth is known; `pose`
    the median angle, in degrees, between the direction from which a picture was taken and the one that was found for it.
    """

    input: float
    unseen: float
    seconds: float
    depth: float | None
    pose: float


def evaluate_inversions(model: Model, held_out: Collection, rng: torch.Generator) -> Inversions:
    """Of held-out objects: with the camera told, and some of them without."""
    gallery, inputs, unseen, depths = Gallery(held_out), [], [], []
    count = min(INVERTED, held_out.scenes)
    began = time.perf_counter()
    for scene in tracked(range(count), "inversions", count):
        views = gallery.views(scene, 1 + UNSEEN, rng)
        pictures, cameras = gallery.pictures(views), held_out.cameras[views]
        found = invert(model.makes, pictures[0], cameras[:1], True, rng)
        field = model.makes.fields(found.code[None])[0]
        with torch.no_grad():
            shown = [on_white(picture(field, cameras, i, model.makes.sampler)) for i in range(len(views))]
        values = [psnr(a, b) for a, b in zip(shown, on_white(pictures), strict=True)]
        inputs.append(values[0])
        unseen += values[1:]
        depths += _depth_errors(model, field, held_out, scene, cameras[1:])
    seconds = (time.perf_counter() - began) / count
    turned = [
        _pose_error(model, held_out, gallery, scene, rng) for scene in tracked(range(min(POSED, count)), "poses", count)
    ]
    return Inversions(
        sum(inputs) / count,
        sum(unseen) / len(unseen) if unseen else math.nan,
        seconds,
        sum(depths) / len(depths) if depths else None,
        statistics.median(turned),
    )


@torch.no_grad()
def _depth_errors(model: Model, field: Field, held_out: Collection, scene: int, cameras: Cameras) -> list[float]:
    """One for every camera that sees anything; none where the objects are not of the built-in world."""
    try:
        thing = object_of(held_out, scene)
    except InputError:
        return []
    errors = []
    for view in range(len(cameras)):
        out, truth = render(field, cameras.rays(view), model.makes.sampler), truth_of(thing, cameras, view)
        both = (out.opacity > SOLID) & truth.covered.flatten()
        if bool(both.any()):
            errors.append(depth_error(out.depth, truth.depth.flatten(), both) / float(model.about.box.size.max()))
    return errors


def depth_error(found: Float[Tensor, "n"], true: Float[Tensor, "n"], where: Bool[Tensor, "n"]) -> float:
    """The mean distance along the rays.

    >>> depth_error(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.5, 2.0, 0.0]), torch.tensor([True, True, False]))
    0.25
    """
    return float((found - true)[where].abs().mean())


def _pose_error(model: Model, held_out: Collection, gallery: Gallery, scene: int, rng: torch.Generator) -> float:
    view = gallery.views(scene, 1, rng)
    found = invert(model.makes, gallery.pictures(view)[0], model.about.cameras, False, rng)
    return angle(found.camera, held_out.cameras[view], model.about.box.center)


def angle(one: Cameras, other: Cameras, middle: Float[Tensor, "3"]) -> float:
    """Between the directions from which two cameras look at a point, in degrees.

    >>> east, north = torch.eye(3, 4)[None].clone(), torch.eye(3, 4)[None].clone()
    >>> east[0, 0, 3], north[0, 1, 3] = 2.0, 5.0
    >>> angle(*(Cameras.pinhole(pose, 8.0, 4, 4) for pose in (east, north)), torch.zeros(3))
    90.0
    """
    a, b = (F.normalize((c.center[0] - middle).double(), dim=0) for c in (one, other))
    return math.degrees(math.atan2(float(torch.linalg.cross(a, b).norm()), float(a @ b)))
