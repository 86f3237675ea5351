"""What a run keeps of its collection: there and back."""

from pathlib import Path

import pytest
import torch

from nerf3d.data.collections.about import CAMERAS, About, read_about, write_about
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError


def test_there_and_back(tmp_path: Path) -> None:
    collection = render_collection("cars", 4, 20, 32)
    about = About.of(collection)
    write_about(about, tmp_path / "collection.json")
    found = read_about(tmp_path / "collection.json")
    assert len(found.cameras) == CAMERAS
    assert torch.equal(found.cameras.world_from_camera, about.cameras.world_from_camera)
    assert (found.cameras.width, found.objects) == (32, 4)
    assert found.kinds == collection.kinds
    assert bool((found.box.low >= collection.box.low).all())
    assert torch.equal(found.box.high, about.box.high)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text('{"width": 3}')
    with pytest.raises(InputError, match=r"collection\.json is damaged"):
        read_about(tmp_path / "collection.json")
