from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box, Cameras
from nerf3d.core.cameras import look_at
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.check import check
from nerf3d.errors import InputError

SIZE = 16


def capture(cameras: Cameras, **more) -> Capture:
    """All cameras but the last are for training."""

    def photographs(index: slice) -> Photographs:
        own = cameras[index]
        names = tuple(f"{i}.png" for i in range(len(cameras)))[index]
        return Photographs(torch.zeros(len(own), SIZE, SIZE, 3, dtype=torch.uint8), own, names)

    up = torch.tensor([0.0, 0.0, 1.0])
    return Capture(photographs(slice(0, -1)), photographs(slice(-1, None)), up, **more)


def changed(cameras: Cameras, index: int, rotation: torch.Tensor) -> Cameras:
    pose = cameras.world_from_camera.clone()
    pose[index, :, :3] = rotation
    return replace(cameras, world_from_camera=pose)


def flipped(cameras: Cameras) -> Cameras:
    """The same centres; y and z of the camera point the other way."""
    return replace(cameras, world_from_camera=cameras.world_from_camera * torch.tensor([1.0, -1.0, -1.0, 1.0]))


def test_sound_captures_stay_as_they_are(ring):
    for box in (None, Box.cube(1.5)):
        given = capture(ring(9), box=box)
        result = check(given)
        for before, after in ((given.train, result.train), (given.test, result.test)):
            torch.testing.assert_close(after.cameras.world_from_camera, before.cameras.world_from_camera)
            assert after.images is before.images
            assert after.names == before.names
        assert result.box is box


def test_scale_and_rounding_are_taken_out_of_rotations(ring):
    cameras = ring(9)
    exact = cameras.world_from_camera[:, :, :3]
    noise = 1e-3 * torch.randn(9, 3, 3, generator=torch.Generator().manual_seed(0))
    for spoilt, tolerance in ((0.001 * exact, 1e-6), (250 * exact, 1e-6), (exact + noise, 5e-3)):
        given = replace(cameras, world_from_camera=torch.cat([spoilt, cameras.world_from_camera[:, :, 3:]], -1))
        result = check(capture(given)).train.cameras
        rotation = result.world_from_camera[:, :, :3]
        torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(8, 3, 3), atol=1e-6, rtol=0)
        torch.testing.assert_close(rotation, exact[:8], atol=tolerance, rtol=0)
        assert torch.equal(result.center, cameras.center[:8])


SINGULAR = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
SHEARED = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("index", [2, 8])  # one for training, one that is held out
@pytest.mark.parametrize(
    ("rotation", "message"),
    [
        (SINGULAR, "has a singular pose"),
        (torch.zeros(3, 3), "has a singular pose"),
        (torch.full((3, 3), torch.nan), "has a pose that is not finite"),
        (torch.diag(torch.tensor([1.0, 1.0, -1.0])), "has a mirrored pose"),
        (SHEARED, "has a pose whose axes are far from a right angle"),
    ],
)
def test_bad_rotations(index, rotation, message, ring):
    with pytest.raises(InputError, match=rf"{index}\.png {message}"):
        check(capture(changed(ring(9), index, rotation)))


@pytest.mark.parametrize("focal", [0.0, -20.0, torch.nan, torch.inf])
def test_bad_focal_lengths(focal, ring):
    cameras = ring(9)
    intrinsics = cameras.intrinsics.clone()
    intrinsics[4, 1] = focal
    with pytest.raises(InputError, match=r"4\.png has a focal length that is not above 0"):
        check(capture(replace(cameras, intrinsics=intrinsics)))


def test_too_few_views(ring):
    with pytest.raises(InputError, match=r"only 2 of the pictures are for training \(1 are held out\); at least 3"):
        check(capture(ring(3)))


def test_black_masks(ring):
    given = capture(ring(9))
    black = replace(given.train, masks=torch.zeros(8, SIZE, SIZE, dtype=torch.bool))
    with pytest.raises(InputError, match="the masks are black throughout"):
        check(replace(given, train=black))


def test_all_look_away_from_the_box(ring):
    with pytest.raises(InputError, match=r"only 0 of 8 cameras see the middle of the object at \(0, 0, 0\)"):
        check(capture(flipped(ring(9)), box=Box.cube(1.5)))


def test_all_look_away_from_the_place(ring):
    with pytest.raises(InputError, match="all cameras look away from the place that they surround"):
        check(capture(flipped(ring(9))))


def test_forward_facing_cameras_may_fan_out():
    """Axes that part a little meet behind the cameras; nothing is wrong with that."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 4), indexing="ij")
    eye = torch.stack([x.flatten(), torch.zeros(16), y.flatten()], -1)
    target = eye * torch.tensor([3.0, 1.0, 3.0]) + torch.tensor([0.0, 10.0, 0.0])
    cameras = Cameras.pinhole(look_at(eye, target, torch.tensor([0.0, 0.0, 1.0]).expand_as(eye)), 20.0, SIZE, SIZE)
    check(capture(cameras))
    parallel = look_at(eye, eye + torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]).expand_as(eye))
    check(capture(Cameras.pinhole(parallel, 20.0, SIZE, SIZE)))


def test_a_room_may_be_taken_from_its_middle():
    """Cameras at random places of a room that look at random places of its walls."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        eye = torch.randn(30, 3, generator=rng) * torch.tensor([0.5, 0.5, 0.1])
        angle = 2 * torch.pi * torch.rand(30, generator=rng)
        target = 3 * torch.stack([angle.cos(), angle.sin(), torch.zeros(30)], -1)
        poses = look_at(eye, target, torch.tensor([0.0, 0.0, 1.0]).expand_as(eye))
        check(capture(Cameras.pinhole(poses, 20.0, SIZE, SIZE)))


def test_points_are_evidence_enough(ring):
    check(capture(flipped(ring(9)), points=torch.zeros(5, 3)))


def test_fox_and_its_mirror(shared_data):
    from nerf3d.data.transforms import load_transforms

    fox = load_transforms(shared_data / "scenes" / "fox_135x240")
    check(fox)
    away = replace(fox, train=replace(fox.train, cameras=flipped(fox.train.cameras)))
    with pytest.raises(InputError, match="look away"):
        check(away)
