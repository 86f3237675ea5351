import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.data.pictures import has_alpha, list_pictures, load_masks, load_pictures, picture_size
from nerf3d.errors import InputError

CHANCE = np.random.default_rng(0)
GREY = CHANCE.integers(0, 256, (16, 16), dtype=np.uint8)
COLOR = CHANCE.integers(0, 256, (16, 16, 3), dtype=np.uint8)
ALPHA = CHANCE.integers(0, 255, (16, 16), dtype=np.uint8)


def write_deep_png(path: Path, values: np.ndarray) -> None:
    """A PNG with 16 bits a channel, which Pillow itself cannot write in colour."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def load_one(path: Path, alpha: bool | None = None) -> np.ndarray:
    return load_pictures([path], alpha)[0].numpy()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_color_is_kept(tmp_path, suffix):
    Image.fromarray(COLOR).save(tmp_path / f"a.{suffix}", lossless=True)
    assert np.array_equal(load_one(tmp_path / f"a.{suffix}"), COLOR)


def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert np.array_equal(load_one(tmp_path / "a.png"), np.repeat(GREY[..., None], 3, -1))


def test_black_and_white(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    assert np.array_equal(load_one(tmp_path / "a.png")[..., 1], np.where(GREY > 127, 255, 0))


def test_grey_with_alpha(tmp_path):
    Image.fromarray(np.stack([GREY, ALPHA], -1)).save(tmp_path / "a.png")
    assert np.array_equal(load_one(tmp_path / "a.png"), np.stack([GREY, GREY, GREY, ALPHA], -1))


def test_alpha_stays_straight(tmp_path):
    pixels = np.dstack([COLOR, ALPHA])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(load_one(tmp_path / "a.png"), pixels)
    assert np.array_equal(load_one(tmp_path / "a.png", alpha=False), COLOR)


def test_opaque_alpha_is_no_alpha(tmp_path):
    Image.fromarray(np.dstack([COLOR, np.full_like(ALPHA, 255)])).save(tmp_path / "a.png")
    assert not has_alpha([tmp_path / "a.png"])
    assert np.array_equal(load_one(tmp_path / "a.png"), COLOR)


def test_one_transparent_picture_gives_all_four_channels(tmp_path):
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([COLOR, ALPHA])).save(tmp_path / "b.png")
    images = load_pictures([tmp_path / "a.png", tmp_path / "b.png"])
    assert images.shape == (2, 16, 16, 4)
    assert images.dtype == torch.uint8
    assert bool((images[0, ..., 3] == 255).all())
    assert np.array_equal(images[1, ..., 3].numpy(), ALPHA)


def test_palette(tmp_path):
    index = GREY % 3
    palette = np.array([[255, 0, 10], [1, 2, 3], [9, 200, 7]], np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "P"
    assert np.array_equal(load_one(tmp_path / "a.png"), palette[index])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
def test_palette_with_transparency(tmp_path, transparency):
    index = GREY % 3
    palette = np.array([[255, 0, 10], [1, 2, 3], [9, 200, 7]], np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "a.png", transparency=transparency)
    alpha = np.array([255, 0, 255] if transparency == 1 else [255, 0, 128], np.uint8)
    assert np.array_equal(load_one(tmp_path / "a.png"), np.dstack([palette[index], alpha[index]]))
    assert np.array_equal(load_one(tmp_path / "a.png", alpha=False), palette[index])


def test_cmyk(tmp_path):
    ink = np.zeros((1, 4, 4), np.uint8)
    ink[0, 0, 0] = ink[0, 1, 1] = ink[0, 2, 3] = 255  # cyan, magenta, black, paper
    Image.fromarray(ink, mode="CMYK").save(tmp_path / "a.tif")
    expected = [[[0, 255, 255], [255, 0, 255], [0, 0, 0], [255, 255, 255]]]
    assert load_one(tmp_path / "a.tif").tolist() == expected
    Image.fromarray(ink.repeat(16, 0).repeat(16, 1), mode="CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    middles = load_one(tmp_path / "a.jpg")[8, 8::16].astype(int)
    assert np.abs(middles - np.array(expected[0])).max() <= 4


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_keep_their_upper_byte(tmp_path, channels):
    values = CHANCE.integers(0, 2**16, (16, 16, channels), dtype=np.uint16)
    write_deep_png(tmp_path / "a.png", values)
    top = (values >> 8).astype(np.uint8)
    color = top[..., :1].repeat(3, -1) if channels < 3 else top[..., :3]
    expected = color if channels % 2 else np.dstack([color, top[..., -1]])
    assert np.array_equal(load_one(tmp_path / "a.png"), expected)


def test_sixteen_bit_tiff(tmp_path):
    values = CHANCE.integers(0, 2**16, (16, 16), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.array_equal(load_one(tmp_path / "a.tif")[..., 2], values >> 8)


def test_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to show"
    Image.fromarray(COLOR[:8]).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.getexif()[0x0112] == 6
    assert picture_size(tmp_path / "a.png") == (16, 8)
    assert np.array_equal(load_one(tmp_path / "a.png"), COLOR[:8])


def test_order_is_kept(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in (7, 3, 9, 1, 4, 0, 8, 2, 6, 5)]
    for path in paths:
        Image.new("L", (16, 16), int(path.stem)).save(path)
    assert load_pictures(paths)[:, 5, 5, 0].tolist() == [7, 3, 9, 1, 4, 0, 8, 2, 6, 5]


def test_list_pictures(tmp_path):
    for name in ("b.JPG", "a.png", "c.tiff", "notes.txt", ".hidden.png", "d.Webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG", "c.tiff", "d.Webp"]
    assert list_pictures(tmp_path / "nowhere") == []


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_cut_off(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOR).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=rf"a\.{suffix} cannot be read as a picture .*; replace it"):
        load_pictures([path])


def test_no_picture(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (16, 16)).save(tmp_path / "gif.png", format="GIF")
    # PostScript under a picture's name: Pillow would hand it to another program.
    (tmp_path / "script.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"
    )
    (tmp_path / "folder.png").mkdir()
    for name, what in [
        ("empty.png", "is empty"),
        ("text.png", "cannot be read as a picture"),
        ("gif.png", "cannot be read as a picture"),
        ("script.png", "cannot be read as a picture"),
        ("folder.png", "cannot be read as a picture"),
        ("nowhere.png", "does not exist"),
    ]:
        with pytest.raises(InputError, match=f"{name} {what}"):
            load_pictures([tmp_path / name])


def test_float_picture_is_refused(tmp_path):
    Image.fromarray(np.ones((16, 16), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif has 32 bits a channel; save it with 8 or 16"):
        load_pictures([tmp_path / "a.tif"])


def test_other_size(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 12)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png is 16 x 12 pixels but .*a\.png is 16 x 16.*resize"):
        load_pictures([tmp_path / "a.png", tmp_path / "b.png"])


def test_masks(tmp_path):
    white = GREY > 127
    Image.fromarray(np.where(white, 255, 0).astype(np.uint8)).save(tmp_path / "white.png")
    Image.fromarray(white.astype(np.uint8)).save(tmp_path / "ones.png")
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    paths = [tmp_path / "white.png", tmp_path / "ones.png", tmp_path / "grey.png", None]
    masks = load_masks(paths, 16, 16)
    assert masks.dtype == torch.bool
    assert masks.shape == (4, 16, 16)
    for mask in masks[:3]:
        assert np.array_equal(mask.numpy(), white)
    assert bool(masks[3].all())


def test_bad_masks(tmp_path):
    Image.new("L", (8, 16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"the mask .*a\.png is 8 x 16 pixels but its picture is 16 x 16"):
        load_masks([tmp_path / "a.png"], 16, 16)
    with pytest.raises(InputError, match=r"b\.png does not exist"):
        load_masks([tmp_path / "b.png"], 16, 16)
