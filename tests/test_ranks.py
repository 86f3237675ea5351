"""Several processes that train one thing: two of them, over gloo, on this machine."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import talker
import test_text
import tiny

from nerf3d.cli import main
from nerf3d.commands.prepare_collection import prepare_collection
from nerf3d.data.load import load_capture
from nerf3d.metrics.pictures import psnr
from nerf3d.runs import open_run
from nerf3d.scenes import load_scene
from nerf3d.tasks.fit.compare import compare

LITTLE = {
    "vqar": (
        "looks.objects=2",
        "looks.rays=64",
        "model.encoder_channels=[8,8,8,8]",
        "model.channels=[8,8,8]",
        "batch=4",
    ),
    "ssdnerf": ("looks.objects=2", "looks.rays=64", "planes.resolution=12", "denoiser.channels=[8,16]", "settled=0.8"),
}
PAIR = str(Path(__file__).with_name("pair.py"))
TWO_ON_A_SLOPE = """
import sys, torch
from torch import nn
from nerf3d.core import Group, Update
from nerf3d.core.schedules import Constant
from nerf3d.errors import InputError
from nerf3d.ranks import joined, rank
from nerf3d.train import Budget, begin, train

class Slope:
    '''Each rank pulls by what it was told; the second one lets go of `other` altogether.'''
    def __init__(self):
        self.number, self.other = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    def players(self):
        return {"scene": [Group([self.number, self.other], Constant(1.0))]}
    def step(self, step, progress, rng):
        pull = torch.tensor([1.0, 3.0])[rank()]
        loss = (pull * self.number).sum() + (self.other.sum() if rank() == 0 else 0)
        yield Update("scene", {"slope": loss if step < 2 or rank() == 0 else loss * float("nan")})

with joined(torch.device("cpu")) as ranks:
    task = Slope()
    state = begin(task, torch.Generator(), torch.optim.SGD, seconds=float(rank()))
    try:
        for report in train(task, state, Budget(steps=9), {}, ranks=ranks):
            pass
    except InputError as error:
        print(rank(), state.step, task.number.tolist(), task.other.tolist(), round(state.seconds, 6), error)
"""

ONE_DIES = """
import torch
from nerf3d.errors import FailedError
from nerf3d.ranks import joined, rank
with joined(torch.device("cpu")) as ranks:
    if rank() == 1:
        raise SystemExit("gone")
    try:
        ranks.any(False)
    except FailedError as error:
        print(error)
"""


def start(command: list[str], count: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    each = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    each |= {"NUMBA_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return [
        subprocess.Popen(
            command,
            env=os.environ | each | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def test_gradients_are_averaged_and_all_end_at_once() -> None:
    """Pulls of 1 and 3 move by 2 a step, one of 1 and none by a half; a number that one rank loses ends both."""
    processes = start([sys.executable, "-c", TWO_ON_A_SLOPE])
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said[0].startswith("0 2 [-4.0, -4.0] [-1.0, -1.0]")
    assert said[1].startswith("1 2 [-4.0, -4.0] [-1.0, -1.0]")
    assert said[0].split()[6] == said[1].split()[6]  # the leader's clock
    assert "at step 2: slope is not a number" in said[1]


def test_nobody_waits_for_ever() -> None:
    began = time.monotonic()
    processes = start([sys.executable, "-c", ONE_DIES])
    said = processes[0].communicate(timeout=60)[0]
    processes[1].communicate(timeout=60)
    assert "another process of this run is gone" in said
    assert time.monotonic() - began < 50


def test_memory_that_one_does_not_have_none_has() -> None:
    """In step 1 both go on with half; in step 3 both stop where they were. Both count as the first."""
    processes = start([sys.executable, PAIR, "full"])
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said[0] == said[1]
    assert said[0].startswith("3 4 -16.0 0.5 4.0 1 step 3 is more than")


def test_two_ranks_are_farther_after_as_many_steps_as_one(intact: Path, tmp_path: Path) -> None:
    """32 rays a step each; the leader writes the one run, the other rank nothing."""
    options = ["--steps", "80", "--checkpoint-every", "80", *tiny.options((*tiny.SMALL, "samples=null", "rays=32"))]
    pair = start([sys.executable, "-m", "nerf3d", "fit", str(intact), "--out", str(tmp_path / "two"), *options])
    assert main(["fit", str(intact), "--out", str(tmp_path / "one"), *options]) == 0
    said = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert said[1].strip() == ""
    assert len(list((tmp_path / "two" / "checkpoints").iterdir())) == 1
    test = load_capture(intact).test
    one, two = (psnr(*compare(load_scene(open_run(tmp_path / name))[0], test, 0, 64)) for name in ("one", "two"))
    assert two > one + 0.5


@pytest.mark.parametrize(("story", "code"), [("prompt", 1), ("vqar", 0), ("ssdnerf", 0), ("person", 0)])
def test_two_learn_the_same(story: str, code: int, tmp_path: Path) -> None:
    """Tokens' running means among it, and planes of objects that the other one looked at. Fog, which both see at once, is
    not begun again.
    """
    if story == "prompt":
        command = ["text", "a red ball", *tiny.options(test_text.SMALL)]
    elif story == "person":
        command = ["avatar", "fit", str(talker.write(tmp_path / "given", 44)), *tiny.options(talker.SMALL)]
    else:
        prepare_collection("cars", tmp_path / "given", count=10, views=2, size=32)
        command = ["gen", "fit", str(tmp_path / "given"), "--recipe", story, *tiny.options(LITTLE[story])]
    out = tmp_path / "run"
    pair = start(
        [sys.executable, PAIR, "learn", *command, "--steps", "6", "--checkpoint-every", "6", "--out", str(out)]
    )
    said = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [code, 0], said
    assert said[0][0].splitlines()[0] == said[1][0].splitlines()[0]
    assert {path.name for path in tmp_path.iterdir()} - {"given"} == {"run"}
    assert story == "prompt" or len(list((out / "checkpoints").iterdir())) == 1
    assert said[1][1] == ""


def test_what_one_process_does_alone_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["text", "a red mug", "--candidates", "2"]) == 2
    assert "cannot be shared by several processes; start it without torchrun" in capsys.readouterr().err
