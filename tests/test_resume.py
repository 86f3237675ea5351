"""Runs that are stopped, killed and resumed, as real processes where a signal is concerned."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest
import tiny
import torch

from nerf3d import checkpoint
from nerf3d.checkpoint import Checkpoint, load_latest
from nerf3d.cli import main
from nerf3d.commands.fit import fit
from nerf3d.config import load_yaml
from nerf3d.errors import InputError
from nerf3d.runs import open_run

STEPS = 200
EVERY = 20
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("a scene of büchsen") / "ball", train=8, test=1)


def start(*arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nerf3d", "fit", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said; a process that hangs is killed."""
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


def newest_step(run: Path) -> int:
    """Of the checkpoints in a run that may be at work; 0 if there is none."""
    return max((int(path.name[5:13]) for path in run.glob("checkpoints/step_*")), default=0)


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    patience = time.monotonic() + 100
    while newest_step(run) < step:
        assert process.poll() is None, f"ended before step {step}: {process.communicate()[1]}"
        assert time.monotonic() < patience
        time.sleep(0.005)


def tensors(tree: object, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return {key: value for inner, item in items for key, value in tensors(item, f"{name}/{inner}").items()}


def assert_same_bits(a: Checkpoint | None, b: Checkpoint | None) -> None:
    assert a is not None
    assert b is not None
    assert a.step == b.step
    first, second = tensors(a.state), tensors(b.state)
    assert list(first) == list(second)
    assert {"/progress/rng", "/task/rays_per_step", "/task/kept.alpha", "/task/field.table"} <= set(first)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor, second[name]), name


