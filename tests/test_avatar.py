"""`nerf3d avatar fit | render | eval` from end to end, with a talker whose mouth, pose, blinks and sound are known."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import talker
import torch
from PIL import Image

from nerf3d.assets import ASSETS
from nerf3d.checkpoint import load_latest
from nerf3d.cli import main
from nerf3d.commands import fit_avatar as fitting
from nerf3d.commands.evaluate_avatar import evaluate_avatar
from nerf3d.commands.fit_avatar import fit_avatar
from nerf3d.commands.talking_figures import IN_WORDS, TalkingFigures, table
from nerf3d.data.portrait.folder import read_portrait
from nerf3d.data.portrait.footage import load_footage
from nerf3d.data.sound import write_wav
from nerf3d.data.sound_features import MFCC
from nerf3d.media.ffmpeg import look_into
from nerf3d.metrics.pictures import psnr
from nerf3d.runs import open_run
from nerf3d.scenes import load_person
from nerf3d.tasks.avatar.scenery import Scenery


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests only look at it, or write into its media."""
    return talker.finished(tmp_path_factory.getbasetemp() / "talker é")


@pytest.fixture(scope="module")
def data(run: Path) -> Path:
    return run.parent / "a person"


@pytest.fixture(scope="module")
def person(run: Path) -> Scenery:
    return load_person(open_run(run))[0]


