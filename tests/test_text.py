"""`nerf3d text` from prompt to files, with a judge that needs no teacher."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from nerf3d.checkpoint import load_latest
from nerf3d.cli import main
from nerf3d.commands import bench
from nerf3d.commands import text as command
from nerf3d.commands.judge import Judgement, judge, table
from nerf3d.commands.teaching import unknown_words
from nerf3d.commands.text import check_prompt, text
from nerf3d.data.world.captions import understand
from nerf3d.errors import InputError
from nerf3d.metrics.mesh import MeshHealth
from nerf3d.metrics.retrieval import Retrieval
from nerf3d.runs import open_run
from nerf3d.scenes import load_scene

SMALL = (
    "views.sizes=[24]",
    "views.count=2",
    "field.layout.levels=3",
    "field.layout.log2_table_size=12",
    "field.layout.finest=32",
    "field.width=16",
    "sampler.steps_per_side=48",
    "sampler.resolution=24",
)


HEALTH = MeshHealth(60, 100, 1, True, 1.0, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class WantsABall:
    """A red ball in front of whatever is behind it."""

    def __call__(self, images, cameras, progress, rng):
        middle = torch.tensor([cameras.width / 2, cameras.height / 2])
        y, x = torch.meshgrid(torch.arange(cameras.height), torch.arange(cameras.width), indexing="ij")
        inside = ((torch.stack([x, y], -1) + 0.5 - middle).norm(dim=-1) < cameras.width / 4)[None, :, :, None]
        wanted = torch.where(inside, torch.tensor([0.9, 0.1, 0.1]), images[:, :1, :1].detach())
        return {"guidance": (images - wanted).square().sum(-1).mean()}


@pytest.fixture
def ball(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "guidance_of", lambda *_: WantsABall())
    monkeypatch.setattr("nerf3d.commands.turntable.FRAMES", 3)
    monkeypatch.setattr("nerf3d.commands.outcome.RESOLUTION", 32)
    monkeypatch.setattr("nerf3d.tasks.text.scenery.WATCH_SIZE", 64)
    monkeypatch.setattr("nerf3d.commands.outcome.judge", lambda run: Judgement(run.config.source, 0, HEALTH))


def weights(run: Path) -> dict:
    checkpoint = load_latest(run)
    assert checkpoint is not None
    return checkpoint.state["scenery"]


@pytest.mark.usefixtures("ball")
def test_a_prompt_becomes_a_run_with_everything(tmp_path: Path) -> None:
    outcome = text("a red ball", tmp_path / "run", settings=SMALL, steps=60)
    assert outcome.collapse is None
    assert {"turntable.mp4", "preview.png", "asset.glb", "config.yaml"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    mesh = trimesh.load(tmp_path / "run" / "asset.glb", force="mesh")
    assert len(mesh.faces) > 100
    assert np.abs(mesh.vertices).max() <= 1
    sheet = np.asarray(Image.open(tmp_path / "run" / "preview.png").convert("RGB")).astype(int)
    assert (sheet[..., 0] > sheet[..., 1] + 60).mean() > 0.02
    scene, step = load_scene(open_run(tmp_path / "run"))
    assert step == 60
    assert float(scene.field.density(torch.zeros(1, 3))) > 5 * float(scene.field.density(torch.full((1, 3), 0.95)))


@pytest.mark.usefixtures("ball")
def test_its_mesh_is_refined_by_the_same_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """An outsider says whether that made it better; where nobody can, that is said."""
    run, out = tmp_path / "run", tmp_path / "ball.ply"
    text("a red sphere", run, settings=SMALL, steps=60)
    command = ["export", str(run), "--out", str(out), "--resolution", "24", "--faces", "300", "--refine", "0.02"]
    monkeypatch.setattr("nerf3d.commands.refinement.guidance_of", lambda *_: WantsABall())
    monkeypatch.setattr("nerf3d.commands.refinement.EVALUATOR", tmp_path / "none")
    assert main(command) == 0
    assert "look for yourself" in capsys.readouterr().err

    pictures = []

    def liking(evaluator: None, images: torch.Tensor, truth: str, captions: list[str]) -> Retrieval:
        pictures.append(images)
        return Retrieval(1, 1.0, truth, margin=0.1 * len(pictures))

    monkeypatch.setattr("nerf3d.commands.refinement.EVALUATOR", tmp_path)
    monkeypatch.setattr("nerf3d.commands.refinement.Evaluator.open", lambda _: None)
    monkeypatch.setattr("nerf3d.commands.refinement.retrieve", liking)
    assert main(command) == 0
    assert "refined: 0.100 ahead of the next best caption before, 0.200 now" in capsys.readouterr().err
    assert [p.shape for p in pictures] == 2 * [(8, 64, 64, 3)]
    assert float((pictures[1] - pictures[0]).abs().max()) > 0.01
    assert float(pictures[1][:, :4, :4].std()) == 0  # the grey behind it


@pytest.mark.usefixtures("ball")
def test_stopped_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text("a red ball", tmp_path / "whole", settings=SMALL, steps=12)
    real = command.Monitor.see

    def stop(self, report):
        real(self, report)
        if report.step == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.Monitor, "see", stop)
    with pytest.raises(KeyboardInterrupt):
        text("a red ball", tmp_path / "parts", settings=SMALL, steps=12, checkpoint_every=3)
    monkeypatch.setattr(command.Monitor, "see", real)
    text("a red ball", tmp_path / "parts", steps=12, resume=True)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("ball")
def test_a_run_that_collapses_is_tried_again_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("nerf3d.tasks.text.collapse.MOST", 0.01)  # whatever there is counts as fog
    arguments = ["text", "a red ball", "--out", str(tmp_path / "run"), "--steps", "6"]
    for setting in SMALL:
        arguments += ["--set", setting]
    assert main(arguments) == 1
    assert {p.name for p in tmp_path.iterdir()} == {"run", "run-collapsed1", "run-collapsed2"}
    seeds = [open_run(tmp_path / name).config.seed for name in ("run-collapsed1", "run-collapsed2", "run")]
    assert seeds == [0, 1000, 2000]
    assert not list(tmp_path.rglob("asset.glb"))
    assert "everything is fog" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("ball")
def test_a_flat_sheet_at_the_end_is_a_collapse_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerf3d.tasks.text.collapse.THINNEST", 2.0)  # whatever there is counts as a sheet
    outcome = text("a red ball", tmp_path / "run", settings=SMALL, steps=12)
    assert outcome.asset is None
    assert "flat sheet" in (outcome.collapse or "")
    assert (outcome.run.folder / "preview.png").is_file()
    assert not (outcome.run.folder / "asset.glb").exists()


@pytest.mark.usefixtures("ball")
def test_the_candidate_that_the_evaluator_likes_best_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {7: (3, 0.0), 8: (1, 0.1), 9: (1, 0.3)}

    def judged(run):
        rank, margin = places[run.config.seed]
        return Judgement(run.config.source, 0, HEALTH, rank_color=rank, margin=margin)

    monkeypatch.setattr("nerf3d.commands.outcome.judge", judged)
    monkeypatch.setattr("nerf3d.commands.text.EVALUATOR", tmp_path)
    outcome = text("a red sphere", tmp_path / "run", settings=SMALL, steps=12, seed=7, candidates=3)
    assert {p.name for p in tmp_path.iterdir()} == {"run", "run-candidate1", "run-candidate2"}
    assert open_run(tmp_path / "run").config.seed == 9
    assert outcome.asset == tmp_path / "run" / "asset.glb"
    assert outcome.asset.is_file()
    with pytest.raises(InputError, match="does not know what 'a corgi' is"):
        text("a corgi", tmp_path / "other", settings=SMALL, steps=12, candidates=2)
    assert not (tmp_path / "other").exists()


def test_words_that_the_prior_never_read_are_named() -> None:
    assert unknown_words("A Corgi wearing a red, red tiara!") == ["corgi", "wearing", "tiara"]
    assert unknown_words("a red chair with blue legs next to a green cow") == []
    assert unknown_words("一只 mushroom") == ["一只"]


@pytest.mark.usefixtures("ball")
def test_without_an_evaluator_the_shape_is_judged_and_the_words_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nerf3d.commands.judge.EVALUATOR", tmp_path / "none")
    monkeypatch.setattr("nerf3d.commands.text.EVALUATOR", tmp_path / "none")
    text("a red sphere", tmp_path / "run", settings=SMALL, steps=40)
    judged = judge(open_run(tmp_path / "run"))
    assert judged.rank_color is None
    assert judged.iou is not None
    assert judged.iou > 0.8
    assert judged.mesh.faces > 100
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["chamfer"] == judged.chamfer
    assert "not judged: no " in table(judged)
    with pytest.raises(InputError, match="nobody here can say which"):
        text("a red sphere", tmp_path / "other", settings=SMALL, steps=40, candidates=2)


@pytest.mark.parametrize("prompt", ["", "   ", "word " * 2000])
def test_prompts_that_nobody_understands(prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["text", prompt, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("prompt", ["🍄", "一只蓝色的蘑菇", "a blue mushroom"])
def test_prompts_in_any_script_are_prompts(prompt: str) -> None:
    check_prompt(prompt)


@pytest.mark.usefixtures("ball")
def test_resume_refuses_another_prompt_and_another_story(tmp_path: Path) -> None:
    text("a red ball", tmp_path / "run", settings=SMALL, steps=2)
    with pytest.raises(InputError, match="was made from 'a red ball'"):
        text("a blue ball", tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="holds a run already"):
        text("a red ball", tmp_path / "run")
    with pytest.raises(InputError, match="name its folder"):
        text("a red ball", resume=True)


def test_prompt_lists(tmp_path: Path) -> None:
    listed = bench.read_prompts(bench.PROMPTS / "bench.txt")
    assert len(listed) == 24
    assert sum(p.unseen for p in listed) == 8
    assert all(understand(p.text) is not None for p in listed)
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match="holds no prompts"):
        bench.read_prompts(tmp_path / "empty.txt")
    with pytest.raises(InputError, match="cannot be read"):
        bench.read_prompts(tmp_path / "none.txt")


def test_means_of_a_bench_count_failures_as_wrong() -> None:
    rows = [bench.Row("a red cow", False, 10.0, None), bench.Row("a red cow", True, 30.0, None)]
    mean = bench.summary(rows)
    assert mean["r_precision_color"] == 0.0
    assert mean["r_precision_geometry"] == 0.0
    assert mean["seconds"] == 20.0
    assert mean["failed"] == 2
    assert mean["without_second_front"] is None


def test_a_teacher_that_cannot_be_had_leaves_no_run_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model_index"):
        text("a red ball", tmp_path / "run", prior=str(tmp_path / "empty"), steps=2)
    assert not (tmp_path / "run").exists()
