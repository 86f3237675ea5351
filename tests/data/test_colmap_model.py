import math
import struct
import time

import numpy as np
import pytest
from sparse_files import write_binary, write_text

from nerf3d.data.colmap_model import count_images, read_model
from nerf3d.errors import InputError

HALF = math.sqrt(0.5)
CAMERAS = [
    (3, "OPENCV", 64, 48, (50.0, 51.0, 32.5, 24.0, 0.1, -0.02, 0.003, -0.004)),
    (7, "PINHOLE", 8, 6, (9.0, 9.5, 4.0, 3.0)),
]
IMAGES = [
    (2, (HALF, 0.0, 0.0, HALF), (1.0, 2.0, 3.0), 7, "left/b 1.png", [(1.5, 2.5, 11), (3.0, 4.0, -1)]),
    (9, (1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.25), 3, "a.png", []),  # its line of keypoints is empty
]
POINTS = [
    (11, (0.1, 0.2, 0.3), [(2, 0), (9, 4), (9, 5)]),
    (12, (-1.0, 5.0, 1e6), []),
    (40, (1 / 3, -2.0, 7.0), [(2, 1)]),
]


@pytest.fixture(params=[write_binary, write_text])
def folder(request, tmp_path):
    request.param(tmp_path / "0", CAMERAS, IMAGES, POINTS)
    return tmp_path / "0"


def test_reads_what_was_written(folder):
    model = read_model(folder)
    cameras = [(n, c.model, c.width, c.height, c.parameters) for n, c in model.cameras.items()]
    assert cameras == CAMERAS
    assert [(image.name, image.camera) for image in model.images] == [("a.png", 3), ("left/b 1.png", 7)]
    np.testing.assert_array_equal(model.points, [xyz for _, xyz, _ in POINTS])
    assert count_images(folder) == 2


def test_poses_are_inverted(folder):
    """Camera-from-world is a quarter turn about z, (x, y) -> (-y, x), and a shift by t; its centre is -R^T t."""
    a, b = read_model(folder).images
    np.testing.assert_allclose(a.world_from_camera, [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, -0.25]], atol=1e-15)
    np.testing.assert_allclose(b.world_from_camera, [[0, 1, 0, -2], [-1, 0, 0, 1], [0, 0, 1, -3]], atol=1e-15)


def test_text_and_binary_are_equal(tmp_path):
    write_binary(tmp_path / "bin", CAMERAS, IMAGES, POINTS)
    write_text(tmp_path / "txt", CAMERAS, IMAGES, POINTS)
    one, other = read_model(tmp_path / "bin"), read_model(tmp_path / "txt")
    assert one.cameras == other.cameras
    for left, right in zip(one.images, other.images, strict=True):
        assert (left.name, left.camera) == (right.name, right.camera)
        np.testing.assert_array_equal(left.world_from_camera, right.world_from_camera)
    np.testing.assert_array_equal(one.points, other.points)


def test_quaternions_need_not_have_unit_length(tmp_path):
    write_binary(tmp_path / "unit", CAMERAS, IMAGES, POINTS)
    longer = [(n, tuple(3 * q for q in quaternion), *rest) for n, quaternion, *rest in IMAGES]
    write_binary(tmp_path / "long", CAMERAS, longer, POINTS)
    for one, other in zip(read_model(tmp_path / "unit").images, read_model(tmp_path / "long").images, strict=True):
        np.testing.assert_allclose(one.world_from_camera, other.world_from_camera, atol=1e-14)


def test_points_are_optional_and_must_be_finite(tmp_path):
    write_binary(tmp_path, CAMERAS, IMAGES, [*POINTS, (50, (math.nan, 0.0, 0.0), []), (51, (0.0, math.inf, 0.0), [])])
    assert len(read_model(tmp_path).points) == 3
    (tmp_path / "points3D.bin").unlink()
    assert read_model(tmp_path).points.shape == (0, 3)


@pytest.mark.parametrize("stem", ["cameras", "images", "points3D"])
def test_every_cut_of_a_binary_file_is_an_error(tmp_path, stem):
    write_binary(tmp_path, CAMERAS, IMAGES, POINTS)
    path = tmp_path / f"{stem}.bin"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"{stem}.bin.*cut off"):
            read_model(tmp_path)


@pytest.mark.parametrize(("stem", "at"), [("cameras", 0), ("images", 0), ("points3D", 0), ("points3D", 8 + 43)])
def test_absurd_counts_are_errors_at_once(tmp_path, stem, at):
    write_binary(tmp_path, CAMERAS, IMAGES, POINTS)
    path = tmp_path / f"{stem}.bin"
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, at, 2**64 - 1)
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{stem}.bin"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        ("cameras", "3 OPENCV 64 48 50.0 51.0 32.5\n"),
        ("cameras", "3 OPENCV 64\n"),
        ("cameras", "3 PINHOLE 0 48 50.0 51.0 32.5 24.0\n"),
        ("images", "2 1 0 0 0 1.0 2.0\n"),
        ("images", "2 1 0 0 x 1 2 3 7 b.png\n\n"),
        ("points3D", "11 0.1 0.2\n"),
        ("points3D", "11 0.1 0.2 north\n"),
    ],
)
def test_broken_text_is_an_error(tmp_path, stem, text):
    write_text(tmp_path, CAMERAS, IMAGES, POINTS)
    (tmp_path / f"{stem}.txt").write_text(text)
    with pytest.raises(InputError, match=f"{stem}.txt"):
        read_model(tmp_path)


@pytest.mark.parametrize("stem", ["cameras", "images"])
def test_a_missing_file_is_named(folder, stem):
    for path in folder.glob(f"{stem}.*"):
        path.unlink()
    with pytest.raises(InputError, match=rf"{stem}\.bin.*missing"):
        read_model(folder)


def test_inconsistent_models_are_errors(tmp_path):
    write_binary(tmp_path / "a", CAMERAS[:1], IMAGES, POINTS)
    with pytest.raises(InputError, match="camera 7"):
        read_model(tmp_path / "a")
    write_binary(tmp_path / "b", CAMERAS, [(2, (0.0, 0.0, 0.0, 0.0), *IMAGES[0][2:])], POINTS)
    with pytest.raises(InputError, match="pose"):
        read_model(tmp_path / "b")
    write_binary(tmp_path / "c", [(3, "PINHOLE", 8, 6, (math.nan, 9.5, 4.0, 3.0))], [], [])
    with pytest.raises(InputError, match="not finite"):
        read_model(tmp_path / "c")


def test_an_unknown_model_number_is_named(tmp_path):
    write_binary(tmp_path, CAMERAS, IMAGES, POINTS)
    data = bytearray((tmp_path / "cameras.bin").read_bytes())
    struct.pack_into("<i", data, 12, 99)
    (tmp_path / "cameras.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"number 99.*undistort"):
        read_model(tmp_path)


def test_many_points_are_read_quickly(tmp_path):
    rng = np.random.default_rng(0)
    xyz = rng.standard_normal((200_000, 3))
    record = np.zeros(
        len(xyz),
        np.dtype([("number", "<u8"), ("xyz", "<f8", 3), ("rest", "u1", 11), ("track", "<u8"), ("of", "<u4", 4)]),
    )
    record["xyz"], record["track"] = xyz, 2
    write_binary(tmp_path, CAMERAS, IMAGES, [])
    (tmp_path / "points3D.bin").write_bytes(struct.pack("<Q", len(xyz)) + record.tobytes())
    begin = time.perf_counter()
    np.testing.assert_array_equal(read_model(tmp_path).points, xyz)
    assert time.perf_counter() - begin < 5.0
