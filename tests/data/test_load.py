import json
import sys
import types

import pytest

from nerf3d.data.load import load_capture
from nerf3d.errors import InputError


def test_transforms(write_transforms, ring):
    capture = load_capture(write_transforms(ring(10)))
    assert len(capture.train) == 8
    assert len(capture.test) == 2


def test_blender_comes_first(write_blender):
    folder = write_blender()
    (folder / "transforms.json").write_text("{}")
    assert len(load_capture(folder).train) == 5


@pytest.mark.parametrize(
    ("files", "module", "function"),
    [
        (["poses_bounds.npy", "sparse/0/cameras.bin"], "llff", "load_llff"),
        (["sparse/0/cameras.bin", "images/a.png", "images/b.png", "images/c.png"], "colmap", "load_colmap"),
        (["sparse/cameras.txt"], "colmap", "load_colmap"),
        (["colmap/sparse/0/cameras.bin"], "colmap", "load_colmap"),
        (["cameras.txt"], "colmap", "load_colmap"),
        (["a.JPG", "b.png", "c.tiff"], "poses", "load_photographs"),
        (["images/a.jpg", "images/b.jpg", "images/c.jpg"], "poses", "load_photographs"),
    ],
)
def test_each_format_finds_its_loader(tmp_path, monkeypatch, files, module, function):
    class Called(Exception):
        pass

    def loader(folder):
        assert folder == tmp_path
        raise Called

    stand_in = types.ModuleType(f"nerf3d.data.{module}")
    setattr(stand_in, function, loader)
    monkeypatch.setitem(sys.modules, f"nerf3d.data.{module}", stand_in)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(Called):
        load_capture(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; check the path"):
        load_capture(tmp_path / "nowhere")
    (tmp_path / "file.json").touch()
    with pytest.raises(InputError, match=r"file\.json is a file; give the folder"):
        load_capture(tmp_path / "file.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no data set: no transforms_train\.json, .*COLMAP.*images/"):
        load_capture(tmp_path / "empty")


def test_too_few_photographs(tmp_path, picture):
    for i in range(2):
        picture(tmp_path / f"{i}.png", i)
    with pytest.raises(InputError, match="holds no poses and only 2 photographs; at least 3"):
        load_capture(tmp_path)


def test_too_few_views(write_transforms, ring):
    with pytest.raises(InputError, match=r"only 2 of the pictures are for training \(0 are held out\)"):
        load_capture(write_transforms(ring(2)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_of_three_views_none_is_held_out(write_transforms, ring, picture, mode):
    def change(document):
        document["frames"][1]["mask_path"] = "mask.png"

    picture(write_transforms() / "mask.png", 255)
    capture = load_capture(write_transforms(ring(3), mode, change))
    assert (len(capture.train), len(capture.test)) == (3, 0)
    assert capture.train.names == ("images/00.png", "images/01.png", "images/02.png")
    assert capture.test.has_alpha == capture.train.has_alpha == (mode == "RGBA")
    assert "3 photographs for training and none for testing, since they are so few" in capture.notes


def test_singular_pose(write_transforms):
    def change(document):
        document["frames"][2]["transform_matrix"] = [[0.0] * 4] * 4

    for mode in ("RGB", "RGBA"):
        with pytest.raises(InputError, match=r"images/02\.png has a singular pose"):
            load_capture(write_transforms(mode=mode, change=change))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_opencv_axes_where_opengl_is_expected(write_transforms, mode, ring):
    def change(document):
        for frame in document["frames"]:
            for row in frame["transform_matrix"]:
                row[1:3] = [-row[1], -row[2]]

    with pytest.raises(InputError, match=r"look away.*correct the poses"):
        load_capture(write_transforms(ring(10), mode, change))


def test_blender_whose_cameras_look_away(write_blender):
    folder = write_blender()
    document = json.loads((folder / "transforms_train.json").read_text())
    for frame in document["frames"]:
        for row in frame["transform_matrix"]:
            row[1:3] = [-row[1], -row[2]]
    (folder / "transforms_train.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="look away"):
        load_capture(folder)


def test_real_captures(shared_data):
    chair = load_capture(shared_data / "scenes" / "chair_100")
    assert (len(chair.train), len(chair.test)) == (100, 25)
    assert chair.box is not None
    fox = load_capture(shared_data / "scenes" / "fox_135x240")
    assert (len(fox.train), len(fox.test)) == (43, 7)
    assert fox.box is None