def test_a_run_that_is_killed_at_any_moment_and_resumed_ends_with_the_same_bits(scene: Path, tmp_path: Path) -> None:
    common = [scene, "--steps", STEPS, "--checkpoint-every", EVERY]
    undisturbed = tmp_path / "undisturbed"
    code, said = end(start(*common, *tiny.options(), "--out", undisturbed))
    assert code == 0, said
    chance = random.Random(7)
    killed = tmp_path / "killed"
    for attempt in range(2):
        again = ["--resume"] if attempt else tiny.options()
        process = start(*common, *again, "--out", killed)
        wait_for_step(process, killed, chance.randrange(1, STEPS // 3) + attempt * STEPS // 3)
        time.sleep(chance.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        code, _ = end(process)
        assert code == -signal.SIGKILL
        assert 0 < newest_step(killed) < STEPS
    code, said = end(start(*common, "--resume", "--out", killed))
    assert code == 0, said
    assert "going on at step" in said
    assert_same_bits(load_latest(undisturbed), load_latest(killed))
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS


def test_ctrl_c_saves_and_says_how_to_go_on(scene: Path, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    process = start(scene, "--steps", STEPS, "--checkpoint-every", EVERY, *tiny.options(), "--out", run)
    wait_for_step(process, run, EVERY)
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    assert code == 130, said
    last = said.splitlines()[-1]
    step = newest_step(run)
    assert EVERY <= step < STEPS
    assert last.startswith(f"nerf3d: stopped at step {step} after ")
    assert "Traceback" not in said
    # What it says can be typed as it stands, spaces and all.
    command = re.search(r"go on with: nerf3d (fit .*)", last)
    assert command is not None
    go_on = ["bash", "-c", f"{sys.executable} -m nerf3d {command[1]}"]
    done = subprocess.run(go_on, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert newest_step(run) == STEPS


@pytest.fixture
def stopped(scene: Path, tmp_path: Path) -> Path:
    """A run that ended after 20 of its steps, with checkpoints at 10 and 20."""
    out = tmp_path / "run"
    fit(scene, out, settings=tiny.SMALL, steps=20, checkpoint_every=10)
    return out


def test_resume_with_more_steps_and_what_has_changed_since(
    scene: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(scene, stopped, steps=30, resume=True)
    assert newest_step(stopped) == 30
    assert load_yaml(stopped / "config.yaml")["recipe"]["steps"] == 30
    assert "planned" not in capsys.readouterr().err
    fit(scene, stopped, resume=True)  # nothing is left to be done
    assert newest_step(stopped) == 30
    said = capsys.readouterr().err
    assert "that was all that was planned, and nothing more is learnt" in said
    assert "--resume --steps MORE" in said


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("nerf3d: ")
    return line


def test_resume_on_another_scenes_run(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tiny.write(tmp_path / "other", train=9, test=1)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["fit", str(other), "--out", str(stopped), "--resume", "--steps", "40"]) == 2
    line = one_sentence(capsys)
    assert str(stopped) in line
    assert str(other) in line
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_resume_keeps_its_recipe_and_needs_a_folder(
    scene: Path, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["fit", str(scene), "--resume"]
    for more, part in (
        ([], "--out"),
        (["--out", str(stopped), "--preset", "tensorf"], "keeps its recipe"),
        (["--out", str(stopped), "--set", "rays=3"], "keeps its recipe"),
        (["--out", str(tmp_path / "nothing")], "nothing is not a run"),
        (["--out", str(scene)], f"{scene} is not a run"),
    ):
        capsys.readouterr()
        assert main([*common, *more]) == 2
        assert part in one_sentence(capsys)


@pytest.mark.parametrize("name", ["tensors.safetensors", "values.json", "manifest.json"])
def test_a_truncated_checkpoint(scene: Path, stopped: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = stopped / "checkpoints" / "step_00000020" / name
    file.write_bytes(file.read_bytes()[:-100])
    capsys.readouterr()
    assert main(["fit", str(scene), "--out", str(stopped), "--resume", "--steps", "30"]) == 2
    line = one_sentence(capsys)
    assert "step_00000020 cannot be used" in line
    assert "step_00000010 is whole" in line
    for command in (["eval"], ["render"], ["export", "--out", str(stopped / "a.glb")]):
        assert main([command[0], str(stopped), *command[1:]]) == 2
        assert "step_00000020 cannot be used" in one_sentence(capsys)
    shutil.rmtree(file.parent)  # as the sentence says
    assert main(["fit", str(scene), "--out", str(stopped), "--resume", "--steps", "30"]) == 0
    assert newest_step(stopped) == 30


def test_a_full_disk_keeps_the_checkpoint_before(
    scene: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_latest(stopped)
    whole = checkpoint._write

    def full(path: Path, data: bytes) -> None:
        if path.name == checkpoint.TENSORS:
            whole(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        whole(path, data)

    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_write", full)
        assert main(["fit", str(scene), "--out", str(stopped), "--resume", "--steps", "30"]) == 2
    line = one_sentence(capsys)
    assert "disk is full" in line
    assert "step_00000020 is untouched" in line
    assert_same_bits(before, load_latest(stopped))
    assert sorted(p.name for p in (stopped / "checkpoints").iterdir()) == ["step_00000010", "step_00000020"]
    fit(scene, stopped, resume=True)  # with room again
    assert newest_step(stopped) == 30


def test_a_full_disk_while_numbers_are_written(scene: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.open

    def full(path: Path, *arguments: Any, **more: Any) -> IO[Any]:
        if path.name == "metrics.jsonl":
            raise OSError(28, "No space left on device")
        return whole(path, *arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written \(No space left on device\)"):
            fit(scene, stopped, steps=60, resume=True)
    assert newest_step(stopped) == 20
    fit(scene, stopped, resume=True)
    assert newest_step(stopped) == 60


def test_a_run_planned_in_minutes_goes_on_with_what_is_left(scene: Path, tmp_path: Path) -> None:
    """The first command believes that it began 100 seconds ago, so that no pace of this machine can confuse the two."""
    out = tmp_path / "run"
    run = fit(scene, out, settings=tiny.SMALL, max_minutes=102 / 60, started=time.perf_counter() - 100)
    assert (run.config.recipe.minutes, run.config.recipe.steps) == (102 / 60, None)
    first = load_latest(out)
    assert first is not None
    spent = first.state["progress"]["seconds"]
    assert 102 <= spent < 150
    fit(scene, out, resume=True)
    assert load_latest(out).step == first.step  # type: ignore[union-attr]
    begun = time.perf_counter()
    fit(scene, out, max_minutes=(spent + 3) / 60, resume=True)
    assert time.perf_counter() - begun < 50  # not all of it again
    second = load_latest(out)
    assert second is not None
    assert second.step > first.step
    assert spent + 3 <= second.state["progress"]["seconds"] < spent + 50
    assert open_run(out).config.recipe.minutes == (spent + 3) / 60