def test_the_run_is_as_documented(run: Path, data: Path) -> None:
    assert {p.name for p in run.iterdir()} == {
        *("config.yaml", "portrait.safetensors", "checkpoints", "metrics.jsonl", "tensorboard", "media")
    } | {p.name for p in run.glob("metrics.json")}
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["step_00000200", f"step_{talker.STEPS:08d}"]
    previews = sorted(p.name for p in run.glob("media/held_out_*.png"))
    assert previews == [
        f"held_out_{step:06d}.png" for step in range(talker.STEPS // 4, talker.STEPS + 1, talker.STEPS // 4)
    ]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == talker.STEPS
    assert {"head", "whole", "mouth", "structure"} <= set(str(lines[-1]).replace("'", " ").replace("/", " ").split())
    assert open_run(run).config.source == str(data)


def test_held_out_frames_look_like_the_truth(person: Scenery, data: Path) -> None:
    portrait = read_portrait(data)
    train = load_footage(portrait, portrait.train, talker.SIZE).images.float().mean(0) / 255
    truth = load_footage(portrait, portrait.held_out, talker.SIZE).images.float() / 255
    code, own, mean = torch.zeros(8), [], []
    for i in range(0, len(truth), 6):
        shots = portrait.held_out
        own.append(psnr(person.picture(shots.camera_to_head[i], code, shots.eye[i]), truth[i]))
        mean.append(psnr(train, truth[i]))
    assert np.mean(own) > np.mean(mean) + 2  # and that is with a mouth that hears nothing


@pytest.fixture(scope="module")
def measured(run: Path) -> tuple[TalkingFigures, talker.Seer]:
    seer = talker.Seer()
    return evaluate_avatar(run, detector=seer), seer


def test_the_mouth_follows_the_sound(measured: tuple[TalkingFigures, talker.Seer]) -> None:
    figures, _ = measured
    assert figures.mouth_correlation is not None
    assert figures.mouth_correlation_shuffled is not None
    assert figures.mouth_correlation > 0.7
    assert figures.mouth_correlation > figures.mouth_correlation_shuffled + 0.3
    assert figures.mouth_spread is not None
    assert 0.2 < figures.mouth_spread < 1.3
    assert figures.psnr_lips > figures.psnr_lips_shuffled + 0.5


def test_figures_are_sane_and_written(run: Path, measured: tuple[TalkingFigures, talker.Seer]) -> None:
    figures, seer = measured
    assert json.loads((run / "metrics.json").read_text()) == pytest.approx(asdict(figures))
    assert (figures.frames, figures.step) == (24, talker.STEPS)
    assert figures.psnr_full > 22
    assert figures.psnr_pasted > figures.psnr_head > 20
    assert 0.6 < figures.ssim_head < 1
    assert 0.6 < figures.ssim_full < 1
    assert figures.lmd is not None
    assert 0 < figures.lmd < 2
    assert figures.mouth_correlation_ridge is not None
    assert figures.mouth_correlation_ridge > 0.9
    assert figures.jitter is not None
    assert figures.jitter < 0.5
    assert figures.offset_ms is None  # 24 frames are too few
    assert figures.fps > 0.5
    assert seer.closed
    said = table(figures)
    assert len(said.splitlines()) == len(asdict(figures)) + 1  # what "-" is
    assert list(IN_WORDS) == list(asdict(figures))
    assert re.search(r"^offset_ms +-  milliseconds", said, re.MULTILINE)
    assert re.search(r"^frames +24  held-out frames", said, re.MULTILINE)
    with Image.open(run / "media" / "evaluation.png") as sheet:
        assert sheet.size == (6 * 68 - 4, 3 * 68 - 4)
    film = look_into(run / "media" / "evaluation.mp4")
    assert film.has_sound
    assert film.seconds == pytest.approx(24 / 25, abs=0.05)
    assert not list((run / "media").glob(".*"))


def tensors(tree: object, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {key: value for inner, item in items for key, value in tensors(item, f"{name}/{inner}").items()}


def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 24 of 32 steps: its last checkpoint is taken away, as if it had never been written."""
    out = tmp_path / "run"
    monkeypatch.setattr(fitting, "PREVIEWS_AT", (1.0,))
    fit_avatar(data, out, settings=talker.SMALL, steps=32, checkpoint_every=24)
    undisturbed = load_latest(out)
    assert undisturbed is not None
    shutil.rmtree(out / "checkpoints" / "step_00000032")
    (out / "media" / "held_out_000032.png").unlink()
    assert main(["avatar", "fit", str(data), "--out", str(out), "--resume"]) == 0
    resumed = load_latest(out)
    assert resumed is not None
    first, second = tensors(undisturbed.state), tensors(resumed.state)
    assert list(first) == list(second)
    assert {"/progress/rng", "/pace/share", "/person/sampler.alpha", "/person/head.table"} <= set(first)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name
    assert (out / "media" / "held_out_000032.png").is_file()


def hear_mfcc(folder: Path) -> None:
    """Give a prepared folder another sound feature."""
    rows = np.load(folder / "aud.npy")
    np.save(folder / "aud.npy", rows[..., : MFCC.channels])
    file = folder / "transforms_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sound_feature": asdict(MFCC)}))


def test_resume_refuses_what_does_not_belong_to_the_run(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["avatar", "fit", data, "--resume"]
    before = (run / "config.yaml").read_bytes()
    assert "--out" in talker.refused(capsys, *common)
    for more in (["--preset", "ernerf"], ["--set", "rays.count=3"], ["--size", "64"]):
        assert "keeps its recipe" in talker.refused(capsys, *common, "--out", run, *more)
    assert "keeps its seed, 0" in talker.refused(capsys, *common, "--out", run, "--seed", "5")
    assert "is not a run" in talker.refused(capsys, *common, "--out", tmp_path)
    other = talker.write(tmp_path / "other", 33)
    said = talker.refused(capsys, "avatar", "fit", other, "--out", run, "--resume", "--steps", "500")
    assert f"{run} was made from other frames than those of {other}" in said
    hear_mfcc(other)
    said = talker.refused(capsys, "avatar", "fit", other, "--out", run, "--resume", "--steps", "500")
    assert "mfcc with 13 channels" in said
    assert "log-mel with 40 channels" in said
    assert (run / "config.yaml").read_bytes() == before


def test_fit_refuses_what_cannot_be_learnt_from(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, new = tmp_path / "run", ["--out", tmp_path / "run"]
    mute = talker.write(tmp_path / "mute", 33, None)
    assert "film without sound" in talker.refused(capsys, "avatar", "fit", mute, *new)
    short = talker.write(tmp_path / "short", 22)
    assert "only 20 frames" in talker.refused(capsys, "avatar", "fit", short, *new)
    assert "transforms_train.json" in talker.refused(capsys, "avatar", "fit", tmp_path, *new)
    assert "prepare it, if it is a film" in talker.refused(capsys, "avatar", "fit", data / "aud.npy", *new)
    chair = ASSETS / "chair"
    assert f"not a film of a speaker: nerf3d fit {chair}" in talker.refused(capsys, "avatar", "fit", chair, *new)
    assert "holds a run already" in talker.refused(capsys, "avatar", "fit", data, "--out", run)
    assert "size of 63" in talker.refused(capsys, "avatar", "fit", data, *new, "--size", "63")
    assert "rays.patch is 65" in talker.refused(capsys, "avatar", "fit", data, *new, "--set", "rays.patch=65")
    assert "no recipe 'ernerv'" in talker.refused(capsys, "avatar", "fit", data, *new, "--preset", "ernerv")
    assert "cannot last 0 steps" in talker.refused(capsys, "avatar", "fit", data, *new, "--steps", "0")
    assert "rays.lip" in talker.refused(capsys, "avatar", "fit", data, *new, "--set", "rays.lip=0.3")
    damaged = talker.write(tmp_path / "damaged", 33)
    (damaged / "ori_imgs" / "32.jpg").unlink()  # the last one that is held out
    assert "no picture 32.jpg" in talker.refused(capsys, "avatar", "fit", damaged, *new, "--steps", "5")
    assert not out.exists()


def test_data_of_another_tool_and_another_size(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-NeRF's keys alone: no mattes, no mouth, no lips. It learns, and is measured; a new sound it cannot hear."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("aud.npy", "ori_imgs", "parsing"):
        (theirs / name).symlink_to(data / name)
    shutil.copy(data / "background.png", theirs / "bc.jpg")
    for part, count in (("train", 40), ("val", 11)):
        document = json.loads((data / f"transforms_{part}.json").read_text())
        keys = ("img_id", "aud_id", "transform_matrix", "face_rect")
        document = {key: document[key] for key in ("focal_len", "cx", "cy", "frames")}
        document["frames"] = [{key: frame[key] for key in keys} for frame in document["frames"][:count]]
        (theirs / f"transforms_{part}.json").write_text(json.dumps(document))
    monkeypatch.setattr(fitting, "PREVIEWS_AT", (1.0,))
    out = fit_avatar(theirs, tmp_path / "run", settings=talker.SMALL, steps=8, size=80).folder
    figures = evaluate_avatar(out, detector=talker.Seer())
    assert (figures.frames, figures.mouth_correlation_ridge) == (11, None)
    assert not look_into(out / "media" / "evaluation.mp4").has_sound
    with Image.open(out / "media" / "held_out_000008.png") as sheet:
        assert sheet.size == (4 * 84 - 4, 2 * 84 - 4)
    write_wav(tmp_path / "a.wav", [talker.speech(0.4)])
    said = talker.refused(capsys, "avatar", "render", out, "--audio", tmp_path / "a.wav")
    assert "another tool's sound feature (foreign with 40 channels)" in said


@pytest.fixture
def without_mediapipe(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mediapipe" else real(name, *a))


@pytest.mark.usefixtures("without_mediapipe")
def test_without_mediapipe_and_with_data_that_has_moved(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, moved = Path(shutil.copytree(run, tmp_path / "run")), Path(shutil.copytree(data, tmp_path / "moved"))
    document = json.loads((moved / "transforms_val.json").read_text())
    document["frames"] = document["frames"][:10]
    (moved / "transforms_val.json").write_text(json.dumps(document))
    text = (own / "config.yaml").read_text()
    (own / "config.yaml").write_text(text.replace(str(data), str(tmp_path / "gone")))
    assert "there is no folder" in talker.refused(capsys, "avatar", "eval", own)
    capsys.readouterr()
    assert main(["avatar", "eval", str(own), "--data", str(moved)]) == 0
    said = capsys.readouterr()
    assert "they are measured with MediaPipe" in said.err
    assert re.search(r"^mouth_correlation +-  ", said.out, re.MULTILINE)
    figures = json.loads((own / "metrics.json").read_text())
    assert set(figures) == set(TalkingFigures.__dataclass_fields__)
    missing = {name for name, value in figures.items() if value is None} - {"lpips_head"}
    assert missing == {
        *("lmd", "mouth_correlation", "mouth_correlation_shuffled", "mouth_correlation_ridge", "mouth_spread"),
        *("blink_recall", "blink_precision", "jitter", "offset_ms"),
    }
    assert figures["frames"] == 10
    assert figures["psnr_head"] > 20
    hear_mfcc(moved)
    assert "log-mel with 40 channels is needed" in talker.refused(capsys, "avatar", "eval", own, "--data", moved)
    document["frames"] = document["frames"][:9]
    (moved / "transforms_val.json").write_text(json.dumps(document))
    assert "holds out 9 frames" in talker.refused(capsys, "avatar", "eval", own, "--data", moved)


class Fleeting(talker.Seer):
    """Sees a face in every second picture."""

    def __init__(self, first: int) -> None:
        self.count = first

    def __call__(self, picture: torch.Tensor) -> talker.Sight:
        self.count += 1
        seen = super().__call__(picture)
        return seen if self.count % 2 else talker.Sight((), seen.matte)


class Blind(talker.Seer):
    def __call__(self, picture: torch.Tensor) -> talker.Sight:
        return talker.Sight((), torch.zeros(picture.shape[:2], dtype=torch.uint8))


def test_faces_that_are_seen_now_and_then_or_never(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, some = Path(shutil.copytree(run, tmp_path / "run")), Path(shutil.copytree(data, tmp_path / "data"))
    document = json.loads((some / "transforms_val.json").read_text())
    document["frames"] = document["frames"][:10]
    (some / "transforms_val.json").write_text(json.dumps(document))
    figures = evaluate_avatar(own, some, detector=Fleeting(0))
    assert figures.jitter is None
    assert figures.lmd is not None
    figures = evaluate_avatar(own, some, detector=Blind())
    assert figures.lmd is None
    assert figures.psnr_head > 20
    assert "no face was found" in capsys.readouterr().err


def test_commands_for_scenes_refuse_a_talking_head_and_the_other_way_round(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["render", run], ["export", run, "--out", tmp_path / "a.glb"], ["eval", run]):
        said = talker.refused(capsys, *command)
        assert f"{run} is a talking head" in said
        assert "nerf3d avatar render" in said
    config = tmp_path / "scene" / "config.yaml"
    config.parent.mkdir()
    config.write_text("source: x\nseed: 0\nrecipe: {kind: Fit}\n")
    for more in (["render", config.parent, "--audio", data / "aud.wav"], ["eval", config.parent]):
        assert f"{config.parent} is not a talking head" in talker.refused(capsys, "avatar", *more)
    assert "is not a talking head" in talker.refused(capsys, "avatar", "fit", data, "--out", config.parent, "--resume")
    shutil.copytree(run, tmp_path / "young", ignore=lambda *_: ["checkpoints"])
    said = talker.refused(capsys, "avatar", "render", tmp_path / "young", "--audio", data / "aud.wav")
    assert "has no checkpoint yet" in said
    (tmp_path / "young" / "portrait.safetensors").unlink()
    shutil.copytree(run / "checkpoints", tmp_path / "young" / "checkpoints")
    said = talker.refused(capsys, "avatar", "render", tmp_path / "young", "--audio", data / "aud.wav")
    assert "portrait.safetensors is missing or damaged" in said
