"""What an avatar keeps of its film, there and back."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from nerf3d.core import Box
from nerf3d.data.portrait.folder import Portrait, Shots
from nerf3d.data.portrait.likeness import Likeness, read_likeness, write_likeness
from nerf3d.data.sound_features import LOG_MEL, FeatureKind
from nerf3d.errors import InputError


def likeness() -> Likeness:
    rng = torch.Generator().manual_seed(0)
    count = 7
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, :3] = torch.randn(count, 3, 4, generator=rng)
    numbers = torch.tensor([3, 5, 6, 7, 8, 11, 2**40])
    boxes = torch.randint(0, 64, (count, 4), generator=rng)
    eye = torch.rand(count, generator=rng)
    eye[2] = torch.nan
    shots = Shots(numbers, numbers + 1, pose, boxes, boxes // 2, eye, *torch.rand(2, count, 2, generator=rng))
    plate = torch.randint(0, 256, (64, 64, 3), generator=rng, dtype=torch.uint8)
    box = Box(torch.tensor([-0.1, -1 / 3, 0.2]), torch.tensor([0.1, 1 / 3, 0.7]))
    kind = replace(LOG_MEL, weights="a1b2é")
    return Likeness(shots, plate, box, 1 / 3 + 500, (31.1, 32.7), kind)


def test_it_is_read_as_it_was_written_bit_for_bit(tmp_path: Path) -> None:
    given = likeness()
    write_likeness(given, tmp_path / "a.safetensors")
    made = read_likeness(tmp_path / "a.safetensors")
    for name in (field.name for field in fields(Shots)):
        a, b = getattr(given.shots, name), getattr(made.shots, name)
        assert a.dtype == b.dtype
        assert torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0))
    assert bool(made.shots.eye[2].isnan())
    assert torch.equal(given.plate, made.plate)
    assert torch.equal(given.box.low, made.box.low)
    assert torch.equal(given.box.high, made.box.high)
    assert (made.focal, made.center, made.feature) == (given.focal, given.center, given.feature)
    assert made.side == 64


def test_views_of_a_part_can_be_written(tmp_path: Path) -> None:
    """Safetensors takes no views; a slice of the shots is one."""
    given = likeness()
    part = replace(given, shots=given.shots[1::2], plate=given.plate.transpose(0, 1))
    write_likeness(part, tmp_path / "a.safetensors")
    made = read_likeness(tmp_path / "a.safetensors")
    assert torch.equal(made.shots.camera_to_head, given.shots.camera_to_head[1::2])
    assert torch.equal(made.plate, part.plate)


def test_its_cameras_are_the_portrait_s() -> None:
    given = likeness()
    portrait = Portrait(
        Path(), Path(), given.shots, given.shots[:0], given.focal, given.center, 64, 64, FeatureKind("x", 1)
    )
    ours, theirs = given.cameras(given.shots.camera_to_head), portrait.cameras(given.shots)
    assert torch.equal(ours.world_from_camera, theirs.world_from_camera)
    torch.testing.assert_close(ours.intrinsics, theirs.intrinsics)
    assert (ours.width, ours.height) == (64, 64)


def test_what_an_older_version_wrote_is_named_so(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    file = tmp_path / "a.safetensors"
    write_likeness(likeness(), file)
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys() if name != "shots.torso"}  # noqa: SIM118
        said = opened.metadata()
    save_file(tensors, file, said)
    with pytest.raises(InputError, match="of an older version"):
        read_likeness(file)


def test_what_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole, file = tmp_path / "whole.safetensors", tmp_path / "a.safetensors"
    write_likeness(likeness(), whole)
    data, tensors = whole.read_bytes(), load_file(whole)

    def refused() -> None:
        with pytest.raises(InputError, match="is missing or damaged") as error:
            read_likeness(file)
        assert str(file) in str(error.value)
        assert "\n" not in str(error.value)

    refused()
    for part in (data[:-50], data[: len(data) // 3], data[:4], b""):
        file.write_bytes(part)
        refused()
    save_file(tensors, file)  # without what is said
    refused()
    for said in ("{", "[]", "{}", '{"focal": "x"}'):
        save_file(tensors, file, {"portrait": said})
        refused()
    del tensors["shots.eye"]
    save_file(tensors, file, {"portrait": '{"focal": 1, "center": [1, 1], "feature": {"name": "a", "channels": 1}}'})
    refused()
