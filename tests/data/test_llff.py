import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.core.cameras import Cameras, look_at
from nerf3d.data.llff import load_llff
from nerf3d.errors import InputError

WIDTH, HEIGHT, FOCAL = 40, 30, 36.0


def poses() -> torch.Tensor:
    eye = torch.tensor([[0.3 * i - 0.8, 0.1 * (i % 3), 4.0 + 0.05 * i] for i in range(6)])
    return look_at(eye, torch.tensor([0.0, 0.0, 0.5]), torch.tensor([0.0, 1.0, 0.1]))


def rows(world_from_camera: torch.Tensor) -> np.ndarray:
    """17 numbers for each OpenCV pose (right, down, forward, centre), number by number as the format has them."""
    table = np.zeros((len(world_from_camera), 17))
    for i, pose in enumerate(world_from_camera.double().numpy()):
        for axis in range(3):
            right, down, forward, center = pose[axis]
            table[i, 5 * axis : 5 * axis + 5] = down, right, -forward, center, (HEIGHT, WIDTH, FOCAL)[axis]
        table[i, 15:] = 1.0, 9.0
    return table


def write(folder, table, pictures="images", count=6, size=(WIDTH, HEIGHT)):
    (folder / pictures).mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", size, (i, 0, 0)).save(folder / pictures / f"IMG_{i:03d}.png")
    np.save(folder / "poses_bounds.npy", table)
    return folder


def test_poses_come_back_as_opencv(tmp_path):
    capture = load_llff(write(tmp_path, rows(poses())))
    expected = Cameras.pinhole(poses(), FOCAL, WIDTH, HEIGHT)
    assert capture.test.names == ("IMG_000.png",)
    torch.testing.assert_close(capture.train.cameras.world_from_camera, expected.world_from_camera[1:])
    torch.testing.assert_close(capture.train.cameras.intrinsics, expected.intrinsics[1:])
    assert capture.train.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5]
    target = torch.tensor([[0.0, 0.0, 0.5]])  # where all the cameras look: the middle of every picture
    pixel, z = capture.train.cameras.project(torch.tensor([3]), target)
    torch.testing.assert_close(pixel, torch.tensor([[WIDTH / 2, HEIGHT / 2]]), atol=1e-4, rtol=0)
    assert float(z) > 3
    assert float(capture.up[1]) > 0.9
    assert capture.box is None


def test_reduced_pictures_scale_the_focal_length(tmp_path):
    capture = load_llff(write(tmp_path, rows(poses()), pictures="images_4", size=(10, 7)))  # 30 / 4 = 7.5
    intrinsics = torch.tensor([FOCAL / 4, FOCAL * 7 / 30, 5.0, 3.5])
    torch.testing.assert_close(capture.train.cameras.intrinsics[0], intrinsics)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:5], "5 poses.*6 pictures"),
        (lambda t: t[:, :15], r"shape \(6, 15\)"),
        (lambda t: t.reshape(-1), "17 real numbers"),
        (lambda t: t.astype(np.complex128), "complex128"),
        (lambda t: np.where(np.arange(17) == 7, np.nan, t), "not finite"),
        (lambda t: np.where(np.arange(17) == 14, -1.0, t), "above 0"),
        (lambda t: np.where(np.arange(17) == 4, 2.0 * WIDTH, t), "another shape"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_llff(write(tmp_path, change(rows(poses()))))


def test_pickled_objects_and_broken_files_are_refused(tmp_path):
    folder = write(tmp_path, np.array([{"a": 1}] * 6, dtype=object))
    path = folder / "poses_bounds.npy"
    with pytest.raises(InputError, match="cannot be read"):
        load_llff(folder)
    np.save(path, rows(poses()))
    whole = path.read_bytes()
    for content in (whole[:300], whole[:20], b"", b"PK\x03\x04 no archive"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            load_llff(folder)
    with path.open("wb") as file:
        np.savez(file, poses=rows(poses()))
    with pytest.raises(InputError, match="cannot be read"):
        load_llff(folder)


def test_no_pictures(tmp_path):
    np.save(tmp_path / "poses_bounds.npy", rows(poses()))
    with pytest.raises(InputError, match="no pictures"):
        load_llff(tmp_path)
