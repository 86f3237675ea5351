import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nerf3d.core import Cameras
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.eg3d import read_eg3d, to_numbers, write_eg3d
from nerf3d.errors import InputError

# A camera 2.7 in front of a face, in EG3D's world: y up, the face towards +z.
FACE = [1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1]
LENS = [4.25, 0, 0.5, 0, 4.25, 0.5, 0, 0, 1]
Labels = list[list[Any]]


def folder_of(path: Path, labels: Any, size: int = 64) -> Path:
    """A folder as other programs leave it, with a picture for every label."""
    path.mkdir()
    (path / "dataset.json").write_text(json.dumps({"labels": labels}))
    for name, _ in labels or []:
        Image.new("RGB", (size, size), (10, 20, 30)).save(path / name)
    return path


def two() -> Labels:
    return [["a.png", [*FACE, *LENS]], ["b.png", [*FACE, *LENS]]]


def test_the_numbers_of_a_camera_written_by_hand(tmp_path: Path) -> None:
    collection = read_eg3d(folder_of(tmp_path / "faces", two()))
    point = torch.tensor([[0.1, 0.2, 0.0], [0.0, 0.0, 0.5]])
    pixel, z = collection.cameras.project(torch.tensor([0, 1]), point)
    across, up = 4.25 * 64 * 0.1 / 2.7, 4.25 * 64 * 0.2 / 2.7
    assert pixel[0].tolist() == pytest.approx([32 + across, 32 - up], abs=1e-4)
    assert pixel[1].tolist() == pytest.approx([32, 32], abs=1e-4)
    assert z.tolist() == pytest.approx([2.7, 2.2])
    assert collection.captions == ("", "")
    assert collection.scene.tolist() == [0, 1]
    assert not collection.has_alpha
    assert collection.pictures[0, 5, 5].tolist() == [10, 20, 30, 255]
    assert to_numbers(collection.cameras)[0].tolist() == pytest.approx([*FACE, *LENS])
    half = 2.7 * 0.5 * 2**0.5 / 4.25  # the corner of the picture where the face is
    assert collection.box.size.tolist() == pytest.approx([2 * half] * 3, rel=1e-3)


def test_smaller_pictures_keep_what_is_in_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", two())
    full, small = read_eg3d(folder), read_eg3d(folder, 16)
    assert small.pictures.shape == (2, 16, 16, 4)
    x = torch.tensor([[0.1, 0.2, 0.1]])
    index = torch.tensor([1])
    assert torch.allclose(small.cameras.project(index, x)[0], full.cameras.project(index, x)[0] / 4, atol=1e-5)


@pytest.mark.parametrize("alpha", [True, False])
def test_there_and_back(small: Collection, tmp_path: Path, alpha: bool) -> None:
    if not alpha:
        opaque = small.pictures.clone()
        opaque[..., 3] = 255
        small = replace(small, pictures=opaque, has_alpha=False)
    shifted = small.cameras.intrinsics + torch.tensor([0.0, 1.0, 0.5, -0.25])
    small = replace(small, cameras=replace(small.cameras, intrinsics=shifted))
    write_eg3d(tmp_path, [small.of_scenes([0, 1]), small.of_scenes([2])])
    back = read_eg3d(tmp_path)
    assert torch.equal(back.pictures, small.pictures)
    assert torch.equal(back.scene, small.scene)
    assert back.captions == small.captions
    assert back.attributes.names == small.attributes.names
    assert torch.equal(back.attributes.values, small.attributes.values)
    assert torch.equal(back.box.low, small.box.low)
    assert torch.equal(back.box.high, small.box.high)
    assert back.has_alpha == alpha
    x = torch.tensor([0.2, -0.1, 0.3]).expand(6, 3)
    index = torch.arange(6)
    assert torch.allclose(back.cameras.project(index, x)[0], small.cameras.project(index, x)[0], atol=1e-4)
    with Image.open(tmp_path / "00000" / "img00000005.png") as picture:
        assert picture.mode == ("RGBA" if alpha else "RGB")


