"""From pixels to rays and back."""

import math
from dataclasses import replace

import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.core.distortion import distort, fisheye_distort, fisheye_undistort, undistort
from nerf3d.core.paths import nearest_rotation

OPENCV = torch.tensor([-0.2, 0.06, 0.004, -0.003, -0.01])
FISHEYE = torch.tensor([-0.04, 0.01, -0.003, 0.0005, 0.0])


def cameras(count: int = 4, width: int = 60, height: int = 40) -> Cameras:
    """At random places, turned at random, with four different numbers as intrinsics."""
    rng = torch.Generator().manual_seed(0)
    rotation = nearest_rotation(torch.randn(count, 3, 3, generator=rng))
    pose = torch.cat([rotation, torch.randn(count, 3, 1, generator=rng)], -1)
    intrinsics = torch.tensor([50.0, 45.0, 31.0, 18.5]).expand(count, 4) + torch.rand(count, 4, generator=rng)
    return Cameras(pose, intrinsics, torch.zeros(count, 5), width, height)


def test_a_ray_by_hand() -> None:
    """Focal length 2, principal point (1, 1): pixel (3, 1) lies at x = 1 on the plane z = 1, so 45 degrees to the right.

    The camera stands at (1, 2, 3), looks along +x of the world and holds -z upwards: its x axis is the world's... down
    is +z, forward +x, so right is down x forward = +y.
    """
    pose = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 3.0]]])
    camera = Cameras.pinhole(pose, 2.0, 2, 2)
    rays = camera.rays_at(torch.tensor([0, 0]), torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
    s = 1 / math.sqrt(2)
    torch.testing.assert_close(rays.origin, torch.tensor([[1.0, 2.0, 3.0]] * 2))
    torch.testing.assert_close(rays.direction, torch.tensor([[s, s, 0.0], [s, 0.0, s]]))
    assert rays.near.tolist() == [0.0, 0.0]
    assert rays.far.tolist() == [math.inf] * 2


def test_rays_go_through_pixel_centres_row_by_row() -> None:
    views = cameras(2, width=5, height=3)
    rays = views.rays(1)
    assert len(rays) == 15
    expected = torch.tensor([[x + 0.5, y + 0.5] for y in range(3) for x in range(5)])
    pixel, _ = views.project(torch.ones(15, dtype=torch.int64), rays.at(torch.full((15,), 2.0)))
    torch.testing.assert_close(pixel, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("lens", ["pinhole", "distorted", "fisheye", "distorted fisheye"])
def test_there_and_back(lens: str) -> None:
    views = cameras()
    if "distorted" in lens:
        k = FISHEYE if "fisheye" in lens else OPENCV
        views = replace(views, distortion=k.expand(4, 5) * torch.tensor([[1.0], [0.5], [-0.3], [0.0]]))
    views = replace(views, lens="fisheye" if "fisheye" in lens else "pinhole")
    rng = torch.Generator().manual_seed(1)
    index = torch.arange(4).repeat_interleave(100)
    pixel = torch.rand(400, 2, generator=rng) * torch.tensor([60.0, 40.0])
    rays = views.rays_at(index, pixel)
    torch.testing.assert_close(rays.direction.norm(dim=-1), torch.ones(400))
    assert torch.equal(rays.origin, views.center[index])
    distance = 0.5 + 3 * torch.rand(400, generator=rng)
    again, z = views.project(index, rays.at(distance))
    torch.testing.assert_close(again, pixel, atol=2e-3, rtol=0)
    cosine = (rays.direction * views.forward[index]).sum(-1)
    torch.testing.assert_close(z, distance * cosine, atol=1e-5, rtol=1e-5)


def test_a_fisheye_lens_puts_angles_at_equal_distances() -> None:
    """Without distortion the distance from the principal point is focal length times angle, behind the camera too."""
    pose = torch.eye(4)[None, :3]
    camera = replace(Cameras.pinhole(pose, 10.0, 80, 80), lens="fisheye")
    angle = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    pixel = torch.stack([40 + 10 * angle, torch.full_like(angle, 40.0)], -1)
    index = torch.zeros(6, dtype=torch.int64)
    direction = camera.rays_at(index, pixel).direction
    torch.testing.assert_close(direction, torch.stack([angle.sin(), 0 * angle, angle.cos()], -1), atol=1e-6, rtol=0)
    again, z = camera.project(index, 2 * direction)
    torch.testing.assert_close(again, pixel)
    torch.testing.assert_close(z, 2 * angle.cos(), atol=1e-6, rtol=0)


def test_points_behind_a_camera_have_negative_z() -> None:
    views = cameras(1)
    _, z = views.project(torch.tensor([0]), views.center - 2 * views.forward)
    assert float(z) == pytest.approx(-2.0, abs=1e-5)


def test_pictures_of_another_size_show_the_same() -> None:
    views = replace(cameras(), distortion=OPENCV.expand(4, 5))
    small = views.scaled_to(30, 10)
    assert (small.width, small.height) == (30, 10)
    index = torch.arange(4)
    pixel = torch.rand(4, 2, generator=torch.Generator().manual_seed(2)) * torch.tensor([60.0, 40.0])
    rays, again = views.rays_at(index, pixel), small.rays_at(index, pixel * torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(rays.direction, again.direction)


def test_some_of_the_cameras() -> None:
    views = cameras()
    assert len(views) == 4
    for index in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])):
        assert torch.equal(views[index].world_from_camera, views.world_from_camera[1:3])
        assert torch.equal(views[index].intrinsics, views.intrinsics[1:3])
        assert (views[index].width, views[index].height) == (60, 40)


