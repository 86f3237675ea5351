"""The pixels of a prepared portrait: our own folders, and other tools'."""

import shutil
from pathlib import Path

import numpy as np
import puppet
import pytest
import talker
import torch
from PIL import Image

from nerf3d.data.portrait.folder import Portrait, read_portrait
from nerf3d.data.portrait.footage import Footage, load_footage, load_plate
from nerf3d.errors import InputError

COUNT = 33


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talker.write(tmp_path_factory.mktemp("talker") / "data", COUNT)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "data"))


def loaded(folder: Path, side: int = talker.SIZE) -> tuple[Portrait, Footage]:
    portrait = read_portrait(folder)
    return portrait, load_footage(portrait, portrait.train, side)


def truth(index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return talker.frame(talker.cameras(COUNT), index, float(talker.opening(COUNT)[index]), puppet.openness(index))


def test_frames_and_the_soft_matte_are_where_they_should_be(written: Path) -> None:
    _, footage = loaded(written)
    assert len(footage) == 30
    for index in (0, 17, 29):
        picture, share, shoulders = truth(index)
        off = footage.images[index].float() / 255 - picture
        assert float(off.square().mean().sqrt()) < 0.03  # it was a JPEG
        head = footage.head[index].float() / 255
        free = shoulders == 0
        off = (head - share)[free].abs()  # soft as it was drawn, told anew from colors that are a JPEG's
        assert float(off.max()) < 0.15
        assert float(off.mean()) < 0.002
        assert bool((((share > 0.1) & (share < 0.9))[free]).any())
        assert float(head[shoulders >= 0.5].max()) == 0  # the person's matte, but not the head's
        person = footage.person[index].float() / 255
        assert float(person[(shoulders > 0.99) | (share > 0.99)].min()) > 0.85
        assert float(person[(shoulders == 0) & (share == 0)].max()) == 0


def test_without_a_background_the_matte_stays_as_it_is(folder: Path) -> None:
    (folder / "background.png").unlink()
    _, footage = loaded(folder)
    _, share, shoulders = truth(17)
    assert float((footage.head[17].float() / 255 - share)[shoulders == 0].abs().max()) < 0.005


def test_a_matte_that_is_too_large_is_made_smaller_by_the_background(folder: Path) -> None:
    """Otherwise the old background would be seen around the head, before any other."""
    _, share, shoulders = truth(17)
    large = torch.nn.functional.max_pool2d(torch.maximum(share, shoulders)[None], 3, 1, 1)[0]
    Image.fromarray((255 * large).round().to(torch.uint8).numpy()).save(folder / "mattes" / "17.png")
    _, footage = loaded(folder)
    beyond = (share == 0) & (shoulders == 0) & (large > 0.5)
    assert int(beyond.sum()) > 50
    assert float(footage.person[17][beyond].float().mean()) < 20


def test_beyond_the_border_the_matte_is_not_the_head_s(folder: Path) -> None:
    """A matte that spills over the whole frame counts two pixels around the head, and on the torso nowhere."""
    for file in (folder / "mattes").iterdir():
        Image.new("L", (talker.SIZE, talker.SIZE), 200).save(file)
    _, footage = loaded(folder)
    _, share, shoulders = truth(5)
    hard, torso = share >= 0.5, (share < 0.5) & (shoulders >= 0.5)
    near = torch.nn.functional.max_pool2d(hard[None].float(), 5, 1, 2)[0] > 0
    assert torch.equal(footage.head[5] == 200, near & ~torso)
    assert torch.equal(footage.head[5] == 0, ~near | torso)


@pytest.mark.parametrize("side", [32, 96])
def test_other_sizes(written: Path, side: int) -> None:
    portrait, footage = loaded(written, side)
    assert footage.images.shape == (30, side, side, 3)
    assert footage.head.shape == (30, side, side)
    assert load_plate(portrait, side).shape == (side, side, 3)
    _, full = loaded(written)
    if side == 32:  # the mean of four pixels
        expected = full.images[7].float().reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert float((footage.images[7].float() - expected).abs().max()) <= 1
    areas = [float((f.head >= 128).float().mean()) for f in (footage, full)]
    assert areas[0] == pytest.approx(areas[1], rel=0.05)


def test_the_plate(folder: Path) -> None:
    portrait = read_portrait(folder)
    off = load_plate(portrait, talker.SIZE).float() / 255 - talker.plate()
    assert float(off.abs().max()) <= 0.5 / 255 + 1e-6
    (folder / "background.png").unlink()
    assert int((load_plate(portrait, talker.SIZE).int() - 128).abs().max()) == 0
    Image.new("RGB", (talker.SIZE, talker.SIZE), (200, 100, 50)).save(folder / "bc.jpg", quality=95)  # AD-NeRF's
    assert float((load_plate(portrait, 32).float() - torch.tensor([200.0, 100.0, 50.0])).abs().max()) < 4


def test_data_of_other_tools_has_no_mattes(folder: Path) -> None:
    shutil.rmtree(folder / "mattes")
    (folder / "background.png").rename(folder / "elsewhere.png")
    shutil.move(folder / "ori_imgs", folder / "gt_imgs")
    _, footage = loaded(folder)
    parsing = torch.from_numpy(np.array(Image.open(folder / "parsing" / "4.png").convert("RGB")))
    assert torch.equal(footage.head[4] == 255, (parsing == torch.tensor([0, 0, 255])).all(-1))
    assert footage.head.unique().tolist() == [0, 255]


def damaged(folder: Path, name: str) -> str:
    portrait = read_portrait(folder)
    with pytest.raises(InputError) as refused:
        load_footage(portrait, portrait.train, talker.SIZE)
    said = str(refused.value)
    assert str(folder / name) in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", ["ori_imgs/7.jpg", "mattes/7.png", "parsing/7.png"])
def test_a_file_that_is_cut_off_is_named(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    assert "cannot be read" in damaged(folder, name)
    (folder / name).write_bytes(b"")
    assert "cannot be read" in damaged(folder, name)


@pytest.mark.parametrize("name", ["ori_imgs/7.jpg", "mattes/7.png", "parsing/7.png"])
def test_a_file_of_another_size_is_named(folder: Path, name: str) -> None:
    with Image.open(folder / name) as picture:
        picture.resize((48, 64)).save(folder / name)
    assert "48 x 64 pixels where the data says 64 x 64" in damaged(folder, name)


def test_missing_pictures(folder: Path) -> None:
    (folder / "parsing" / "3.png").unlink()
    assert "No such file" in damaged(folder, "parsing/3.png")
    (folder / "ori_imgs" / "2.jpg").unlink()
    assert "2.jpg" in damaged(folder, "ori_imgs")
