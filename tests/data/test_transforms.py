import math
import shutil

import pytest
import torch
from PIL import Image

from nerf3d.data.transforms import load_blender, load_transforms
from nerf3d.errors import InputError

SIZE = 16


def test_poses_become_opencv(write_transforms, ring):
    cameras = ring(4)
    capture = load_transforms(write_transforms(cameras))
    # Every eighth by name: the first of the four is held out.
    assert capture.test.names == ("images/00.png",)
    assert capture.train.names == ("images/01.png", "images/02.png", "images/03.png")
    torch.testing.assert_close(capture.test.cameras.world_from_camera, cameras.world_from_camera[:1])
    torch.testing.assert_close(capture.train.cameras.world_from_camera, cameras.world_from_camera[1:])
    torch.testing.assert_close(capture.train.cameras.intrinsics, torch.tensor([20.0, 20.0, 8.0, 8.0]).expand(3, 4))
    assert capture.train.images[:, 3, 3, 0].tolist() == [1, 2, 3]
    assert capture.train.images.shape == (3, 16, 16, 3)
    assert capture.box is None
    assert capture.points is None
    assert capture.train.masks is None
    assert capture.notes == ("3 photographs for training, 1 for testing (every 8th of 4 is held out)",)


def test_one_pose_by_hand(write_transforms):
    """A camera at (4, 0, 0) that looks at the origin: in OpenGL axes its right is +y, its up +z, its back +x."""

    def change(document):
        document["frames"][0]["transform_matrix"] = [[0, 0, 1, 4], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]

    pose = load_transforms(write_transforms(change=change)).test.cameras.world_from_camera[0]
    assert pose.tolist() == [[0, 0, -1, 4], [1, 0, 0, 0], [0, -1, 0, 0]]


def test_up(write_transforms, ring):
    up = load_transforms(write_transforms(ring(8))).up
    torch.testing.assert_close(up, torch.tensor([0.0, 0.0, 1.0]), atol=0.02, rtol=0)
    folder = write_transforms(change=lambda document: document.update(up=[0, "3", 4]))
    torch.testing.assert_close(load_transforms(folder).up, torch.tensor([0.0, 0.6, 0.8]))


def test_transparent_pictures_are_an_object(write_transforms):
    capture = load_transforms(write_transforms(mode="RGBA"))
    assert capture.train.has_alpha
    assert capture.test.has_alpha
    assert capture.box.low.tolist() == [-1.5] * 3
    assert capture.box.high.tolist() == [1.5] * 3


def test_missing_pictures_are_one_note(write_transforms, ring):
    folder = write_transforms(ring(10))
    for i in (3, 5):
        (folder / f"images/{i:02d}.png").unlink()
    capture = load_transforms(folder)
    assert len(capture.train) + len(capture.test) == 8
    assert capture.notes[0] == "2 of 10 listed pictures are missing and were skipped (first: images/03.png)"
    (folder / "images/03.png").touch()
    with pytest.raises(InputError, match=r"images/03\.png is empty"):
        load_transforms(folder)


def test_names_without_extension_and_with_backslashes(write_transforms):
    def change(document):
        document["frames"][0]["file_path"] = "./images/00"
        document["frames"][1]["file_path"] = "images\\01.png"

    capture = load_transforms(write_transforms(change=change))
    assert capture.test.names + capture.train.names == tuple(f"images/{i:02d}.png" for i in range(4))


def test_masks(write_transforms, picture):
    folder = write_transforms(change=lambda document: document["frames"][1].update(mask_path="masks/01.png"))
    with pytest.raises(InputError, match=r"masks/01\.png does not exist"):
        load_transforms(folder)
    picture(folder / "masks/01.png", 0)
    capture = load_transforms(folder)
    assert capture.train.masks.sum((1, 2)).tolist() == [0, 256, 256]
    assert capture.test.masks is None
    Image.new("L", (SIZE, 8)).save(folder / "masks/01.png")
    with pytest.raises(InputError, match=r"the mask .*01\.png is 16 x 8 pixels"):
        load_transforms(folder)


def test_own_split(write_transforms, ring):
    def change(document):
        document["train_filenames"] = ["./images/00.png", "images/02.png", "images/03.png"]
        document["val_filenames"] = ["images/01.png"]

    capture = load_transforms(write_transforms(ring(5), change=change))  # the fifth picture is in neither list
    assert capture.train.names == ("images/00.png", "images/02.png", "images/03.png")
    assert capture.test.names == ("images/01.png",)
    assert "the data set's own split" in capture.notes[0]


def test_own_split_of_one_side_only(write_transforms):
    names = ["images/00.png", "images/01.png", "images/02.png"]
    capture = load_transforms(write_transforms(change=lambda document: document.update(train_filenames=names)))
    assert capture.train.names == tuple(names)
    assert capture.test.names == ("images/03.png",)
    everything = [*names, "images/03.png"]
    capture = load_transforms(write_transforms(change=lambda document: document.update(train_filenames=everything)))
    assert capture.test.names == ("images/00.png",)
    assert "every 8th of 4 is held out" in capture.notes[0]