def test_look_at() -> None:
    """From (0, -2, 0) to the origin with +z upwards: right is +x, down is -z, forward is +y."""
    pose = look_at(torch.tensor([0.0, -2.0, 0.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    expected = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -2.0], [0.0, -1.0, 0.0, 0.0]])
    torch.testing.assert_close(pose, expected)
    rng = torch.Generator().manual_seed(3)
    eye, target, up = torch.randn(3, 20, 3, generator=rng)
    pose = look_at(eye, target, up)
    rotation = pose[:, :, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20))
    views = Cameras.pinhole(pose, 30.0, 20, 10)
    pixel, z = views.project(torch.arange(20), target)
    torch.testing.assert_close(pixel, torch.tensor([[10.0, 5.0]]).expand(20, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(z, (target - eye).norm(dim=-1))
    above, _ = views.project(torch.arange(20), target + 0.01 * up)
    assert bool((above[:, 1] < 5).all())
    torch.testing.assert_close(above[:, 0], torch.full((20,), 10.0), atol=1e-3, rtol=0)


def test_distortion_by_hand() -> None:
    """(x, y) = (1, 2), r^2 = 5: radial 1 + 0.5 - 0.5 + 0.25; tangential (0.01 * 4 + 0.02 * 7, 0.01 * 13 + 0.02 * 4)."""
    k = torch.tensor([0.1, -0.02, 0.01, 0.02, 0.002])
    expected = torch.tensor([1.25 + 0.04 + 0.14, 2.5 + 0.13 + 0.08])
    torch.testing.assert_close(distort(torch.tensor([1.0, 2.0]), k), expected)
    k = torch.tensor([0.1, 0.01, 0.0, 0.001])  # angle 2: 1 + 0.4 + 0.16 + 0.256
    torch.testing.assert_close(fisheye_distort(torch.tensor([1.2, 1.6]), k), 1.816 * torch.tensor([1.2, 1.6]))


def test_distortion_is_undone() -> None:
    y, x = torch.meshgrid(torch.linspace(-0.8, 0.8, 9), torch.linspace(-0.8, 0.8, 9), indexing="ij")
    plane = torch.stack([x, y], -1)
    for k in (OPENCV, -0.5 * OPENCV, torch.zeros(5)):
        each = k.expand(9, 9, 5)
        torch.testing.assert_close(undistort(distort(plane, each), each), plane, atol=2e-6, rtol=0)
    for angle in (0.0, 1e-8, 0.5, 1.5):
        there = torch.tensor([[0.6 * angle, -0.8 * angle]])
        torch.testing.assert_close(
            fisheye_undistort(fisheye_distort(there, FISHEYE[None, :4]), FISHEYE[None, :4]), there, atol=2e-6, rtol=0
        )


def test_distortion_that_folds_over_stays_finite() -> None:
    k = torch.tensor([-2.0, 3.0, 0.1, 0.1, -5.0])
    far = 4 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert bool(undistort(far, k.expand(200, 5)).isfinite().all())
    assert bool(fisheye_undistort(far, k[:4].expand(200, 4)).isfinite().all())


def test_rays_are_differentiable_in_the_pose() -> None:
    views = cameras(1)
    pose = views.world_from_camera.clone().requires_grad_()
    rays = replace(views, world_from_camera=pose).rays_at(torch.tensor([0]), torch.tensor([[3.0, 9.0]]))
    rays.at(torch.tensor([2.0])).sum().backward()
    assert pose.grad is not None
    torch.testing.assert_close(pose.grad[0, :, 3], torch.ones(3))
    assert float(pose.grad[0, :, :3].abs().sum()) > 0
