"""`nerf3d avatar prepare` from end to end, with a puppet for a person and a detector that knows it."""

import json
from pathlib import Path

import numpy as np
import puppet
import pytest
import torch
from PIL import Image

from nerf3d.cli import main
from nerf3d.commands.prepare_avatar import prepare_avatar
from nerf3d.data.portrait.folder import read_portrait
from nerf3d.data.sound import RATE, write_wav
from nerf3d.data.sound_features import LOG_MEL, MFCC, Spectrum, sound_windows
from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import look_into

COUNT = 66


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    noise = 0.1 * torch.randn(round(COUNT / 25 * RATE), generator=torch.Generator().manual_seed(0))
    write_wav(folder / "a.wav", [noise])
    return puppet.encode(folder / "film.mov", puppet.frames(COUNT), ("-c:a", "pcm_s16le"), sound=folder / "a.wav")


@pytest.fixture(scope="module")
def data(film: Path) -> Path:
    out = film.parent / "data"
    prepare_avatar(film, out, 256, detector=puppet.Seer(faceless={5, 40, 41, 42, 43, 44, 45}))
    return out


def test_everything_is_in_the_folder(data: Path, film: Path) -> None:
    names = "aud.npy aud.wav background.png landmarks.npy mattes ori_imgs parsing preview.mp4"
    assert sorted(p.name for p in data.iterdir()) == [*names.split(), "transforms_train.json", "transforms_val.json"]
    assert [p.name for p in film.parent.iterdir() if p.name.startswith(".")] == []
    portrait = read_portrait(data)
    ids = torch.cat([portrait.train.picture_id, portrait.held_out.picture_id]).tolist()
    assert ids == [k for k in range(COUNT) if k not in range(40, 46)]  # one bridged, six dropped
    assert len(portrait.held_out) == 6
    for number in ids:
        frame = torch.from_numpy(np.array(Image.open(portrait.picture(number))))
        assert frame.shape == (256, 256, 3)
        assert puppet.number(frame) == number


def test_poses_and_expressions_are_the_puppet_s(data: Path) -> None:
    train = read_portrait(data).train
    truth = puppet.head_to_camera(COUNT)[train.picture_id]
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    found = (train.camera_to_head[:, :3, :3] @ flip).transpose(1, 2)
    cosine = ((found.transpose(1, 2) @ truth[:, :, :3]).diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
    assert float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max()) < 1.5
    shut = train.picture_id[train.eye < 0.5].tolist()
    assert shut == [20, 21, 22]
    gape = torch.tensor([puppet.gape(int(k)) for k in train.picture_id])
    assert float(torch.corrcoef(torch.stack([gape, train.mouth[:, 0]]))[0, 1]) > 0.98


def test_the_sound_belongs_to_the_frames(data: Path, film: Path) -> None:
    portrait = read_portrait(data)
    assert portrait.feature == LOG_MEL
    noise = 0.1 * torch.randn(round(COUNT / 25 * RATE), generator=torch.Generator().manual_seed(0))
    expected = sound_windows((noise.clamp(-1, 1) * 32767).round() / 32768, Spectrum(), COUNT)
    torch.testing.assert_close(portrait.windows(portrait.train), expected[portrait.train.sound_id], atol=2e-3, rtol=0)


def test_layers_and_preview(data: Path) -> None:
    parsing = np.array(Image.open(data / "parsing" / "0.png").convert("RGB"))
    colors = {tuple(color) for color in parsing.reshape(-1, 3)}
    assert colors == {(255, 255, 255), (0, 0, 255), (255, 0, 0)}
    assert np.array(Image.open(data / "background.png")).shape == (256, 256, 3)
    held = look_into(data / "preview.mp4")
    assert (held.has_video, held.has_sound, held.rate) == (True, True, 25.0)
    assert held.seconds == pytest.approx(COUNT / 25, abs=0.05)
    assert np.load(data / "landmarks.npy").shape == (COUNT, 478, 3)


def test_a_summary_is_said(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = prepare_avatar(film, tmp_path / "x", 256, "mfcc", detector=puppet.Seer())
    assert (done.frames, done.bridged, done.dropped, done.blinks, done.feature) == (COUNT, 0, 0, 2, MFCC)
    said = " ".join(capsys.readouterr().err.split())
    assert "66 frames (a face in each)" in said
    assert "only 2.6 s" in said  # a warning: so little teaches no one to speak


def test_a_film_without_sound_is_prepared_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = puppet.encode(tmp_path / "mute.mp4", puppet.frames(52))
    done = prepare_avatar(film, tmp_path / "x", 256, detector=puppet.Seer())
    assert done.feature is None
    assert "has no sound" in capsys.readouterr().err
    assert read_portrait(tmp_path / "x").feature is None
    assert json.loads((tmp_path / "x" / "transforms_train.json").read_text())["sound_feature"] is None


def test_what_cannot_be_used_leaves_nothing(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"

    def refused(match: str, seer: puppet.Seer, **given: object) -> None:
        with pytest.raises(InputError, match=match):
            prepare_avatar(**({"film": film, "out": out, "size": 256, "detector": seer} | given))  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []

    refused("no face", puppet.Seer(faceless=range(COUNT)))
    refused("more than one face", puppet.Seer(crowded=range(COUNT)))
    refused("for 1.6 s", puppet.Seer(faceless=range(40, COUNT)))
    refused("choose 256 or 512", puppet.Seer(), size=300)
    refused("no sound feature 'mell'", puppet.Seer(), features="mell")
    refused("holds no speech model", puppet.Seer(), features=str(film.parent))
    refused("does not exist", puppet.Seer(), film=tmp_path / "none.mp4")


def test_what_is_there_stays(film: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists; choose another folder"):
        prepare_avatar(film, tmp_path, 256, detector=puppet.Seer())
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_interrupted_it_leaves_nothing(film: Path, tmp_path: Path) -> None:
    class Impatient(puppet.Seer):
        def __call__(self, frame: torch.Tensor) -> puppet.Sight:
            if puppet.number(frame) == 30:
                raise KeyboardInterrupt
            return super().__call__(frame)

    with pytest.raises(KeyboardInterrupt):
        prepare_avatar(film, tmp_path / "x", 256, detector=Impatient())
    assert list(tmp_path.iterdir()) == []


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["avatar", "prepare", "--help"])
    assert end.value.code == 0
    assert "nerf3d avatar prepare me.mp4 --out data/me" in capsys.readouterr().out
    assert main(["avatar", "prepare", str(tmp_path / "none.mp4"), "--out", str(tmp_path / "x")]) == 2
    assert "does not exist" in capsys.readouterr().err