def test_applied_transform_is_not_undone(write_transforms):
    plain = load_transforms(write_transforms())
    turned = load_transforms(write_transforms(change=lambda d: d.update(applied_transform=[[0, 1, 0, 2]] * 3)))
    torch.testing.assert_close(plain.train.cameras.world_from_camera, turned.train.cameras.world_from_camera)


def test_own_intrinsics_of_a_frame(write_transforms):
    def change(document):
        document["frames"][2].update(fl_x=40.0, w=2 * SIZE, h=2 * SIZE, cx=14.0)

    cameras = load_transforms(write_transforms(change=change)).train.cameras
    assert cameras.intrinsics.tolist() == [[20, 20, 8, 8], [20, 20, 7, 8], [20, 20, 8, 8]]


def test_fisheye(write_transforms):
    capture = load_transforms(write_transforms(change=lambda d: d.update(camera_model="OPENCV_FISHEYE", k4=0.01)))
    assert capture.train.cameras.lens == "fisheye"
    assert capture.train.cameras.distortion[0].tolist() == pytest.approx([0, 0, 0, 0.01, 0])
    folder = write_transforms(change=lambda d: d["frames"][3].update(is_fisheye=True))
    with pytest.raises(InputError, match=r"frame 'images/03\.png' has a fisheye lens but the first frame's is pinhole"):
        load_transforms(folder)


def _set(frame, key, value):
    return lambda document: document["frames"][frame].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("frames"), "has no list 'frames'"),
        (lambda d: d.update(frames={}), "has no list 'frames'"),
        (lambda d: d.update(frames=[]), "lists no frames"),
        (lambda d: d.update(frames=["images/00.png"]), "frame 0 has no file_path"),
        (lambda d: d["frames"][1].pop("file_path"), "frame 1 has no file_path"),
        (lambda d: d["frames"][1].pop("transform_matrix"), "'images/01.png' has no transform_matrix"),
        (_set(1, "transform_matrix", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]), "is not 4 rows of 4 numbers"),
        (_set(1, "transform_matrix", [1] * 16), "is not 4 rows of 4 numbers"),
        (_set(1, "transform_matrix", "identity"), "is not 4 rows of 4 numbers"),
        (_set(1, "transform_matrix", [["a"] * 4] * 4), "holds something that is not a number"),
        (_set(1, "transform_matrix", [[None] * 4] * 4), "holds something that is not a number"),
        (_set(1, "transform_matrix", [[math.nan] * 4] * 4), "holds a value that is not finite"),
        (_set(1, "transform_matrix", [[math.inf] * 4] * 4), "holds a value that is not finite"),
        (_set(1, "transform_matrix", [[1e300] * 4] * 4), "holds a value that is not finite"),
        (_set(1, "file_path", "../../etc/passwd"), "'../../etc/passwd' leaves the data set's folder"),
        (_set(1, "file_path", "/etc/passwd"), "'/etc/passwd' leaves the data set's folder"),
        (_set(1, "file_path", "a" * 5000), "not a possible path"),
        (_set(1, "mask_path", "../mask.png"), "'../mask.png' leaves the data set's folder"),
        (_set(1, "mask_path", 5), "mask_path is 5"),
        (lambda d: d.pop("fl_x"), "gives no focal length"),
        (_set(1, "fl_x", 0), r"frame 'images/01\.png': fl_x is 0; a focal length is above 0"),
        (lambda d: d.update(w=SIZE / 2), "for pictures of 8 x 16 pixels"),
        (lambda d: d.update(up=[0, 0, 0]), "'up' has no length"),
        (lambda d: d.update(up="z"), "'up' is 'z'"),
        (lambda d: d.update(test_filenames="images/01.png"), "'test_filenames' is not a list of names"),
    ],
)
def test_bad_files(write_transforms, change, message):
    folder = write_transforms(change=change)
    with pytest.raises(InputError, match=message) as caught:
        load_transforms(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_link_to_the_outside(write_transforms, tmp_path_factory, picture):
    other = tmp_path_factory.mktemp("other") / "private.png"
    picture(other, 7)
    folder = write_transforms()
    (folder / "images/01.png").unlink()
    (folder / "images/01.png").symlink_to(other)
    with pytest.raises(InputError, match=r"'images/01\.png' leaves the data set's folder"):
        load_transforms(folder)


def test_cut_off(write_transforms):
    folder = write_transforms()
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"transforms\.json is not complete, valid JSON"):
        load_transforms(folder)


def test_no_pictures_at_all(write_transforms):
    folder = write_transforms()
    shutil.rmtree(folder / "images")
    with pytest.raises(InputError, match=r"none of the 4 pictures .* exist \(first: images/00\.png\)"):
        load_transforms(folder)


