"""Camera paths: the ways in which a film goes around a scene. Each gives poses, (frames 3 4), OpenCV axes."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core.cameras import Cameras, look_at
from nerf3d.core.numerics import normalize


def focus_point(cameras: Cameras) -> Float[Tensor, "3"]:
    """The point that all cameras look at, as nearly as they agree: the least-squares meeting point of their axes.

    Minimises the sum of squared distances to the optical axes: sum (I - f f^T) (p - c) = 0. A little of the mean centre
    is mixed in, so that parallel axes have an answer too.
    """
    f = cameras.forward.double()
    across = torch.eye(3, dtype=torch.float64, device=f.device) - f[:, :, None] * f[:, None, :]
    center = cameras.center.double()
    tie = 1e-6 * torch.eye(3, dtype=torch.float64, device=f.device)
    matrix = across.mean(0) + tie
    return torch.linalg.solve(matrix, (across @ center[:, :, None]).mean(0)[:, 0] + tie @ center.mean(0)).float()


def mean_up(cameras: Cameras) -> Float[Tensor, "3"]:
    """The direction that the cameras, on average, hold upwards."""
    return normalize(-cameras.world_from_camera[:, :, 1].mean(0))


def _frame(up: Float[Tensor, "3"], toward: Float[Tensor, "3"]) -> tuple[Tensor, Tensor]:
    """Two horizontal unit vectors at right angles, the first as near to `toward` as can be."""
    flat = toward - (toward @ up) * up
    if float(flat.norm()) < 1e-6:
        axis = torch.eye(3, dtype=up.dtype, device=up.device)[int(up.abs().argmin())]
        flat = axis - (axis @ up) * up
    first = normalize(flat)
    return first, torch.linalg.cross(up, first)


def around(
    angle: Float[Tensor, "frames"],
    target: Float[Tensor, "3"],
    up: Float[Tensor, "3"],
    distance: float,
    elevation: float,
    start: Float[Tensor, "3"],
) -> Float[Tensor, "frames 3 4"]:
    """Cameras around `target` at the given angles (radians, from the side of `start`), `elevation` degrees above it."""
    first, second = _frame(up, start)
    height = math.radians(elevation)
    outward = torch.cos(angle)[:, None] * first + torch.sin(angle)[:, None] * second
    eye = target + distance * (math.cos(height) * outward + math.sin(height) * up)
    return look_at(eye, target, up)


def orbit(
    frames: int,
    target: Float[Tensor, "3"],
    up: Float[Tensor, "3"],
    distance: float,
    elevation: float = 20.0,
    start: Float[Tensor, "3"] | None = None,
) -> Float[Tensor, "frames 3 4"]:
    """Once around `target` at a constant height (`elevation` in degrees), from the side of direction `start` on."""
    angle = torch.arange(frames, device=up.device) * (2 * math.pi / frames)
    return around(angle, target, up, distance, elevation, torch.eye(3)[0].to(up) if start is None else start)


WIDEST_GAP = math.radians(100)
"""Cameras that leave a larger part of the circle empty are not taken to stand all around."""


def orbit_around(cameras: Cameras, up: Float[Tensor, "3"], frames: int) -> Float[Tensor, "frames 3 4"]:
    """An orbit at the cameras' own typical height and distance around what they look at.

    Where they leave out a side of it, the path swings to and fro over the part of the circle that they cover, so that
    the film shows nothing that was never photographed.
    """
    target = focus_point(cameras)
    offset = cameras.center - target
    distance = float(offset.norm(dim=-1).median())
    rise = math.degrees(float(torch.asin((normalize(offset) @ up).clamp(-1, 1)).median()))
    start = offset.mean(0)
    first, second = _frame(up, start)
    azimuth = torch.atan2(offset @ second, offset @ first).sort().values
    gap = torch.cat([azimuth[1:], azimuth[:1] + 2 * math.pi]) - azimuth
    if len(cameras) > 1 and float(gap.max()) < WIDEST_GAP:
        return orbit(frames, target, up, distance, rise, start)
    begin = float(azimuth[(int(gap.argmax()) + 1) % len(azimuth)])
    arc = 2 * math.pi - float(gap.max())
    swing = torch.sin(torch.arange(frames, device=up.device) * (2 * math.pi / frames))
    return around(begin + 0.5 * arc * (1 + 0.9 * swing), target, up, distance, rise, start)


def spiral(cameras: Cameras, frames: int, turns: int = 2, width: float = 0.5) -> Float[Tensor, "frames 3 4"]:
    """A gentle loop around the middle of the given cameras, all looking at their focus point.

    For captures from one side: it stays within `width` times the spread of the cameras, where there is something to see.
    Where the cameras stand all around, it loops about the first of them instead, within a quarter of its distance.
    """
    target, up = focus_point(cameras), mean_up(cameras)
    middle = cameras.center.mean(0)
    distance = (cameras.center - target).norm(dim=-1)
    if float((middle - target).norm()) < 0.5 * float(distance.median()):
        near = (cameras.center - cameras.center[0]).norm(dim=-1) <= 0.5 * distance[0]
        cameras, middle = cameras[near], cameras.center[0]
    forward = normalize(target - middle)
    right, down, _ = look_at(middle, target, up)[:, :3].unbind(-1)
    offset = cameras.center - middle
    reach = [width * float((offset @ axis).abs().quantile(0.9)) for axis in (right, down, forward)]
    angle = torch.arange(frames, device=up.device) * (2 * math.pi * turns / frames)
    eye = (
        middle
        + reach[0] * torch.cos(angle)[:, None] * right
        + reach[1] * torch.sin(angle)[:, None] * down
        + reach[2] * torch.sin(0.5 * angle)[:, None] * forward
    )
    return look_at(eye, target, up)


def through(poses: Float[Tensor, "keys 3 4"], frames: int, closed: bool = False) -> Float[Tensor, "frames 3 4"]:
    """A smooth path through the given poses: centres by Catmull-Rom splines, rotations by the same blend made orthogonal."""
    keys = poses.shape[0]
    if keys == 1:
        return poses.expand(frames, 3, 4)
    spans = keys if closed else keys - 1
    at = torch.arange(frames, device=poses.device) * (spans / (frames if closed else max(frames - 1, 1)))
    left = at.floor().clamp(max=spans - 1).long()
    u = (at - left)[:, None, None]

    def key(index: Tensor) -> Tensor:
        return poses[index % keys] if closed else poses[index.clamp(0, keys - 1)]

    p0, p1, p2, p3 = (key(left + shift) for shift in (-1, 0, 1, 2))
    blend = 0.5 * (2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3)
    return torch.cat([nearest_rotation(blend[:, :, :3]), blend[:, :, 3:]], -1)


def nearest_rotation(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation closest to a matrix in the Frobenius norm (by its singular value decomposition)."""
    u, _, vh = torch.linalg.svd(matrix)
    sign = torch.det(u @ vh)
    ones = torch.ones_like(sign)
    return u @ torch.diag_embed(torch.stack([ones, ones, sign], -1)) @ vh


def standing(
    azimuth: Float[Tensor, "b"],
    elevation: Float[Tensor, "b"],
    distance: Float[Tensor, "b"],
    fov: Float[Tensor, "b"],
    size: int,
) -> Cameras:
    """Cameras that look at the origin, z up, with square pictures. Angles in degrees.

    Azimuth 0 looks at the front (from -y), 90 from +x; elevation 90 looks down from above.
    """
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation.clamp(-89.9, 89.9))
    outward = torch.stack([torch.sin(a) * torch.cos(e), -torch.cos(a) * torch.cos(e), torch.sin(e)], -1)
    eye = distance[:, None] * outward
    pose = look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    focal = 0.5 * size / torch.tan(torch.deg2rad(fov) / 2)
    intrinsics = torch.stack([focal, focal, torch.full_like(focal, size / 2), torch.full_like(focal, size / 2)], -1)
    return Cameras(pose, intrinsics, torch.zeros(len(pose), 5), size, size)
