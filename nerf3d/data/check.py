"""What every capture must satisfy before anything is learnt from it, whichever format it came in."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.core.paths import focus_point, nearest_rotation
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.split import FEWEST
from nerf3d.errors import InputError

FLIPPED = (
    "their axes may follow another convention than their format's (a transforms file has y up and z backward); "
    "correct the poses"
)


def check(capture: Capture) -> Capture:
    """The same capture with exact rotations; an InputError with a remedy for one that cannot be learnt from.

    Rotations that rounding or a uniform scale has spoilt are replaced by the nearest rotation. Errors: fewer than three
    training views; a pose that is not finite, singular, mirrored or sheared; a focal length that is not above 0; masks
    that leave nothing; cameras that all look away from what they surround.
    """
    if len(capture.train) < FEWEST:
        raise InputError(
            f"only {len(capture.train)} of the pictures are for training ({len(capture.test)} are held out); at least "
            f"{FEWEST} are needed: add photographs"
        )
    if capture.train.masks is not None and not bool(capture.train.masks.any()):
        raise InputError("the masks are black throughout, so that no pixel is left; white is what is used: invert them")
    capture = replace(capture, train=_exact(capture.train), test=_exact(capture.test))
    if capture.box is not None:
        _check_box_is_seen(capture.train.cameras, capture.box)
    elif capture.points is None:  # points were found in front of the cameras, so poses that come with them are sound
        _check_not_outward(capture.train.cameras)
    return capture


def _exact(photographs: Photographs) -> Photographs:
    """The same photographs with exact rotations."""
    cameras, names = photographs.cameras, photographs.names
    good = cameras.world_from_camera.isfinite().flatten(1).all(1)
    _require(good, names, "has a pose that is not finite", "take the picture out or correct its pose")
    good = (cameras.intrinsics.isfinite().all(1)) & (cameras.intrinsics[:, :2] > 0).all(1)
    _require(good, names, "has a focal length that is not above 0", "correct its intrinsics")
    _require(cameras.distortion.isfinite().all(1), names, "has a distortion that is not finite", "correct it")
    matrix = cameras.world_from_camera[:, :, :3].double()
    # 1 for a rotation times any scale, less the more the axes lean towards each other, 0 where they share a plane
    scale = matrix.square().sum((1, 2)).div(3).sqrt().clamp_min(1e-30)
    volume = torch.det(matrix / scale[:, None, None])
    remedy = "take the picture out or correct its pose"
    _require(
        (volume.abs() >= 1e-6) & (scale > 1e-12), names, "has a singular pose (its rotation has no inverse)", remedy
    )
    _require(volume > 0, names, "has a mirrored pose (left-handed axes)", remedy)
    _require(volume > 0.5, names, "has a pose whose axes are far from a right angle", remedy)
    rotation = nearest_rotation(matrix).to(cameras.world_from_camera.dtype)
    pose = torch.cat([rotation, cameras.world_from_camera[:, :, 3:]], -1)
    return replace(photographs, cameras=replace(cameras, world_from_camera=pose))


def _require(good: Tensor, names: tuple[str, ...], what: str, remedy: str) -> None:
    if not bool(good.all()):
        raise InputError(f"{names[int((~good).nonzero()[0])]} {what}; {remedy}")


def _check_box_is_seen(cameras: Cameras, box: Box) -> None:
    """A tenth of the cameras, at least, must have the middle of the box in their pictures."""
    seen = _sees(cameras, box.center)
    if float(seen.float().mean()) < 0.1:
        x, y, z = box.center.tolist()
        raise InputError(
            f"only {int(seen.sum())} of {len(cameras)} cameras see the middle of the object at ({x:.3g}, {y:.3g}, "
            f"{z:.3g}), so they look away from it; {FLIPPED}"
        )


def _sees(cameras: Cameras, point: Float[Tensor, "3"]) -> Tensor:
    pixel, z = cameras.project(torch.arange(len(cameras)), point.expand(len(cameras), 3))
    size = torch.tensor([float(cameras.width), float(cameras.height)])
    return ((pixel >= 0) & (pixel <= size)).all(-1) & ((z > 0) | (cameras.lens == "fisheye"))


def _check_not_outward(cameras: Cameras) -> None:
    """Cameras that stand around a place must not look away from it.

    That can only be said where they do stand around something: where their directions differ (the mean of the unit
    vectors is well below 1, so neither a forward-facing capture nor one that fans out a little) and where their axes
    nearly meet in one point (a room that was taken at will from its middle has no such point). If that point lies
    behind nine tenths of them, they look away.
    """
    point = focus_point(cameras)
    offset = point - cameras.center
    along = (offset * cameras.forward).sum(-1)
    across = (offset - along[:, None] * cameras.forward).norm(dim=-1)
    directions_differ = float(cameras.forward.mean(0).norm()) < 0.97
    axes_meet = float(across.median()) < 0.25 * float(offset.norm(dim=-1).median())
    if directions_differ and axes_meet and float((along < 0).float().mean()) >= 0.9:
        x, y, z = point.tolist()
        raise InputError(
            f"all cameras look away from the place that they surround, ({x:.3g}, {y:.3g}, {z:.3g}); {FLIPPED}"
        )
