"""A painted egg for a head, and landmarks that lie about it as a detector's do about a drawn face."""

import math
from collections.abc import Callable

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.portrait.align import SIDE, align, upper_face
from nerf3d.data.portrait.landmarks import NOSE_WINGS, POINTS, RIGID
from nerf3d.data.portrait.pose import Poses, posed

FOCAL, CENTER = 2.5 * SIDE, (SIDE / 2, SIDE / 2)
RADII = torch.tensor([0.07, 0.09, 0.08])
COUNT = 60
TIMES = torch.arange(float(COUNT))
OPENING = 0.5 - 0.5 * torch.cos(TIMES * 0.25)


def egg() -> Float[Tensor, "478 3"]:
    """Landmarks all over the front of it, the wings of the nose a little below its middle."""
    k = torch.arange(POINTS)
    radius, angle = 0.95 * ((k + 0.5) / POINTS).sqrt(), 2.4 * k
    x, y = radius * torch.cos(angle), radius * torch.sin(angle)
    for wing, side in zip(NOSE_WINGS, (-0.2, 0.2)):
        x[wing], y[wing] = side, -0.25
    return torch.stack([x, y, (1 - x.square() - y.square()).sqrt()], -1) * RADII


def head_to_camera(nod: Float[Tensor, "n"]) -> Float[Tensor, "n 3 4"]:
    """Nods of so many degrees beside some turns to the sides, 80 cm away."""
    a, b = torch.deg2rad(nod), torch.deg2rad(4 * torch.sin(TIMES / 9))
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    rows = [one, zero, zero, zero, a.cos(), -a.sin(), zero, a.sin(), a.cos()]
    turn = [b.cos(), zero, b.sin(), zero, one, zero, -b.sin(), zero, b.cos()]
    nods, turns = (torch.stack(part, -1).reshape(-1, 3, 3) for part in (rows, turn))
    place = torch.stack([0.004 * torch.sin(TIMES / 7), zero, 0.8 + zero], -1)
    return torch.cat([torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ nods @ turns, place[..., None]], -1)


NOD = 4 * torch.sin(TIMES / 6)
TRUTH, LIE = head_to_camera(NOD), head_to_camera(0.5 * NOD - 3 * OPENING)


def lied() -> tuple[Poses, Float[Tensor, "n 478 3"]]:
    """Half of a nod, three degrees less as the mouth opens: poses and landmarks that agree about it."""
    seen = egg() @ LIE[:, :, :3].transpose(1, 2) + LIE[:, None, :, 3]
    pixels = seen[..., :2] / seen[..., 2:] * FOCAL + SIDE / 2
    rotation, translation = LIE.double().split([3, 1], -1)
    poses = posed(rotation, translation[..., 0], egg().double(), pixels[:, list(RIGID)].double(), FOCAL, CENTER)
    return poses, torch.cat([pixels, seen[..., 2:]], -1)


def painter(contrast: float) -> Callable[[int], Tensor]:
    """Pictures of the egg as it is, in light that flickers; what is below the nose moves with the mouth."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    ray = torch.stack([(x + 0.5 - SIDE / 2) / FOCAL, (y + 0.5 - SIDE / 2) / FOCAL, torch.ones_like(x)], -1)

    def picture(index: int) -> Tensor:
        rotation, translation = TRUTH[index].split([3, 1], -1)
        origin, way = -(rotation.T @ translation)[:, 0] / RADII, (ray @ rotation) / RADII
        along, length = way @ origin, way.square().sum(-1)
        root = along.square() - length * (origin.square().sum() - 1)
        place = (origin + (-along - root.clamp_min(0).sqrt())[..., None] / length[..., None] * way) * RADII
        across, up = place[..., 0], place[..., 1]
        up = torch.where(up < -0.035, up + 0.01 * float(OPENING[index]), up)
        paint = torch.sin(230 * across + 80 * up) + torch.sin(310 * up - 60 * across)
        grey = (120 + contrast * paint) * (1 + 0.15 * math.sin(0.9 * index))
        return torch.where(root > 0, grey, 200.0).clamp(0, 255).round().to(torch.uint8)

    return picture


def nodding_error(found: Float[Tensor, "n 3 4"], truth: Float[Tensor, "n 3 4"]) -> float:
    """Degrees between them in the mean, beside a turn that is the same in all frames."""
    turn = truth[:, :, :3].transpose(1, 2) @ found[:, :, :3]
    left, _, right = torch.linalg.svd(turn.sum(0))
    trace = (turn @ (left @ right).T).diagonal(dim1=1, dim2=2).sum(-1)
    return float(torch.rad2deg(torch.acos(((trace.double() - 1) / 2).clamp(-1, 1))).mean())


def test_pictures_correct_what_landmarks_shrink_and_mix_with_the_mouth() -> None:
    poses, points = lied()
    assert nodding_error(poses.head_to_camera, TRUTH) > 1.3
    better = align(poses, points, TIMES, painter(30), FOCAL, CENTER)
    assert nodding_error(better.head_to_camera, TRUTH) < 0.4
    assert poses.rms < 0.01 < 0.5 < better.rms  # it is the landmarks that are wrong
    assert float((better.head_to_camera[:, :, 3] - TRUTH[:, :, 3]).norm(dim=-1).mean()) < 0.02 * 0.8


def test_a_plain_face_leaves_the_poses_to_the_landmarks() -> None:
    poses, points = lied()
    assert align(poses, points, TIMES, painter(3), FOCAL, CENTER) is poses


def test_where_a_hand_is_before_the_face_the_landmarks_hold_the_head() -> None:
    poses, points = lied()
    paint = painter(30)

    def hidden(index: int) -> Tensor:
        return torch.full((SIDE, SIDE), 150, dtype=torch.uint8) if 30 <= index < 33 else paint(index)

    better = align(poses, points, TIMES, hidden, FOCAL, CENTER).head_to_camera
    assert nodding_error(better, TRUTH) < 0.5
    assert float((better[:, :, 3] - TRUTH[:, :, 3]).norm(dim=-1).max()) < 0.03 * 0.8


def test_the_relief_is_the_upper_face_alone() -> None:
    relief = upper_face(egg())
    assert len(relief) > 1000
    assert float(relief[:, 1].min()) == pytest.approx(-0.25 * 0.09 - 0.005, abs=0.003)
    on = (relief / RADII).square().sum(-1)
    assert float(on.median()) == pytest.approx(1, abs=0.02)
