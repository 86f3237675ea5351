"""The film has its sound, its length and its truth beside it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.data.person.film import VOICE, portraits, projected_landmarks, write_person
from nerf3d.data.person.landmarks import NUMBERS
from nerf3d.data.person.motion import perform
from nerf3d.data.person.portrait import camera
from nerf3d.data.sound import RATE, read_sound
from nerf3d.data.video import frames
from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import look_into

SIZE = 48


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("person")
    write_person(folder, read_sound(VOICE), 1.0, SIZE, torch.Generator().manual_seed(0))
    return folder


def test_a_film_with_sound(written: Path) -> None:
    film = written / "person.mp4"
    contents = look_into(film)
    assert contents.has_video
    assert contents.has_sound
    assert contents.rate == 25
    assert abs((contents.seconds or 0) - 1.0) < 0.05
    heard, said = read_sound(film)[:RATE], read_sound(VOICE)[:RATE]
    shifts = [float((heard[200 + k : 15_000 + k] * said[200:15_000]).sum()) for k in range(-160, 161)]
    assert abs(int(np.argmax(shifts)) - 160) <= 16  # within a millisecond
    assert max(shifts) > 0.9 * float(said[200:15_000].square().sum())


def test_the_film_shows_the_portraits(written: Path) -> None:
    performance = perform(read_sound(VOICE)[:RATE], 25, torch.Generator().manual_seed(0))
    shown = list(frames(written / "person.mp4", SIZE))
    assert len(shown) == 25
    for i, seen in enumerate(portraits(performance, camera(SIZE))):
        error = (shown[i].float() / 255 - seen.picture).square().mean()
        assert float(-10 * error.log10()) > 28
        matte = np.asarray(Image.open(written / "head" / f"{i:05d}.png"))
        assert np.abs(matte / 255 - seen.head_matte.numpy()).max() < 0.003
    assert len(list((written / "person").iterdir())) == 25


def test_the_truth(written: Path) -> None:
    told = json.loads((written / "truth.json").read_text())
    assert (told["fps"], told["size"], told["focal"], told["center"]) == (25, SIZE, 2.5 * SIZE, [SIZE / 2, SIZE / 2])
    assert tuple(told["landmark_numbers"]) == NUMBERS
    assert len(told["frames"]) == 25
    frame = told["frames"][20]
    head, view = np.array(frame["world_from_head"]), np.array(told["world_from_camera"])
    world = np.array(frame["landmarks"]) @ head[:, :3].T + head[:, 3]
    local = (world - view[:, 3]) @ view[:, :3]
    pixel = told["focal"] * local[:, :2] / local[:, 2:] + told["center"]
    assert np.abs(pixel - np.array(frame["landmarks_2d"])).max() < 0.01
    assert 0 <= frame["opening"] <= 1
    assert max(f["opening"] for f in told["frames"]) > 0.5
    performance = perform(read_sound(VOICE)[:RATE], 25, torch.Generator().manual_seed(0))
    mine = projected_landmarks(performance, 20, camera(SIZE))
    assert np.abs(mine.numpy() - np.array(frame["landmarks_2d"])).max() < 0.01


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    sound = torch.zeros(RATE)
    with pytest.raises(InputError, match="even size"):
        write_person(tmp_path, sound, 0.5, 33, None)
    with pytest.raises(InputError, match=r"lasts 1\.0 s"):
        write_person(tmp_path, sound, 2.0, 32, None)
    with pytest.raises(InputError, match="fewer seconds"):
        write_person(tmp_path, sound, 0.0, 32, None)
