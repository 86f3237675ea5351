import pytest

from nerf3d.data.files import inside, read_json
from nerf3d.errors import InputError


def test_inside(tmp_path):
    root = tmp_path.resolve() / "scene"
    (root / "images").mkdir(parents=True)
    for name in ("./images/a.png", "images\\a.png", "images/../images/a.png", str(root / "images" / "a.png")):
        assert inside(root, name) == root / "images" / "a.png"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\a.png", "/etc/passwd", "images/../../a.png", "../scene2/a.png"]
)
def test_names_that_leave_the_folder(tmp_path, name):
    (tmp_path / "scene").mkdir()
    with pytest.raises(InputError, match=r"leaves the data set's folder .*scene;"):
        inside(tmp_path / "scene", name)


def test_links(tmp_path):
    root, other = tmp_path.resolve() / "scene", tmp_path / "other"
    (root / "images").mkdir(parents=True)
    other.mkdir()
    (root / "out").symlink_to(other)
    (root / "within").symlink_to(root / "images")
    (tmp_path / "alias").symlink_to(root)
    (root / "round").symlink_to(root / "round")
    with pytest.raises(InputError, match="leaves the data set's folder"):
        inside(root, "out/a.png")
    assert inside(root, "within/a.png") == root / "images" / "a.png"
    assert inside(tmp_path / "alias", "images/a.png") == root / "images" / "a.png"
    for name in ("round", "a\0b"):
        with pytest.raises(InputError, match="not a possible path"):
            inside(root, name)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"frames": [{"file_path": "a')
    with pytest.raises(InputError, match=r"a\.json is not complete, valid JSON .*; copy or export it again"):
        read_json(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="not complete, valid JSON"):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="not complete, valid JSON"):
        read_json(path)
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match=r"a\.json holds a JSON list where an object"):
        read_json(path)
    with pytest.raises(InputError, match=r"b\.json cannot be read"):
        read_json(tmp_path / "b.json")
