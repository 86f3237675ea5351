"""What a collection asks of its cameras, whichever format they came in; and what a mirror makes of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.core.paths import focus_point, nearest_rotation
from nerf3d.errors import InputError

ROUNDING = 1e-2
"""The largest error of an entry of R R^T that counts as rounding, as of numbers that were written with few digits."""


def exact_poses(poses: Float[Tensor, "n 4 4"], names: Sequence[str]) -> Float[Tensor, "n 3 4"]:
    """Camera-to-world matrices with their rotations made exact.

    Raises InputError, with the name, for the first pose that is not finite, singular, mirrored or not rigid.
    """
    poses = poses.double()
    finite = poses.isfinite().flatten(1).all(1)
    _require(finite, names, "has a pose that is not finite")
    rotation = poses[:, :3, :3]
    error = (rotation @ rotation.transpose(1, 2) - torch.eye(3, dtype=torch.float64)).abs().flatten(1).amax(1)
    row = (poses[:, 3] - torch.tensor([0.0, 0.0, 0.0, 1.0])).abs().amax(1)
    volume = torch.det(rotation)
    _require(volume.abs() > 1e-6, names, "has a singular pose (its rotation has no inverse)")
    _require((volume > 0) | (error > ROUNDING), names, "has a mirrored pose (left-handed axes)")
    _require(error <= ROUNDING, names, "has a pose that is not rigid (scaled or sheared axes)")
    _require(row < 1e-4, names, "has a pose whose last row is not 0 0 0 1")
    return torch.cat([nearest_rotation(rotation), poses[:, :3, 3:]], -1).float()


def _require(good: Tensor, names: Sequence[str], what: str) -> None:
    if not bool(good.all()):
        raise InputError(f"{names[int((~good).nonzero()[0])]} {what}; correct it or take the picture out")


def visible_box(cameras: Cameras, whole: bool) -> Box:
    """The cube around what the cameras look at, as large as their pictures show it.

    `whole` says that objects lie in front of nothing and so within the pictures: the cube is as wide as the picture is
    there. Where pictures are filled to their corners it is as wide as their diagonal. Cameras that all look one way meet
    nowhere; then it stands around the origin.
    """
    target = focus_point(cameras)
    distance = ((target - cameras.center) * cameras.forward).sum(-1)
    if float(distance.median()) < 1e-2 * float(cameras.center.norm(dim=-1).median()):
        target = torch.zeros(3)
        distance = ((target - cameras.center) * cameras.forward).sum(-1)
    reach = torch.tensor([cameras.width, cameras.height]) / (2 * cameras.intrinsics[:, :2])
    half = distance * (reach.amax(-1) if whole else reach.norm(dim=-1))
    x, y, z = target.tolist()
    return Box.cube(max(float(half.median()), 1e-6), (x, y, z))


def mirrored_cameras(cameras: Cameras) -> Cameras:
    """Cameras that see the world's mirror image at the plane x = 0 as the given ones see the world, left for right.

    With M = diag(-1, 1, 1) a world point x becomes M x and a point of the picture (u, v) becomes (w - u, v), so the
    camera's own x axis changes its sign as well: R' = M R M, c' = M c. Two reflections make R' a rotation again.

        >>> eye = torch.tensor([[1.0, 0, 0, 2], [0, 1, 0, 3], [0, 0, 1, 4]])[None]
        >>> mirrored_cameras(Cameras.pinhole(eye, 10.0, 8, 8)).center.tolist()
        [[-2.0, 3.0, 4.0]]
    """
    flip = torch.tensor([-1.0, 1.0, 1.0])
    pose = flip[:, None] * cameras.world_from_camera * torch.tensor([-1.0, 1.0, 1.0, 1.0])
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, 2] = cameras.width - intrinsics[:, 2]
    distortion = cameras.distortion.clone()
    if cameras.lens == "pinhole":
        distortion[:, 3] = -distortion[:, 3]  # p2 pulls sideways
    return Cameras(pose, intrinsics, distortion, cameras.width, cameras.height, cameras.lens)
