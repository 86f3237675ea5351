import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sparse_files import write_binary, write_text

from nerf3d.core import Cameras
from nerf3d.data.colmap import load_colmap, model_folders, optics
from nerf3d.data.colmap_model import ModelCamera
from nerf3d.errors import InputError

WIDTH, HEIGHT = 40, 30
FOCAL, CX, CY, K1 = 35.0, 21.0, 14.5, -0.08
CAMERA = (1, "SIMPLE_RADIAL", WIDTH, HEIGHT, (FOCAL, CX, CY, K1))
NAMES = ["a.png", "b/a.png", "b/c d.png", "e.png"]


def turn(angle: float) -> np.ndarray:
    """Camera-from-world rotation of a camera that circles about the world's y axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def scene(names=NAMES):
    """Cameras on a circle of radius 4 about the origin that look at it, with x', y' of each point by the formula."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-1, 1, (6, 3))
    images = []
    for number, name in enumerate(names, start=1):
        angle = 0.4 * number
        shift = np.array([0.0, 0.1, 4.0])
        x, y, z = (xyz @ turn(angle).T + shift).T
        u, v = x / z, y / z
        bend = 1 + K1 * (u * u + v * v)
        pixels = np.stack([FOCAL * u * bend + CX, FOCAL * v * bend + CY], 1)
        quaternion = (math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0)
        keypoints = [(float(px), float(py), i) for i, (px, py) in enumerate(pixels)]
        images.append((number, quaternion, tuple(shift.tolist()), 1, name, keypoints))
    points = [(i, tuple(p), [(n, i) for n in range(1, len(names) + 1)]) for i, p in enumerate(xyz.tolist())]
    return images, points


def save(path: Path, width: int, height: int, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value, 0, 0)).save(path)


def capture_folder(folder: Path, pictures="images", model="sparse/0", write=write_binary, size=(WIDTH, HEIGHT)) -> Path:
    images, points = scene()
    write(folder / model, [CAMERA], images, points)
    for value, name in enumerate(NAMES):
        save(folder / pictures / name, *size, 10 * value)
    return folder


@pytest.mark.parametrize("write", [write_binary, write_text])
@pytest.mark.parametrize("model", ["sparse/0", "sparse", "colmap/sparse/0", "."])
def test_known_points_fall_on_the_recorded_pixels(tmp_path, write, model):
    capture = load_colmap(capture_folder(tmp_path, model=model, write=write))
    images, points = scene()
    xyz = torch.tensor([p for _, p, _ in points], dtype=torch.float32)
    torch.testing.assert_close(capture.points, xyz)
    assert capture.box is None
    assert capture.test.names == ("a.png",)
    assert capture.train.names == ("b/a.png", "b/c d.png", "e.png")
    assert capture.train.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    recorded = {name: keypoints for *_, name, keypoints in images}
    for part in (capture.train, capture.test):
        for index, name in enumerate(part.names):
            pixel, z = part.cameras.project(torch.full((len(xyz),), index), xyz)
            expected = torch.tensor([k[:2] for k in recorded[name]], dtype=torch.float32)
            torch.testing.assert_close(pixel, expected, atol=1e-4, rtol=0)
            assert bool((z > 2).all())
    torch.testing.assert_close(capture.up, torch.tensor([0.0, -1.0, 0.0]))