def test_one_picture(write_transforms, ring):
    """It is for training; whether one is enough is examined for all formats alike."""
    capture = load_transforms(write_transforms(ring(1)))
    assert (len(capture.train), len(capture.test)) == (1, 0)


def test_pictures_of_two_sizes(write_transforms):
    folder = write_transforms()
    Image.new("RGB", (8, 8)).save(folder / "images/02.png")
    with pytest.raises(InputError, match=r"02\.png is 8 x 8 pixels but .*01\.png is 16 x 16"):
        load_transforms(folder)


def test_blender(write_blender, ring):
    capture = load_blender(write_blender(("train", "test", "val")))
    assert capture.train.names == tuple(f"train/{i:02d}.png" for i in range(5))
    assert capture.test.names == tuple(f"test/{i:02d}.png" for i in range(5))
    assert capture.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert capture.test.images[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14]
    assert capture.train.images[0, 0, :, 3].tolist() == [0] * 8 + [255] * 8
    assert capture.up.tolist() == [0, 0, 1]
    assert capture.box.high.tolist() == [1.5] * 3
    focal = 0.5 * SIZE / math.tan(0.4)
    torch.testing.assert_close(capture.train.cameras.intrinsics[0], torch.tensor([focal, focal, 8, 8]))
    torch.testing.assert_close(capture.train.cameras.world_from_camera, ring(5).world_from_camera)


def test_blender_without_test_views(write_blender):
    folder = write_blender(("train", "val"))
    assert load_blender(folder).test.names[0] == "val/00.png"
    (folder / "transforms_val.json").unlink()
    capture = load_blender(folder)
    assert capture.test.names == ("train/00.png",)
    assert len(capture.train) == 4


def test_blender_of_another_scale(write_blender):
    capture = load_blender(write_blender(distance=40.0))
    assert capture.box.high.tolist() == pytest.approx([15.0] * 3, abs=1e-3)
    assert "cube of half side 15" in capture.notes[-1]


def test_blender_with_a_background_is_a_place(write_blender):
    assert load_blender(write_blender(mode="RGB")).box is None


def test_chair(shared_data):
    capture = load_blender(shared_data / "scenes" / "chair_200")
    assert len(capture.train) == 100
    assert len(capture.test) == 25
    assert capture.train.has_alpha
    assert capture.train.images.shape == (100, 200, 200, 4)
    assert capture.box.high.tolist() == [1.5] * 3
    assert capture.train.names[0] == "train/r_0.png"
    assert capture.test.names[1] == "test/r_8.png"
    # The object is seen where it is, by every camera: its opaque pixels surround the projected middle of the box.
    cameras = capture.train.cameras
    pixel, z = cameras.project(torch.arange(100), torch.zeros(100, 3))
    assert bool((z > 3.9).all())
    assert float((pixel - 100).abs().max()) < 0.01
    assert float((capture.train.images[:, 100, 100, 3] > 0).float().mean()) > 0.9


def test_fox(shared_data):
    capture = load_transforms(shared_data / "scenes" / "fox_135x240")
    assert len(capture.train) == 43
    assert len(capture.test) == 7
    assert capture.box is None
    assert capture.test.names[:2] == ("images/0001.png", "images/0012.png")
    cameras = capture.train.cameras
    assert (cameras.width, cameras.height) == (135, 240)
    # fl_x and cx of 1080 x 1920 pictures, divided by 8
    assert cameras.intrinsics[0].tolist() == pytest.approx([171.94, 171.81125, 69.31975, 120.6585])
    rng = torch.Generator().manual_seed(0)
    index = torch.randint(43, (2000,), generator=rng)
    pixel = torch.rand(2000, 2, generator=rng) * torch.tensor([135.0, 240.0])
    distance = 0.5 + 5 * torch.rand(2000, generator=rng)
    again, z = cameras.project(index, cameras.rays_at(index, pixel).at(distance))
    assert bool((z > 0).all())
    assert float((again - pixel).abs().max()) < 1e-2


def test_fox_lists_pictures_that_are_missing(shared_data, tmp_path):
    """The file of the full pictures, with small ones of the same names in their place."""
    full = shared_data / "scenes" / "fox_1080x1920"
    shutil.copy(full / "transforms.json", tmp_path)
    (tmp_path / "images").mkdir()
    for path in (full / "images").iterdir():
        Image.new("RGB", (27, 48)).save(tmp_path / "images" / path.name)
    capture = load_transforms(tmp_path)
    assert capture.notes[0] == "17 of 67 listed pictures are missing and were skipped (first: images/0005.jpg)"
    assert len(capture.train) == 43
    assert len(capture.test) == 7
    assert float(capture.train.cameras.intrinsics[0, 0]) == pytest.approx(1375.52 / 40)
