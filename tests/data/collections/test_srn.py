from pathlib import Path

import pytest
import torch
from PIL import Image

from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.srn import read_srn, srn_objects
from nerf3d.errors import InputError

STATED = 64
"""The size that intrinsics.txt speaks of; the pictures have 8 pixels."""


def write(folder: Path, small: Collection) -> Path:
    """A collection as ShapeNet-SRN has it."""
    focal, _, cx, cy = small.cameras.scaled_to(STATED, STATED).intrinsics[0].tolist()
    for index in range(len(small)):
        place = folder / f"car{int(small.scene[index])}"
        (place / "rgb").mkdir(parents=True, exist_ok=True)
        (place / "pose").mkdir(exist_ok=True)
        lines = f"{focal} {cx} {cy} 0.\n0. 0. 0.\n1.\n{STATED} {STATED}\n"
        (place / "intrinsics.txt").write_text(lines)
        Image.fromarray(small.pictures[index, ..., :3].numpy()).save(place / "rgb" / f"{index:06d}.png")
        pose = [*small.cameras.world_from_camera[index].flatten().tolist(), 0.0, 0.0, 0.0, 1.0]
        (place / "pose" / f"{index:06d}.txt").write_text(" ".join(map(str, pose)))
    return folder


def test_points_land_where_they_did(small: Collection, tmp_path: Path) -> None:
    back = read_srn(write(tmp_path / "cars", small))
    assert torch.equal(back.scene, small.scene)
    assert back.captions == ("", "", "")
    assert torch.equal(back.pictures[..., :3], small.pictures[..., :3])
    assert not back.has_alpha
    x = torch.tensor([0.2, -0.1, 0.3]).expand(6, 3)
    index = torch.arange(6)
    assert torch.allclose(back.cameras.project(index, x)[0], small.cameras.project(index, x)[0], atol=1e-4)
    assert read_srn(tmp_path / "cars", 4).pictures.shape == (6, 4, 4, 4)


def test_a_camera_written_by_hand(tmp_path: Path) -> None:
    """1.3 above the origin, looking down, its picture's right along x; f is a picture's width."""
    place = tmp_path / "one"
    (place / "rgb").mkdir(parents=True)
    (place / "pose").mkdir()
    (place / "intrinsics.txt").write_text("128. 64. 64. 0.\n0. 0. 0.\n1.\n128 128\n")
    for name in ("000000", "000001"):
        Image.new("RGB", (32, 32), (255, 255, 255)).save(place / "rgb" / f"{name}.png")
        (place / "pose" / f"{name}.txt").write_text("1 0 0 0  0 -1 0 0  0 0 -1 1.3  0 0 0 1")
    collection = read_srn(tmp_path)
    pixel, z = collection.cameras.project(torch.tensor([1]), torch.tensor([[0.13, 0.26, 0.0]]))
    assert pixel[0].tolist() == pytest.approx([16 + 3.2, 16 - 6.4], abs=1e-4)
    assert float(z) == pytest.approx(1.3)


def test_the_objects_may_lie_one_folder_deeper(small: Collection, tmp_path: Path) -> None:
    write(tmp_path / "cars_train", small)
    assert [path.name for path in srn_objects(tmp_path)] == ["car0", "car1", "car2"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pose/000002.txt", "1 0 0", r"000002\.txt holds 3 numbers where a pose has 16"),
        ("pose/000002.txt", "a b c", r"000002\.txt cannot be read as numbers"),
        ("pose/000002.txt", "1 0 0 0 0 1 0 0 0 0 2 0 0 0 0 1", r"000002\.txt has a pose that is not rigid"),
        ("pose/000002.txt", None, r"000002\.txt does not exist"),
        ("intrinsics.txt", "1\n", "does not begin with 'f cx cy 0.'"),
        ("intrinsics.txt", "-5 4 4 0\n8 8\n", "no camera"),
        ("rgb/000002.png", None, None),
    ],
)
def test_files_that_cannot_be_used(
    small: Collection, tmp_path: Path, name: str, text: str | None, said: str | None
) -> None:
    folder = write(tmp_path / "cars", small)
    file = folder / "car1" / name
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    if said is None:  # a pose without a picture is no harm
        assert len(read_srn(folder)) == 5
        return
    with pytest.raises(InputError, match=said):
        read_srn(folder)


def test_no_pictures(small: Collection, tmp_path: Path) -> None:
    folder = write(tmp_path / "cars", small)
    for picture in (folder / "car2" / "rgb").iterdir():
        picture.unlink()
    with pytest.raises(InputError, match="holds no pictures"):
        read_srn(folder)
    with pytest.raises(InputError, match=r"no folders with an intrinsics\.txt"):
        read_srn(folder / "car2")