def test_reduced_pictures_serve_only_where_the_full_ones_are_missing(tmp_path):
    small = load_colmap(capture_folder(tmp_path / "small", pictures="images_2", size=(WIDTH // 2, HEIGHT // 2)))
    assert (small.train.cameras.width, small.train.cameras.height) == (20, 15)
    torch.testing.assert_close(small.train.cameras.intrinsics[0], torch.tensor([FOCAL, FOCAL, CX, CY]) / 2)
    both = capture_folder(tmp_path / "both")
    for name in NAMES:
        save(both / "images_2" / name, 20, 15, 0)
    assert load_colmap(both).train.cameras.width == WIDTH
    beside = load_colmap(capture_folder(tmp_path / "beside", pictures="."))
    assert len(beside.train) == 3


def test_missing_pictures_are_counted_once(tmp_path):
    folder = tmp_path
    images, points = scene([*NAMES, "x.png", "y.png"])
    capture_folder(folder)
    write_binary(folder / "sparse/0", [CAMERA], images, points)
    capture = load_colmap(folder)
    assert len(capture.train) + len(capture.test) == 4
    assert [note for note in capture.notes if "missing" in note] == [
        "2 of 6 listed pictures are missing and were skipped (first: x.png)"
    ]


def test_the_largest_of_several_models_is_used_and_said(tmp_path):
    capture_folder(tmp_path, model="sparse/1")
    images, points = scene(["a.png", "e.png"])
    write_binary(tmp_path / "sparse/0", [CAMERA], images, points)
    assert len(model_folders(tmp_path)) == 2
    capture = load_colmap(tmp_path)
    assert len(capture.train) == 3
    assert "sparse/1 with 4 pictures" in capture.notes[0]


def test_masks(tmp_path):
    capture_folder(tmp_path)
    for name, column in (("a.png", 3), ("b/c d.png.png", 5)):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[:, column] = 255
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / name)
    capture = load_colmap(tmp_path)
    assert capture.test.masks is not None
    assert capture.test.masks.sum((0, 1)).nonzero().flatten().tolist() == [3]
    assert capture.train.masks is not None
    assert capture.train.masks.flatten(1).sum(1).tolist() == [WIDTH * HEIGHT, HEIGHT, WIDTH * HEIGHT]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "b/../../secret.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    folder = capture_folder(tmp_path / "scene")
    save(tmp_path / "secret.png", WIDTH, HEIGHT, 0)
    images, points = scene([*NAMES, name])
    write_binary(folder / "sparse/0", [CAMERA], images, points)
    with pytest.raises(InputError, match="leaves"):
        load_colmap(folder)


def test_folders_that_cannot_be_used_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no COLMAP model"):
        load_colmap(tmp_path)
    capture_folder(tmp_path / "empty")
    write_binary(tmp_path / "empty/sparse/0", [CAMERA], [], [])
    with pytest.raises(InputError, match="no image is registered"):
        load_colmap(tmp_path / "empty")
    images, points = scene()
    write_binary(tmp_path / "bare/sparse/0", [CAMERA], images, points)
    with pytest.raises(InputError, match=r"none of the 4 pictures.*a\.png.*images"):
        load_colmap(tmp_path / "bare")
    with pytest.raises(InputError, match=r"30 x 40.*another shape"):
        load_colmap(capture_folder(tmp_path / "turned", size=(HEIGHT, WIDTH)))
    capture_folder(tmp_path / "few")
    for name in NAMES[:2]:
        (tmp_path / "few/images" / name).unlink()
    with pytest.raises(InputError, match="only 2"):
        load_colmap(tmp_path / "few")


def test_pinhole_and_fisheye_do_not_mix(tmp_path):
    capture_folder(tmp_path)
    images, points = scene()
    other = (2, "OPENCV_FISHEYE", WIDTH, HEIGHT, (35.0, 35.0, 20.0, 15.0, 0.0, 0.0, 0.0, 0.0))
    images[1] = (*images[1][:3], 2, *images[1][4:])
    write_binary(tmp_path / "sparse/0", [CAMERA, other], images, points)
    with pytest.raises(InputError, match="both pinhole and fisheye"):
        load_colmap(tmp_path)


def opencv(u, v, k1=0.0, k2=0.0, p1=0.0, p2=0.0, k3=0.0):
    r2 = u * u + v * v
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    return (
        u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u),
        v * radial + p1 * (r2 + 2 * v * v) + 2 * p2 * u * v,
    )


def fisheye(u, v, k1=0.0, k2=0.0, k3=0.0, k4=0.0):
    r = math.hypot(u, v)
    a = math.atan(r)
    bent = a * (1 + k1 * a**2 + k2 * a**4 + k3 * a**6 + k4 * a**8)
    return bent * u / r, bent * v / r


@pytest.mark.parametrize(
    ("model", "parameters", "focal", "formula"),
    [
        ("SIMPLE_PINHOLE", (50.0, 31.0, 25.0), (50, 50), lambda u, v: (u, v)),
        ("PINHOLE", (50.0, 52.0, 31.0, 25.0), (50, 52), lambda u, v: (u, v)),
        ("SIMPLE_RADIAL", (50.0, 31.0, 25.0, 0.1), (50, 50), lambda u, v: opencv(u, v, 0.1)),
        ("RADIAL", (50.0, 31.0, 25.0, 0.1, -0.05), (50, 50), lambda u, v: opencv(u, v, 0.1, -0.05)),
        (
            "OPENCV",
            (50.0, 52.0, 31.0, 25.0, 0.1, -0.05, 0.01, -0.02),
            (50, 52),
            lambda u, v: opencv(u, v, 0.1, -0.05, 0.01, -0.02),
        ),
        (
            "FULL_OPENCV",
            (50.0, 52.0, 31.0, 25.0, 0.1, -0.05, 0.01, -0.02, 0.03, 0.0, 0.0, 0.0),
            (50, 52),
            lambda u, v: opencv(u, v, 0.1, -0.05, 0.01, -0.02, 0.03),
        ),
        ("SIMPLE_FISHEYE", (50.0, 31.0, 25.0), (50, 50), fisheye),
        ("FISHEYE", (50.0, 52.0, 31.0, 25.0), (50, 52), fisheye),
        ("SIMPLE_RADIAL_FISHEYE", (50.0, 31.0, 25.0, 0.1), (50, 50), lambda u, v: fisheye(u, v, 0.1)),
        ("RADIAL_FISHEYE", (50.0, 31.0, 25.0, 0.1, -0.05), (50, 50), lambda u, v: fisheye(u, v, 0.1, -0.05)),
        (
            "OPENCV_FISHEYE",
            (50.0, 52.0, 31.0, 25.0, 0.1, -0.05, 0.03, 0.01),
            (50, 52),
            lambda u, v: fisheye(u, v, 0.1, -0.05, 0.03, 0.01),
        ),
    ],
)
def test_every_camera_model_follows_its_formula(model, parameters, focal, formula):
    intrinsics, distortion, lens = optics(Path("cameras.bin"), ModelCamera(model, 64, 48, parameters))
    pose = torch.eye(4)[:3][None]
    cameras = Cameras(pose, torch.tensor([intrinsics]), torch.tensor([distortion]), 64, 48, lens)
    point = torch.tensor([[0.5, -0.3, 1.0], [-0.9, 0.4, 2.0], [0.1, 0.7, 1.5]])
    pixel, _ = cameras.project(torch.zeros(3, dtype=torch.int64), point)
    for (x, y, z), found in zip(point.tolist(), pixel.tolist(), strict=True):
        u, v = formula(x / z, y / z)
        assert found == pytest.approx([focal[0] * u + 31.0, focal[1] * v + 25.0], abs=1e-4)


def test_our_numbers_are_those_of_pycolmap():
    """The formulas above once more, by COLMAP's own code."""
    pycolmap = pytest.importorskip("pycolmap")
    parameters = (50.0, 52.0, 31.0, 25.0, 0.1, -0.05, 0.03, 0.01)
    for model in ("OPENCV", "OPENCV_FISHEYE"):
        theirs = pycolmap.Camera(model=model, width=64, height=48, params=parameters)
        intrinsics, distortion, lens = optics(Path("x"), ModelCamera(model, 64, 48, parameters))
        cameras = Cameras(torch.eye(4)[:3][None], torch.tensor([intrinsics]), torch.tensor([distortion]), 64, 48, lens)
        point = torch.tensor([[0.5, -0.3, 1.0]])
        pixel, _ = cameras.project(torch.zeros(1, dtype=torch.int64), point)
        np.testing.assert_allclose(pixel[0].numpy(), theirs.img_from_cam(point[0].double().numpy()), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("FOV", (50.0, 52.0, 31.0, 25.0, 0.9)),
        ("THIN_PRISM_FISHEYE", (50.0,) * 12),
        ("FULL_OPENCV", (50.0, 52.0, 31.0, 25.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0)),
        ("SOMETHING_NEW", (50.0,)),
    ],
)
def test_other_models_are_refused_by_name(model, parameters):
    with pytest.raises(InputError, match=f"{model}.*undistort"):
        optics(Path("cameras.bin"), ModelCamera(model, 64, 48, parameters))


def test_a_focal_length_is_above_0():
    with pytest.raises(InputError, match="focal length is -3"):
        optics(Path("cameras.bin"), ModelCamera("PINHOLE", 64, 48, (50.0, -3.0, 32.0, 24.0)))