def test_what_other_readers_find(small: Collection, tmp_path: Path) -> None:
    write_eg3d(tmp_path, [small])
    document = json.loads((tmp_path / "dataset.json").read_text())
    labels = dict(document["labels"])
    assert set(labels) == {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")}
    assert {len(numbers) for numbers in labels.values()} == {25}
    numbers = torch.tensor(labels["00000/img00000003.png"])
    assert torch.allclose(numbers[:16].reshape(4, 4)[:3], small.cameras.world_from_camera[3])
    focal = float(small.cameras.intrinsics[3, 0]) / 8
    assert numbers[16:].tolist() == pytest.approx([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1])


def changed(index: int, value: Any) -> Callable[[Labels], Labels]:
    def change(labels: Labels) -> Labels:
        labels[1][1][index] = value
        return labels

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: None, r"gives no poses"),
        (lambda labels: [], r"gives no poses"),
        (lambda labels: labels[:1], r"labels one picture, which is no collection"),
        (lambda labels: [["a.png", 3], labels[1]], r"a\.png has 1 numbers where a pose"),
        (lambda labels: [labels[0], ["b.png", FACE]], r"b\.png has 16 numbers where a pose"),
        (lambda labels: [labels[0], labels[0]], r"labels a\.png twice"),
        (changed(3, "x"), r"b\.png has something among its 25 numbers that is none"),
        (changed(0, 0.0), r"b\.png has a singular pose"),
        (changed(0, -1.0), r"b\.png has a mirrored pose"),
        (changed(1, 0.5), r"b\.png has a pose that is not rigid"),
        (changed(17, 0.1), r"b\.png has another camera model \(skew"),
        (changed(24, 2.0), r"b\.png has another camera model"),
        (changed(16, -4.0), r"b\.png has a focal length that is not above 0"),
        (changed(18, 1.5), r"b\.png has its principal point outside of the picture"),
        (changed(18, float("nan")), r"b\.png has intrinsics that are not finite"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, change: Callable[[Labels], Any], said: str) -> None:
    folder = folder_of(tmp_path / "faces", two())
    (folder / "dataset.json").write_text(json.dumps({"labels": change(two())}))
    if said.startswith("labels one"):
        (folder / "b.png").unlink()
    with pytest.raises(InputError, match=said) as error:
        read_eg3d(folder)
    assert str(folder / "dataset.json") in str(error.value)


def test_pictures_that_do_not_fit_the_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", two())
    Image.new("RGB", (64, 64)).save(folder / "c.png")
    with pytest.raises(InputError, match=r"has 2 labels for 3 pictures \(without one: c\.png\)"):
        read_eg3d(folder)
    (folder / "c.png").unlink()
    Image.new("RGB", (32, 64)).save(folder / "b.png")
    with pytest.raises(InputError, match=r"b\.png is 32 x 64 pixels but .*a\.png is 64 x 64"):
        read_eg3d(folder)
    (folder / "b.png").unlink()
    with pytest.raises(InputError, match=r"1 of 2 pictures that .* labels do not exist \(first: b\.png\)"):
        read_eg3d(folder)


def test_our_own_key_must_fit(small: Collection, tmp_path: Path) -> None:
    write_eg3d(tmp_path, [small])
    file = tmp_path / "dataset.json"
    document = json.loads(file.read_text())
    for key, value in (("attributes", [[1.0]]), ("scenes", [0]), ("scenes", [9] * 6), ("box", None)):
        broken = document | {"nerf3d": document["nerf3d"] | {key: value}}
        file.write_text(json.dumps(broken))
        with pytest.raises(InputError, match="key 'nerf3d'"):
            read_eg3d(tmp_path)


def test_lenses_that_the_layout_cannot_say(small: Collection, tmp_path: Path) -> None:
    bent = small.cameras
    bent = Cameras(bent.world_from_camera, bent.intrinsics, bent.distortion + 0.1, bent.width, bent.height)
    with pytest.raises(InputError, match="no distorted lenses"):
        write_eg3d(tmp_path, [replace(small, cameras=bent)])
    with pytest.raises(InputError, match="without pictures"):
        write_eg3d(tmp_path, [])
