import shutil
from pathlib import Path

import pytest
import torch

from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.eg3d import write_eg3d
from nerf3d.data.collections.load import load_collection
from nerf3d.data.load import load_capture
from nerf3d.errors import InputError


@pytest.fixture
def scenes(intact: Path, tmp_path: Path) -> Path:
    """A folder of two Blender-style scenes."""
    for name in ("ball", "other"):
        shutil.copytree(intact, tmp_path / "scenes" / name)
    return tmp_path / "scenes"


def test_a_folder_of_scenes(scenes: Path, intact: Path) -> None:
    capture = load_capture(intact)
    collection = load_collection(scenes)
    each = len(capture.train) + len(capture.test)
    assert (len(collection), collection.scenes) == (2 * each, 2)
    assert collection.scene.tolist() == [0] * each + [1] * each
    assert collection.has_alpha
    assert torch.equal(collection.pictures[: len(capture.train)], capture.train.images)
    index, x = torch.arange(len(capture.test)), torch.tensor([0.3, -0.2, 0.5]).expand(len(capture.test), 3)
    pixel, _ = collection.cameras.project(index + each + len(capture.train), x)
    assert torch.allclose(pixel, capture.test.cameras.project(index, x)[0], atol=1e-4)
    assert capture.box is not None
    assert torch.equal(collection.box.high, capture.box.high)
    small = load_collection(scenes, 6)
    assert small.pictures.shape == (2 * each, 6, 6, 4)
    assert small.cameras.width == 6


def test_each_layout_is_recognised(small: Collection, tmp_path: Path) -> None:
    write_eg3d(tmp_path, [small])
    assert load_collection(tmp_path).captions == small.captions
    assert load_collection(tmp_path, 4).pictures.shape == (6, 4, 4, 4)
    place = tmp_path / "srn" / "car"
    (place / "pose").mkdir(parents=True)
    shutil.copytree(tmp_path / "00000", place / "rgb")
    (place / "intrinsics.txt").write_text("8 4 4 0.\n0. 0. 0.\n1.\n8 8\n")
    for picture in (place / "rgb").iterdir():
        (place / "pose" / f"{picture.stem}.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1")
    assert load_collection(tmp_path / "srn").scenes == 1


def test_what_is_no_collection(intact: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load_collection(tmp_path / "nowhere")
    archive = tmp_path / "cars.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(InputError, match="is a file; unpack it"):
        load_collection(archive)
    with pytest.raises(InputError, match=r"one scene \(transforms_train\.json\), not a collection"):
        load_collection(intact)
    with pytest.raises(InputError, match=r"no dataset\.json as EG3D has it, no folders with an intrinsics\.txt"):
        load_collection(tmp_path)
