"""`nerf3d export --refine` from the command line, and what it cannot do."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import main, refused

from nerf3d.export.photographs import PhotographJudge
from nerf3d.runs import RunConfig, begin_run, change_recipe, open_run
from nerf3d.tasks.fit import Fit
from nerf3d.tasks.text import Text

SMALL = ("--resolution", "24", "--faces", "300", "--texture")


@pytest.mark.parametrize(("name", "texture"), [("ball.glb", "32"), ("ball.ply", "0")])
def test_refined(name: str, texture: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / name
    assert main(["export", str(run), "--out", str(out), *SMALL, texture, "--refine", "0.02"]) == 0
    said = capsys.readouterr().err
    assert "dB against its photographs before" in said or "refining brought nothing" in said
    assert "watertight" in said
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_interrupted_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PhotographJudge, "views", interrupted)
    assert main(["export", str(run), "--out", str(tmp_path / "new" / "ball.ply"), *SMALL, "0", "--refine"]) == 130
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_refined(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ball.glb"
    assert "refined for 0 minutes" in refused(capsys, "export", run, "--out", out, "--refine", "0")
    assert "refined for nan minutes" in refused(capsys, "export", run, "--out", out, "--refine", "nan")
    stl = tmp_path / "ball.stl"
    assert "ball.stl has no colours" in refused(capsys, "export", run, "--out", stl, "--refine")
    prompted = begin_run(tmp_path / "prompted", RunConfig("a cube", 0, Text(teacher="./gone"))).folder
    assert "./gone is not a folder" in refused(capsys, "export", prompted, "--out", out, "--refine")
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    config = open_run(moved).config
    assert isinstance(config.recipe, Fit)
    change_recipe(open_run(moved), replace(config.recipe, poses=True))
    assert "has learnt its cameras' poses" in refused(capsys, "export", moved, "--out", out, "--refine")
    assert not out.exists()


def test_photographs_that_are_gone_or_changed(
    run: Path, intact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Path(shutil.copytree(intact, tmp_path / "scene"))
    other = Path(shutil.copytree(run, tmp_path / "other"))
    recipe = (other / "config.yaml").read_text(encoding="utf-8")
    (other / "config.yaml").write_text(recipe.replace(str(intact), str(scene)), encoding="utf-8")
    assert open_run(other).config.source == str(scene)
    out = tmp_path / "ball.glb"
    cameras = json.loads((scene / "transforms_train.json").read_text(encoding="utf-8"))
    cameras["camera_angle_x"] *= 1.2
    (scene / "transforms_train.json").write_text(json.dumps(cameras), encoding="utf-8")
    line = refused(capsys, "export", other, "--out", out, "--refine")
    assert "was made from other photographs or cameras" in line
    shutil.rmtree(scene)
    assert f"there is no folder {scene}" in refused(capsys, "export", other, "--out", out, "--refine")
    assert not out.exists()


def test_a_mesh_that_does_not_get_better_stays(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stubborn(judge: PhotographJudge, pictures: torch.Tensor, progress: float) -> torch.Tensor:
        return -pictures.square().sum()  # away from all photographs

    command = ["export", str(run), *SMALL, "0", "--out"]
    assert main([*command, str(tmp_path / "plain.ply")]) == 0
    monkeypatch.setattr(PhotographJudge, "__call__", stubborn)
    assert main([*command, str(tmp_path / "refined.ply"), "--refine", "0.01"]) == 0
    assert "refining brought nothing" in capsys.readouterr().err
    assert (tmp_path / "plain.ply").read_bytes() == (tmp_path / "refined.ply").read_bytes()
