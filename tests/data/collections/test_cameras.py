from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box, Cameras
from nerf3d.core.cameras import Lens
from nerf3d.core.paths import standing
from nerf3d.data.collections.cameras import exact_poses, mirrored_cameras, visible_box
from nerf3d.data.collections.world import WorldObject, picture_of
from nerf3d.data.world import distance as d
from nerf3d.data.world.distance import Distance
from nerf3d.data.world.picture import Paint
from nerf3d.errors import InputError

FLIP = torch.tensor([-1.0, 1.0, 1.0])


def around(size: int = 48) -> Cameras:
    """Four cameras, each with another lens that does not look through the middle."""
    cameras = standing(
        torch.tensor([10.0, 100, 200, 300]),
        torch.tensor([0.0, 30, 60, -20]),
        torch.full((4,), 3.2),
        torch.tensor([40.0, 45, 50, 55]),
        size,
    )
    shift = torch.tensor([[0.0, 0, 3.5, -2]])
    return replace(cameras, intrinsics=cameras.intrinsics + shift)


def painted(shapes: list[Distance]) -> WorldObject:
    colors = torch.eye(3)
    coats = [Paint(colors[i], colors[i], "plain", 1.0, torch.zeros(3)) for i in range(len(shapes))]
    return WorldObject(tuple(shapes), coats, Box.cube(1.0), "", (), torch.zeros(0))


def reflected(shape: Distance) -> Distance:
    return lambda p: shape(p * FLIP)


def test_the_mirror_picture_is_the_picture_of_the_mirrored_scene() -> None:
    """An asymmetric scene and its mirror image at x = 0, drawn from the cameras and from the mirrored cameras."""
    shapes = [
        d.moved(d.block(0.3, 0.1, 0.2), 0.35, -0.2, 0.1),
        d.moved(d.ball(0.25), -0.3, 0.3, -0.3),
        d.rod((0.1, -0.5, -0.5), (-0.6, 0.2, 0.4), 0.1),
    ]
    cameras = around()
    mirrored = mirrored_cameras(cameras)
    rotation = mirrored.world_from_camera[:, :, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-6)
    assert torch.allclose(torch.det(rotation), torch.ones(4), atol=1e-6)
    picture = picture_of(painted(shapes), cameras)
    other = picture_of(painted([reflected(shape) for shape in shapes]), mirrored)
    difference = (picture.flip(2).float() - other.float()).abs()
    assert float((difference > 2).float().mean()) < 2e-3  # rays that graze an edge
    assert float((picture.float() - other.float()).abs().mean()) > 5  # and without the flip they are others
    assert float((picture_of(painted(shapes), mirrored).float() - other.float()).abs().mean()) > 5


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_mirrored_points_land_in_mirrored_pixels_through_any_lens(lens: Lens) -> None:
    k = torch.tensor([0.05, -0.02, 0.01, 0.03, 0.004])
    cameras = replace(around(), distortion=k.expand(4, 5).clone(), lens=lens)
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    index = torch.arange(4)
    pixel, z = cameras.project(index, x)
    flipped, depth = mirrored_cameras(cameras).project(index, x * FLIP)
    assert torch.allclose(flipped[:, 0], 48 - pixel[:, 0], atol=1e-4)
    assert torch.allclose(flipped[:, 1], pixel[:, 1], atol=1e-4)
    assert torch.allclose(z, depth, atol=1e-6)


def four_by_four(cameras: Cameras) -> torch.Tensor:
    return torch.cat([cameras.world_from_camera, torch.tensor([0.0, 0, 0, 1]).expand(len(cameras), 1, 4)], 1)


def test_rounding_is_mended() -> None:
    poses = four_by_four(around())
    rough = (poses * 1000).round() / 1000
    exact = exact_poses(rough, ["a", "b", "c", "d"])
    rotation = exact[:, :, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-6)
    assert torch.allclose(exact, poses[:, :3], atol=2e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (torch.diag(torch.tensor([1.0, 1, 0, 1])), "has a singular pose"),
        (torch.diag(torch.tensor([1.0, 1, -1, 1])), "has a mirrored pose"),
        (torch.diag(torch.tensor([2.0, 2, 2, 1])), "has a pose that is not rigid"),
        (torch.diag(torch.tensor([1.0, 1, 1, 2])), "has a pose whose last row is not 0 0 0 1"),
        (torch.diag(torch.tensor([1.0, 1, torch.nan, 1])), "has a pose that is not finite"),
    ],
)
def test_poses_that_are_no_rigid_motion(change: torch.Tensor, said: str) -> None:
    poses = four_by_four(around())
    poses[2] = poses[2] @ change
    with pytest.raises(InputError, match=f"^c {said}.*; correct it or take the picture out$"):
        exact_poses(poses, ["a", "b", "c", "d"])


def test_the_box_is_what_the_pictures_show() -> None:
    """Cameras 3 away with a right angle of view show 6 units there, so a cube of half side 3."""
    each = (torch.tensor([0.0, 90, 200]), torch.tensor([0.0, 30, 50]), torch.full((3,), 3.0), torch.full((3,), 90.0))
    cameras = standing(*each, 20)
    box = visible_box(cameras, whole=True)
    assert box.high.tolist() == pytest.approx([3, 3, 3], abs=1e-3)
    assert box.center.tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert visible_box(cameras, whole=False).high.tolist() == pytest.approx([3 * 2**0.5] * 3, abs=1e-3)


def test_cameras_that_all_look_one_way_say_nothing_but_the_origin() -> None:
    cameras = standing(torch.zeros(3), torch.zeros(3), torch.full((3,), 3.0), torch.full((3,), 90.0), 20)
    box = visible_box(cameras, whole=True)
    assert box.low.tolist() == pytest.approx([-3, -3, -3], rel=1e-4)
