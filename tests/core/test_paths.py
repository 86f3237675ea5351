"""Where a film's cameras go."""

import math

import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize
from nerf3d.core.paths import focus_point, mean_up, nearest_rotation, orbit, orbit_around, spiral, through

UP = torch.tensor([0.0, 0.0, 1.0])
TARGET = torch.tensor([1.0, -2.0, 0.5])


def ring(count: int = 12, distance: float = 3.0, height: float = 0.4, target: torch.Tensor = TARGET) -> Cameras:
    """Cameras at one height (in radians) that look at the target."""
    angle = torch.arange(count) * (2 * math.pi / count)
    flat = torch.stack([angle.cos(), angle.sin(), torch.zeros(count)], -1)
    eye = target + distance * (math.cos(height) * flat + math.sin(height) * UP)
    return Cameras.pinhole(look_at(eye, target, UP), 20.0, 16, 16)


def front(count: int = 4) -> Cameras:
    """A wall of cameras, 2 wide and 1 high, that look at a point 5 in front of its middle."""
    x, z = torch.meshgrid(torch.linspace(-1, 1, count), torch.linspace(-0.5, 0.5, count), indexing="ij")
    eye = torch.stack([x.flatten(), torch.zeros(count * count), z.flatten()], -1)
    return Cameras.pinhole(look_at(eye, torch.tensor([0.0, 5.0, 0.0]), UP), 20.0, 16, 16)


def assert_rotations(poses: torch.Tensor) -> None:
    rotation = poses[:, :, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand_as(rotation), atol=2e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(poses)), atol=2e-5, rtol=0)


def assert_looks_at(poses: torch.Tensor, target: torch.Tensor) -> None:
    torch.testing.assert_close(poses[:, :, 2], normalize(target - poses[:, :, 3]), atol=1e-4, rtol=0)


def test_focus_point_of_axes_that_meet() -> None:
    torch.testing.assert_close(focus_point(ring()), TARGET, atol=1e-4, rtol=0)
    torch.testing.assert_close(focus_point(front()), torch.tensor([0.0, 5.0, 0.0]), atol=1e-2, rtol=0)


def test_focus_point_of_axes_that_pass_each_other() -> None:
    """Two axes along x and y, 2 apart in z: the nearest point lies in the middle between them."""
    eye = torch.tensor([[-4.0, 0.0, 1.0], [0.0, -6.0, -1.0]])
    poses = look_at(eye, eye + torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), UP)
    torch.testing.assert_close(focus_point(Cameras.pinhole(poses, 9.0, 4, 4)), torch.zeros(3), atol=1e-4, rtol=0)


def test_focus_point_of_parallel_axes_is_finite() -> None:
    eye = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    poses = look_at(eye, eye + torch.tensor([0.0, 1.0, 0.0]), UP)
    point = focus_point(Cameras.pinhole(poses, 9.0, 4, 4))
    torch.testing.assert_close(point, torch.tensor([1 / 3, 0.0, 1 / 3]), atol=1e-3, rtol=0)


def test_mean_up() -> None:
    torch.testing.assert_close(mean_up(ring()), UP, atol=1e-5, rtol=0)


