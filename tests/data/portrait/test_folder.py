import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nerf3d.data.portrait.folder import HELD_OUT, TRAIN, Shots, read_portrait, split, write_transforms
from nerf3d.data.sound_features import LOG_MEL, FeatureKind
from nerf3d.errors import InputError


def shots(count: int) -> Shots:
    rng = torch.Generator().manual_seed(0)
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, :3, 3] = torch.rand(count, 3, generator=rng)
    numbers = torch.arange(count) + 3  # the first three frames had no face
    boxes = torch.randint(1, 100, (count, 4), generator=rng)
    eye, mouth, torso = (torch.rand(count, *rest, generator=rng) for rest in ((), (2,), (2,)))
    torso[-1] = torch.nan
    return Shots(numbers, numbers, pose, boxes, boxes + 1, eye, mouth, torso)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_transforms(tmp_path, shots(44), 1280.0, 512, 512, LOG_MEL)
    (tmp_path / "ori_imgs").mkdir()
    (tmp_path / "ori_imgs" / "3.jpg").write_bytes(b"")
    rows = np.arange(46 * 16 * 40, dtype=np.float32).reshape(46, 16, 40)
    np.save(tmp_path / "aud.npy", rows)
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    portrait, given = read_portrait(folder), shots(44)
    assert (len(portrait.train), len(portrait.held_out)) == (40, 4)
    for name in Shots.__dataclass_fields__:
        whole = torch.cat([getattr(portrait.train, name), getattr(portrait.held_out, name)])
        torch.testing.assert_close(whole, getattr(given, name), atol=1e-6, rtol=0, equal_nan=True)
    assert (portrait.focal, portrait.center, portrait.width, portrait.height) == (1280.0, (256.0, 256.0), 512, 512)
    assert portrait.feature == LOG_MEL
    assert portrait.picture(3) == folder / "ori_imgs" / "3.jpg"
    rows = portrait.windows(portrait.held_out)
    assert rows[:, 0, 0].tolist() == [640 * min(k, 45) for k in (43, 44, 45, 46)]  # one row less than frames, as often
    with pytest.raises(InputError, match=r"no picture 4\.jpg"):
        portrait.picture(4)


def test_the_split_is_ten_to_one() -> None:
    assert [split(n) for n in (8000, 1779, 11, 1)] == [7272, 1617, 10, 1]


def test_the_keys_are_those_of_ad_nerf(folder: Path) -> None:
    document = json.loads((folder / TRAIN).read_text())
    assert {"focal_len", "cx", "cy", "frames"} <= set(document)
    assert {"img_id", "aud_id", "transform_matrix", "face_rect"} <= set(document["frames"][0])
    assert np.array(document["frames"][0]["transform_matrix"]).shape == (4, 4)
    assert json.loads((folder / HELD_OUT).read_text())["focal_len"] == 1280


def foreign(folder: Path, channels: int = 29) -> Path:
    """As AD-NeRF's tools leave it."""
    frames = [
        {"img_id": k, "aud_id": k, "transform_matrix": np.eye(4).tolist(), "face_rect": [10, 20, 30, 40]}
        for k in range(5)
    ]
    for name, part in ((TRAIN, frames[:4]), (HELD_OUT, frames[4:])):
        (folder / name).write_text(json.dumps({"focal_len": 1200.0, "cx": 225.0, "cy": 225.0, "frames": part}))
    (folder / "head_imgs").mkdir()
    np.save(folder / "aud.npy", np.zeros((4, 16, channels)))
    return folder


def test_data_of_other_tools_loads(tmp_path: Path) -> None:
    portrait = read_portrait(foreign(tmp_path))
    assert portrait.feature == FeatureKind("foreign", 29)
    assert (portrait.width, portrait.height, portrait.pictures.name) == (450, 450, "head_imgs")
    assert bool(portrait.train.eye.isnan().all())
    assert bool((portrait.train.lips == 0).all())
    assert portrait.windows(portrait.held_out).shape == (1, 16, 29)
    cameras = portrait.cameras(portrait.train)
    assert (len(cameras), cameras.width) == (4, 450)
    torch.testing.assert_close(cameras.forward, torch.tensor([0.0, 0.0, -1.0]).expand(4, 3))


def test_without_sound_there_is_no_feature(tmp_path: Path) -> None:
    foreign(tmp_path)
    (tmp_path / "aud.npy").unlink()
    portrait = read_portrait(tmp_path)
    assert portrait.feature is None
    with pytest.raises(InputError, match="without sound"):
        portrait.windows(portrait.train)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d.pop("focal_len"), "focal_len is None"),
        (lambda d: d.update(cx="middle"), "cx is 'middle'"),
        (lambda d: d.update(frames=[]), "lists no frames"),
        (lambda d: d.update(frames=3), "no list 'frames'"),
        (lambda d: d["frames"][1].pop("img_id"), "frame 1 has no img_id"),
        (lambda d: d["frames"][1].pop("transform_matrix"), "frame 1 has no transform_matrix"),
        (lambda d: d["frames"][2].update(face_rect=[1, 2]), "frame 2: face_rect is"),
        (lambda d: d.update(sound_feature={"name": "log-mel", "channels": 13}), "29 channels where"),
        (lambda d: d.update(sound_feature={"loudness": 1}), "not of this version's form"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change, match: str) -> None:  # type: ignore[no-untyped-def]
    foreign(tmp_path)
    document = json.loads((tmp_path / TRAIN).read_text())
    change(document)
    (tmp_path / TRAIN).write_text(json.dumps(document))
    with pytest.raises(InputError, match=match):
        read_portrait(tmp_path)


def test_broken_sound_and_missing_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nerf3d avatar prepare"):
        read_portrait(tmp_path)
    foreign(tmp_path)
    (tmp_path / "aud.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"not a whole \.npy"):
        read_portrait(tmp_path)
    np.save(tmp_path / "aud.npy", np.zeros((4, 29)))
    with pytest.raises(InputError, match=r"\(4, 29\)"):
        read_portrait(tmp_path)
    np.save(tmp_path / "aud.npy", np.zeros((4, 16, 29)))
    (tmp_path / "head_imgs").rmdir()
    with pytest.raises(InputError, match="none of the folders"):
        read_portrait(tmp_path)
