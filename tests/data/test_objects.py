import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.data.objects import object_box


@pytest.mark.parametrize("distance", [2.7, 4.0, 7.0])
def test_customary_cube(distance, ring):
    box, notes = object_box(ring(8, distance))
    assert box.low.tolist() == [-1.5] * 3
    assert box.high.tolist() == [1.5] * 3
    assert notes == ()


@pytest.mark.parametrize(("distance", "target"), [(0.4, (0, 0, 0)), (100.0, (0, 0, 0)), (4.0, (10.0, -3.0, 2.0))])
def test_cube_where_the_cameras_look(distance, target, ring):
    box, notes = object_box(ring(8, distance, tuple(map(float, target))))
    torch.testing.assert_close(box.center, torch.tensor(target, dtype=torch.float32), atol=1e-3 * distance, rtol=0)
    torch.testing.assert_close(box.size, torch.full((3,), 0.75 * distance), rtol=1e-3, atol=0)
    assert len(notes) == 1
    assert f"half side {0.375 * distance:.3g}" in notes[0]


def test_one_camera_inside_of_the_customary_cube(ring):
    poses = torch.cat([ring(6, 4.0).world_from_camera, ring(1, 1.2).world_from_camera])
    box, notes = object_box(Cameras.pinhole(poses, 20.0, 16, 16))
    assert len(notes) == 1
    assert float(box.size[0]) == pytest.approx(0.75 * 4.0, rel=1e-3)


def test_cameras_that_look_past_the_customary_cube(ring):
    """They stand 4 to 7 units from the origin, but see what is above it."""
    cameras = ring(8, 4.0, (0.0, 0.0, 3.5))
    assert bool((cameras.center.norm(dim=-1) < 8.0).all())
    box, _ = object_box(cameras)
    torch.testing.assert_close(box.center, torch.tensor([0.0, 0.0, 3.5]), atol=1e-3, rtol=0)
