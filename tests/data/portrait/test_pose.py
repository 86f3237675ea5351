import math

import puppet
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.portrait.landmarks import RIGID
from nerf3d.data.portrait.pose import camera_to_head, find_poses, head_template, perspective_n_point, smoothed

CENTER = (puppet.SIZE / 2, puppet.SIZE / 2)


def degrees_between(a: Float[Tensor, "n 3 3"], b: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n"]:
    cosine = ((a.transpose(1, 2) @ b).diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
    return torch.rad2deg(torch.acos(cosine.double().clamp(-1, 1)))


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_poses_are_found_to_less_than_a_degree(noise: float) -> None:
    """Relative to the first frame's, since where "frontal" is, is the template's choice; and as they are."""
    count = 150
    truth = puppet.head_to_camera(count)
    found = find_poses(puppet.landmarks(count, noise), torch.arange(float(count)), puppet.FOCAL, CENTER)
    error = degrees_between(found.head_to_camera[:, :, :3], truth[:, :, :3])
    assert float(error.mean()) < 0.5
    assert float(error.max()) < 1.0
    assert found.rms < max(noise, 0.35)
    place = found.head_to_camera[:, :, 3] - truth[:, :, 3]
    assert float(place.norm(dim=-1).mean()) < 0.03 * 0.8
    torch.testing.assert_close(found.template[list(RIGID)], puppet.template()[list(RIGID)], atol=0.004, rtol=0)


def test_perspective_n_point_is_exact_where_points_are() -> None:
    truth = puppet.head_to_camera(20).double()
    shape = puppet.template()[list(RIGID)].double()
    local = shape @ truth[:, :, :3].transpose(1, 2) + truth[:, None, :, 3]
    pixels = local[..., :2] / local[..., 2:] * 640 + torch.tensor(CENTER)
    rotation, translation = perspective_n_point(shape, pixels, 640.0, CENTER)
    torch.testing.assert_close(rotation, truth[:, :, :3], atol=1e-6, rtol=0)
    torch.testing.assert_close(translation, truth[:, :, 3], atol=1e-6, rtol=0)
    pixels[:, 3] += 40.0  # a landmark that jumped counts little
    rotation, _ = perspective_n_point(shape, pixels, 640.0, CENTER)
    assert float(degrees_between(rotation, truth[:, :, :3]).max()) < 1.0


def test_the_template_does_not_depend_on_how_the_head_was_held() -> None:
    points = puppet.landmarks(60).double()
    first, second = (head_template(points[part], puppet.FOCAL, CENTER) for part in (slice(0, 30), slice(30, 60)))
    rigid = list(RIGID)
    torch.testing.assert_close(first[rigid], second[rigid], atol=0.003, rtol=0)
    assert float((first[263] - first[33]).norm()) == pytest.approx(0.09)
    assert first[454, 0] > 0 > first[234, 0]
    assert first[10, 1] > 0 > first[152, 1]
    assert first[4, 2] > 0


def test_smoothing_calms_noise_and_follows_motion() -> None:
    t = torch.arange(200.0)
    motion = torch.sin(t / 15)[:, None]
    noisy = motion + 0.1 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    steady = smoothed(noisy, t, (9, 2))
    assert float((steady - motion).std()) < 0.6 * float((noisy - motion).std())
    parabola = (t**2)[:, None].double()
    torch.testing.assert_close(smoothed(parabola, t, (9, 2)), parabola)  # of degree 2: nothing is lost


def test_smoothing_does_not_reach_over_gaps() -> None:
    times = torch.cat([torch.arange(20.0), torch.arange(50.0, 70.0), torch.tensor([90.0])])
    values = torch.cat([torch.zeros(20), torch.full((20,), 9.0), torch.tensor([5.0])])[:, None]
    torch.testing.assert_close(smoothed(values, times, (9, 2)), values, atol=1e-6, rtol=0)


def test_the_file_s_matrices_are_the_cameras_of_the_house() -> None:
    """A point of the head is seen at the same pixel through AD-NeRF's matrix, read as OpenGL camera-to-world."""
    pose = puppet.head_to_camera(5)
    matrix = camera_to_head(pose)
    cameras = Cameras.pinhole(matrix[:, :3] * torch.tensor([1.0, -1.0, -1.0, 1.0]), puppet.FOCAL, 256, 256)
    points = puppet.template()[:5]
    seen, z = cameras.project(torch.arange(5), points)
    local = (pose[:, :, :3] @ points[..., None])[..., 0] + pose[:, :, 3]
    torch.testing.assert_close(seen, local[:, :2] / local[:, 2:] * puppet.FOCAL + 128)
    torch.testing.assert_close(z, local[:, 2])
    assert bool((matrix[:, 2, 3] > 0.7).all())  # in front of the face, which looks along +z
    assert math.isclose(float(torch.linalg.det(matrix[0, :3, :3])), 1.0, abs_tol=1e-5)
