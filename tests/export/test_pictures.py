import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.errors import InputError
from nerf3d.export import pictures
from nerf3d.export.pictures import (
    color_picture,
    contact_sheet,
    depth_picture,
    depth_range,
    normal_picture,
    opacity_picture,
    write_picture,
)


def test_colors_are_rounded_and_cut_off():
    color = torch.tensor([[[-0.2, 0.5, 1.3], [0.0, torch.nan, 254.6 / 255]]])
    assert color_picture(color).tolist() == [[[0, 128, 255], [0, 0, 255]]]


def test_opacity_is_grey():
    assert opacity_picture(torch.tensor([[0.0, 0.2, 1.0]])).tolist() == [[[0] * 3, [51] * 3, [255] * 3]]


def test_depth_gets_darker_with_distance_and_black_means_nothing():
    depth = torch.linspace(2, 5, 64)[None]
    picture = depth_picture(depth, torch.ones(1, 64), (2.0, 5.0))
    lightness = picture.float() @ torch.tensor([0.299, 0.587, 0.114])
    assert bool((lightness.diff() < 0).all())
    assert float(lightness.min()) > 30
    assert bool((depth_picture(depth, torch.zeros(1, 64)) == 0).all())


def test_the_same_limits_give_the_same_color_in_every_frame():
    one = depth_picture(torch.tensor([[2.0, 3.0]]), torch.ones(1, 2), (1.0, 4.0))
    two = depth_picture(torch.tensor([[3.9, 3.0]]), torch.ones(1, 2), (1.0, 4.0))
    assert torch.equal(one[0, 1], two[0, 1])


def test_the_range_ignores_what_is_transparent_and_a_few_outliers():
    depth = torch.cat([torch.full((500,), 900.0), torch.linspace(2, 4, 2000), torch.full((5,), 77.0)])
    opacity = torch.cat([torch.full((500,), 0.1), torch.ones(2005)])
    near, far = depth_range(depth, opacity)
    assert near == pytest.approx(2.02, abs=0.01)
    assert far == pytest.approx(3.985, abs=0.01)
    assert depth_range(depth, torch.zeros_like(depth)) == (0.0, 1.0)


def test_a_wall_at_one_distance_is_painted_as_near():
    picture = depth_picture(torch.full((2, 2), 3.0), torch.ones(2, 2))
    assert picture[0, 0].tolist() == pictures.DEPTH_COLORS[0].tolist()


def test_normals():
    normal = torch.tensor([[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]])
    picture = normal_picture(normal, torch.tensor([[1.0, 1.0, 0.0]]))
    assert picture.tolist() == [[[255, 128, 128], [128, 0, 128], [0, 0, 0]]]


def test_contact_sheet_puts_everything_in_its_place():
    sizes = [(4, 6), (3, 5), (4, 6), (2, 2), (4, 1)]
    parts = [torch.full((*size, 3), 10 * i, dtype=torch.uint8) for i, size in enumerate(sizes)]
    sheet = contact_sheet(parts, columns=3, gap=1)
    assert sheet.shape == (9, 20, 3)
    for i, (h, w) in enumerate(sizes):
        y, x = i // 3 * 5, i % 3 * 7
        assert torch.equal(sheet[y : y + h, x : x + w], parts[i])
    assert int((sheet == 255).sum()) == 3 * (9 * 20 - sum(h * w for h, w in sizes))
    assert contact_sheet(parts[:2], columns=9).shape == (4, 16, 3)
    with pytest.raises(InputError, match="at least one"):
        contact_sheet([], 3)


def test_a_picture_comes_back_as_it_was(tmp_path):
    picture = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    write_picture(tmp_path / "new" / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), picture.numpy())


def test_alpha_comes_back_as_it_was(tmp_path):
    """Colours are straight: where alpha is zero they are still there."""
    picture = torch.randint(0, 256, (5, 7, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    picture[0, :, 3] = 0
    write_picture(tmp_path / "a.png", picture)
    again = Image.open(tmp_path / "a.png")
    assert again.mode == "RGBA"
    assert np.array_equal(np.asarray(again), picture.numpy())


def test_bad_places(tmp_path):
    picture = torch.zeros(2, 2, 3, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"\.png"):
        write_picture(tmp_path / "a.jpg", picture)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_picture(tmp_path / "file" / "a.png", picture)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match="No space left"):
        write_picture(tmp_path / "a.png", torch.zeros(2, 2, 3, dtype=torch.uint8))
    assert list(tmp_path.iterdir()) == []
