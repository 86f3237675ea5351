"""`nerf3d avatar render`: sounds, poses, eyes and backgrounds, with the talker's head."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import puppet
import pytest
import talker
import torch
from PIL import Image

from nerf3d.cli import main
from nerf3d.commands import render_avatar as rendering
from nerf3d.commands.own_sound import TAG
from nerf3d.commands.render_avatar import render_avatar
from nerf3d.data.sound import RATE, read_sound, write_wav
from nerf3d.data.sound_features import LOG_MEL, Spectrum
from nerf3d.media.ffmpeg import look_into
from nerf3d.runs import open_run
from nerf3d.scenes import load_person
from nerf3d.tasks.avatar.scenery import Scenery

FRAMES = 10
"""Of the films that are rendered here: 0.4 seconds."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests only look at it, or write into its media."""
    return talker.finished(tmp_path_factory.getbasetemp() / "talker é")


@pytest.fixture(scope="module")
def person(run: Path) -> Scenery:
    return load_person(open_run(run))[0]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The talker's own sound from where its mouth is wide open."""
    path = tmp_path_factory.mktemp("voice") / "a voice.wav"
    write_wav(path, [talker.speech(1.0)[: FRAMES * RATE // 25]])
    return path


def pictures(film: Path, channels: int = 3, side: int = talker.SIZE) -> np.ndarray:
    """The frames of a film as they are stored, one after another."""
    pixels = {3: "rgb24", 4: "rgba"}[channels]
    raw = puppet.ffmpeg("-i", str(film), "-f", "rawvideo", "-pix_fmt", pixels, "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, side, side, channels)


def test_a_film_has_the_sound_and_lasts_as_long(
    run: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "film.mp4"
    assert main(["avatar", "render", str(run), "--audio", str(voice), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert f"10 frames in {out}" in said
    assert "s of work for a second of film" in said
    held = look_into(out)
    assert (held.has_video, held.has_sound, held.rate) == (True, True, 25.0)
    assert held.seconds == pytest.approx(FRAMES / 25, abs=0.04)
    assert len(pictures(out)) == FRAMES
    tags = puppet.ffmpeg("-i", str(out), "-f", "ffmetadata", "-").decode()
    assert f"comment={TAG}" in tags.replace("\\", "")
    given, now = read_sound(voice), read_sound(out)
    middle = slice(RATE // 10, RATE * 3 // 10)
    assert float(torch.corrcoef(torch.stack([given[middle], now[middle]]))[0, 1]) > 0.7  # noise, through AAC


def test_two_renders_are_the_same_and_another_seed_is_not(run: Path, voice: Path, tmp_path: Path) -> None:
    seeds = {"a": 0, "b": 0, "c": 1}
    for name, seed in seeds.items():
        done = render_avatar(run, voice, tmp_path / name, seed=seed)
        assert (done.frames, done.path) == (FRAMES, tmp_path / name)
        assert done.seconds > 0
        assert done.real_time == pytest.approx(FRAMES / 25 / done.seconds)
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / name).glob("*.png"))] for name in seeds)
    assert len(a) == FRAMES
    assert a == b
    assert a != c
    assert {p.name for p in (tmp_path / "a").iterdir()} == {f"{i:05d}.png" for i in range(FRAMES)} | {"sound.wav"}
    torch.testing.assert_close(read_sound(tmp_path / "a" / "sound.wav"), read_sound(voice), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", ("-ar", "8000")),
        ("a.wav", ("-ar", "44100", "-ac", "2")),
        ("a.mp3", ("-ar", "44100", "-ac", "2")),
        ("a.flac", ("-ar", "48000")),
    ],
)
def test_any_sound_file_will_do(run: Path, voice: Path, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    puppet.ffmpeg("-i", str(voice), *options, str(tmp_path / name))
    done = render_avatar(run, tmp_path / name, tmp_path / "film.mp4", pose="still", blink="none")
    assert done.frames == pytest.approx(FRAMES, abs=2 if name == "a.mp3" else 0)  # mp3 comes in blocks
    held = look_into(done.path)
    assert held.has_sound
    assert held.seconds == pytest.approx(done.frames / 25, abs=0.041)


def moments(person: Scenery, sound: Path, pose: str = "still", blink: str = "none") -> list[rendering.Moment]:
    return list(rendering._moments(person, sound, Spectrum(), FRAMES, pose, blink, 0))


def test_the_mouth_hears_the_same_whatever_the_file(person: Scenery, voice: Path, tmp_path: Path) -> None:
    puppet.ffmpeg("-i", str(voice), "-ar", "44100", "-ac", "2", str(tmp_path / "a.flac"))
    write_wav(tmp_path / "silence.wav", [torch.zeros(FRAMES * RATE // 25)])
    plain, other, silent = (
        torch.stack([moment.heard for moment in moments(person, sound)])
        for sound in (voice, tmp_path / "a.flac", tmp_path / "silence.wav")
    )
    assert float((plain - other).norm()) < 0.3 * float(
        (plain - silent).norm()
    )  # resampled twice: its top band is not the same


def folder_of(run: Path, voice: Path, out: Path, **options: object) -> torch.Tensor:
    """The frames of a film that is written as pictures."""
    settings: dict[str, object] = {"pose": "still", "blink": "none"} | options
    render_avatar(run, voice, out, **settings)  # type: ignore[arg-type]
    files = sorted(out.glob("*.png"))
    return torch.from_numpy(np.stack([np.array(Image.open(file)) for file in files]))


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound of two frames."""
    path = tmp_path_factory.mktemp("voice") / "brief.wav"
    write_wav(path, [talker.speech(2 / 25)])
    return path


def test_backgrounds(run: Path, person: Scenery, brief: Path, tmp_path: Path) -> None:
    own = folder_of(run, brief, tmp_path / "own")
    blue = folder_of(run, brief, tmp_path / "blue", background="#0000ff")
    wide = np.zeros((128, 384, 3), np.uint8)
    wide[:, 120:264] = (0, 255, 0)  # the square in its middle, and a little more
    Image.fromarray(wide).save(tmp_path / "room.png")
    room = folder_of(run, brief, tmp_path / "room", background=str(tmp_path / "room.png"))
    clear = folder_of(run, brief, tmp_path / "clear", background="alpha").float()
    corner, face = (slice(None), slice(0, 8), slice(0, 8)), (slice(None), slice(28, 34), slice(28, 36))
    plain = (255 * person.plate[:8, :8]).round()
    assert float((own[corner].float() - plain).abs().max()) < 25
    assert float((blue[corner].float() - torch.tensor([0.0, 0.0, 255.0])).abs().max()) < 25
    assert float((room[corner].float() - torch.tensor([0.0, 255.0, 0.0])).abs().max()) < 25
    for other in (blue, room, clear[..., :3]):
        assert float((own[face].float() - other[face].float()).abs().mean()) < 4  # nothing shines through a face
    assert clear.shape == (2, talker.SIZE, talker.SIZE, 4)
    assert float(clear[corner][..., 3].max()) < 25
    assert float(clear[face][..., 3].min()) > 240
    share = clear[..., 3:] / 255  # straight alpha: over the film's own background it is the film
    over = share * clear[..., :3] + (1 - share) * 255 * person.plate
    assert float((over - own.float()).abs().max()) < 2.5


def test_a_transparent_film(run: Path, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = ("--pose", "still", "--blink", "none", "--background", "alpha")
    out = tmp_path / "film.mov"
    assert main(["avatar", "render", str(run), "--audio", str(brief), "--out", str(out), *still]) == 0
    clear = folder_of(run, brief, tmp_path / "clear", background="alpha")
    found = pictures(out, 4)
    assert len(found) == 2
    assert np.abs(found[..., 3].astype(int) - clear[..., 3].numpy()).mean() < 2
    assert look_into(out).has_sound
    assert TAG in puppet.ffmpeg("-i", str(out), "-f", "ffmetadata", "-").decode().replace("\\", "")
    common = ["avatar", "render", run, "--audio", brief]
    assert "would lose what is transparent" in talker.refused(capsys, *common, *still, "--out", tmp_path / "a.mp4")
    assert "with --background alpha" in talker.refused(capsys, *common, "--out", tmp_path / "a.mov")
    assert "no film that can be written" in talker.refused(capsys, *common, "--out", tmp_path / "a.avi")
    assert "is not an empty folder" in talker.refused(capsys, *common, "--out", tmp_path)


def test_poses(person: Scenery, voice: Path, tmp_path: Path) -> None:
    known = person.likeness.shots.camera_to_head
    poses = {pose: torch.stack([m.pose for m in moments(person, voice, pose)]) for pose in (*rendering.POSES,)}
    assert all(len(p) == FRAMES for p in poses.values())
    assert torch.equal(poses["still"], poses["still"][:1].expand(FRAMES, 4, 4))
    assert any(torch.equal(poses["still"][0], pose) for pose in known)
    torch.testing.assert_close(poses["original"], known[:FRAMES], atol=1e-5, rtol=0)
    step = (known[1:] - known[:-1]).abs().amax((1, 2)).max()
    assert float((poses["natural"][1:] - poses["natural"][:-1]).abs().max()) < 1.5 * float(step)
    assert float((poses["natural"][1:] - poses["natural"][:-1]).abs().max()) > 0
    assert float((poses["orbit"][-1] - poses["orbit"][0]).abs().max()) > 0.01
    np.save(tmp_path / "poses.npy", known[20 : 20 + FRAMES].numpy())
    given = torch.stack([m.pose for m in moments(person, voice, str(tmp_path / "poses.npy"))])
    torch.testing.assert_close(given, known[20 : 20 + FRAMES], atol=1e-5, rtol=0)


def test_eyes(person: Scenery, voice: Path, tmp_path: Path) -> None:
    def eyes(blink: str, pose: str = "still") -> list[float]:
        return [float(m.eye) for m in moments(person, voice, pose, blink)]

    assert eyes("none") == [1.0] * FRAMES
    assert eyes("original") == pytest.approx(person.likeness.shots.eye[:FRAMES].tolist())
    assert len(eyes("auto")) == FRAMES
    wave = [round(0.5 + 0.05 * i, 2) for i in range(FRAMES)]
    (tmp_path / "eyes.txt").write_text("\n".join(map(str, wave)))
    assert eyes(str(tmp_path / "eyes.txt")) == pytest.approx(wave)
    frames = [{"transform_matrix": torch.eye(4).tolist(), "eye": value} for value in wave]
    (tmp_path / "poses.json").write_text(json.dumps({"frames": frames}))
    assert eyes("auto", str(tmp_path / "poses.json")) == pytest.approx(wave)  # a file of poses may say it too,
    assert eyes("none", str(tmp_path / "poses.json")) == [1.0] * FRAMES  # unless one is told otherwise


def test_what_does_not_fit_is_refused(
    run: Path, voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["avatar", "render", run, "--audio", voice, "--out", tmp_path / "film.mp4"]
    np.save(tmp_path / "poses.npy", torch.eye(4).repeat(7, 1, 1).numpy())
    said = talker.refused(capsys, *common, "--pose", tmp_path / "poses.npy")
    assert "holds 7 poses and the sound lasts 10 frames" in said
    (tmp_path / "eyes.txt").write_text("1\n0.5\n")
    assert "eyes of 2 frames and the sound lasts 10" in talker.refused(
        capsys, *common, "--blink", tmp_path / "eyes.txt"
    )
    assert "no pose 'stil'; choose natural, still" in talker.refused(capsys, *common, "--pose", "stil")
    assert "no blink 'never'" in talker.refused(capsys, *common, "--blink", "never")
    assert "no background 'grren'" in talker.refused(capsys, *common, "--background", "grren")
    (tmp_path / "room.png").write_bytes(b"no picture")
    assert "room.png is not a picture" in talker.refused(capsys, *common, "--background", tmp_path / "room.png")
    for fps in ("0", "61", "nan"):
        assert "choose a number from 10 to 60" in talker.refused(capsys, *common, "--fps", fps)
    said = talker.refused(capsys, *common, "--features", "mfcc")
    assert "mfcc with 13 channels" in said
    assert "log-mel with 40 channels" in said
    assert not (tmp_path / "film.mp4").exists()


def test_sounds_that_are_none(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "film.mp4"

    def sound(name: str) -> str:
        return talker.refused(capsys, "avatar", "render", run, "--audio", tmp_path / name, "--out", out)

    write_wav(tmp_path / "empty.wav", [])
    assert "zero samples" in sound("empty.wav")
    samples = np.zeros(8000, "<f4")
    samples[100] = np.nan
    puppet.ffmpeg("-f", "f32le", "-ar", "16000", "-i", "-", "-c:a", "pcm_f32le", str(tmp_path / "nan.wav"),
                  given=samples.tobytes())  # fmt: skip
    assert "not finite numbers" in sound("nan.wav")
    assert "missing.wav does not exist" in sound("missing.wav")
    (tmp_path / "text.wav").write_text("this is no sound")
    assert "text.wav holds neither film nor sound" in sound("text.wav")
    puppet.encode(tmp_path / "mute.mp4", puppet.frames(2))
    assert "has no sound" in sound("mute.mp4")
    assert not out.exists()


def test_silence_is_rendered_and_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "silence.wav", [torch.zeros(3 * RATE // 25 - 1)])
    frames = folder_of(run, tmp_path / "silence.wav", tmp_path / "film")
    assert "silent throughout: the mouth will hardly move" in capsys.readouterr().err
    assert len(frames) == 3  # the last frame has begun


def test_another_rate(run: Path, person: Scenery, voice: Path, tmp_path: Path) -> None:
    done = render_avatar(run, voice, tmp_path / "film.mp4", fps=30.0)
    assert done.frames == 12
    assert look_into(done.path).rate == 30.0
    assert look_into(done.path).seconds == pytest.approx(0.4, abs=0.04)
    native = moments(person, voice, "original", "original")
    quick = rendering._at_rate(iter(native), 30.0)
    for index in range(12):
        moment, at = next(quick), index * 25 / 30
        low, share = min(int(at), FRAMES - 1), at - int(at)
        a, b = native[low], native[min(low + 1, FRAMES - 1)]
        torch.testing.assert_close(moment.heard, torch.lerp(a.heard, b.heard, share))
        torch.testing.assert_close(moment.eye, torch.lerp(a.eye, b.eye, share))
        torch.testing.assert_close(moment.pose, torch.lerp(a.pose, b.pose, share), atol=1e-4, rtol=0)
        rotation = moment.pose[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert next(quick) is native[-1]  # whatever comes after the end
    slow = rendering._at_rate(iter(native), 12.5)
    assert [next(slow) is moment for moment in native[::2]] == [True] * 5


def test_an_hour_of_speech_is_never_whole_in_memory(person: Scenery, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def chunks(path: Path) -> Iterator[torch.Tensor]:
        for _ in range(120):
            given.append(path)
            yield talker.speech(30.0)

    monkeypatch.setattr(rendering, "sound_chunks", chunks)
    hour = rendering._moments(person, Path("hour.wav"), Spectrum(LOG_MEL), 90_000, "natural", "auto", 0)
    shown = rendering._frames(person, rendering._at_rate(hour, 30.0), None)
    assert not given
    for _ in range(3):
        assert next(shown).shape == (talker.SIZE, talker.SIZE, 4)
    assert len(given) == 1