def test_orbit() -> None:
    poses = orbit(8, TARGET, UP, distance=2.0, elevation=30.0, start=torch.tensor([0.0, 5.0, 3.0]))
    assert poses.shape == (8, 3, 4)
    assert_rotations(poses)
    assert_looks_at(poses, TARGET)
    offset = poses[:, :, 3] - TARGET
    torch.testing.assert_close(offset.norm(dim=-1), torch.full((8,), 2.0))
    torch.testing.assert_close(offset[:, 2], torch.full((8,), 1.0))  # 2 sin 30
    torch.testing.assert_close(offset[0], torch.tensor([0.0, math.sqrt(3.0), 1.0]), atol=1e-6, rtol=0)
    assert bool((poses[:, 2, 1] < 0).all())  # down is down
    turns = torch.atan2(offset[:, 1], offset[:, 0]).diff()
    torch.testing.assert_close(turns.remainder(2 * math.pi), torch.full((7,), math.pi / 4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("start", [None, UP, -3 * UP])
def test_orbit_begins_somewhere_if_nothing_sensible_is_said(start: torch.Tensor | None) -> None:
    up = torch.tensor([1.0, 0.0, 0.0]) if start is None else UP
    poses = orbit(5, TARGET, up, distance=1.0, elevation=0.0, start=start)
    assert_rotations(poses)
    torch.testing.assert_close((poses[:, :, 3] - TARGET) @ up, torch.zeros(5), atol=1e-6, rtol=0)


def test_orbit_around_has_the_cameras_own_height_and_distance() -> None:
    poses = orbit_around(ring(distance=3.0, height=0.4), UP, 6)
    offset = poses[:, :, 3] - TARGET
    torch.testing.assert_close(offset.norm(dim=-1), torch.full((6,), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(offset[:, 2], torch.full((6,), 3 * math.sin(0.4)), atol=1e-3, rtol=0)
    assert_looks_at(poses, TARGET)


@pytest.mark.parametrize(("first", "last"), [(-80, 80), (100, 260)])
def test_orbit_around_stays_where_photographs_were_taken(first: int, last: int) -> None:
    """On a part of the circle, given in degrees, it swings to and fro and comes close to both ends."""
    angle = torch.deg2rad(torch.linspace(first, last, 9))
    eye = TARGET + torch.stack([3 * angle.cos(), 3 * angle.sin(), torch.ones_like(angle)], -1)
    views = Cameras.pinhole(look_at(eye, TARGET, UP), 20.0, 16, 16)
    offset = orbit_around(views, UP, 40)[:, :, 3] - TARGET
    middle = math.radians((first + last) / 2)
    ahead = offset[:, 0] * math.cos(middle) + offset[:, 1] * math.sin(middle)
    aside = offset[:, 1] * math.cos(middle) - offset[:, 0] * math.sin(middle)
    turned = torch.atan2(aside, ahead)
    reach = math.radians((last - first) / 2)
    assert 0.8 * reach < float(turned.amax()) <= reach
    assert -reach <= float(turned.amin()) < -0.8 * reach
    torch.testing.assert_close(offset[:, 2], torch.ones(40), atol=1e-2, rtol=0)


def test_spiral_stays_within_half_the_spread() -> None:
    views = front()
    poses = spiral(views, 40)
    assert_rotations(poses)
    assert_looks_at(poses, focus_point(views))
    eye = poses[:, :, 3]
    low, high = (views.center.aminmax(dim=0).min, views.center.aminmax(dim=0).max)
    assert bool((eye >= 0.5 * low - 1e-3).all())
    assert bool((eye <= 0.5 * high + 1e-3).all())
    assert float(eye[:, 0].amax() - eye[:, 0].amin()) > 0.8  # and it does move
    assert float(eye[:, 2].amax() - eye[:, 2].amin()) > 0.4


def test_through_passes_the_keys() -> None:
    keys = ring(5).world_from_camera
    torch.testing.assert_close(through(keys, 13)[::3], keys, atol=1e-4, rtol=0)
    closed = through(keys, 15, closed=True)
    torch.testing.assert_close(closed[::3], keys, atol=1e-4, rtol=0)
    for poses in (through(keys, 13), closed):
        assert_rotations(poses)
        steps = poses[:, :, 3].diff(dim=0).norm(dim=-1)
        assert float(steps.amax()) < 2 * float(steps.amin())  # it flows, and does not jump
    last = (closed[0] - closed[-1])[:, 3].norm()
    assert float(last) < 2 * float(closed[:, :, 3].diff(dim=0).norm(dim=-1).amin())


def test_through_few() -> None:
    keys = ring(5).world_from_camera
    assert torch.equal(through(keys[:1], 4), keys[:1].expand(4, 3, 4))
    torch.testing.assert_close(through(keys, 1), keys[:1], atol=1e-5, rtol=0)
    two = through(keys[:2], 3)
    torch.testing.assert_close(two[[0, 2]], keys[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(two[1, :, 3], keys[:2, :, 3].mean(0), atol=1e-5, rtol=0)


def test_nearest_rotation() -> None:
    rng = torch.Generator().manual_seed(0)
    rotation = nearest_rotation(torch.randn(10, 3, 3, generator=rng))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(10))
    torch.testing.assert_close(nearest_rotation(rotation), rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(nearest_rotation(7 * rotation), rotation, atol=1e-5, rtol=0)
    # No rotation nearby is nearer, also where the matrix is mirrored.
    for matrix in (torch.randn(3, 3, generator=rng), torch.diag(torch.tensor([1.0, 2.0, -0.5]))):
        best = nearest_rotation(matrix)
        a = 0.1 * torch.randn(200, 3, 3, generator=rng)
        others = torch.matrix_exp(a - a.mT) @ best
        assert bool(((others - matrix).square().sum((1, 2)) >= (best - matrix).square().sum() - 1e-5).all())
