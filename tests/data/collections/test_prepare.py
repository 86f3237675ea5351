from pathlib import Path

import pytest
import torch

from nerf3d.commands import prepare_collection as module
from nerf3d.commands.prepare_collection import prepare_collection
from nerf3d.data.collections.load import load_collection
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_what_was_drawn_and_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    prepared = prepare_collection("cars", tmp_path / "a", count=2, views=3, size=32, seed=4)
    (tmp_path / "b").mkdir()  # an empty folder is taken
    prepare_collection("cars", tmp_path / "b", count=2, views=3, size=32, seed=4)
    assert (prepared.objects, prepared.pictures, prepared.folder) == (2, 6, tmp_path / "a")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    drawn, read = render_collection("cars", 2, 3, 32, 4), load_collection(tmp_path / "a")
    assert torch.equal(drawn.pictures, read.pictures)
    assert torch.equal(drawn.attributes.values, read.attributes.values)
    assert torch.allclose(drawn.cameras.world_from_camera, read.cameras.world_from_camera, atol=1e-6)
    assert read.has_alpha
    assert read.captions == drawn.captions


def test_a_folder_that_holds_anything_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists; choose another folder"):
        prepare_collection("cars", tmp_path, count=1, views=2)
    assert contents(tmp_path) == {"mine.txt": b"mine"}
    with pytest.raises(InputError, match="choose one of 32, 64, 128"):
        prepare_collection("cars", tmp_path / "new", count=1, views=2, size=33)
    with pytest.raises(InputError, match=r"mine\.txt.* cannot be written"):
        prepare_collection("cars", tmp_path / "mine.txt" / "new", count=1, views=2)


def test_what_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(items, title, total):
        yield next(iter(items))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "tracked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_collection("cars", tmp_path / "a", count=3, views=2, size=32)
    assert list(tmp_path.iterdir()) == []
