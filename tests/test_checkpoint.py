"""Checkpoints: exact to the bit, whole or not there, and never trusted unseen."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from nerf3d import checkpoint
from nerf3d.checkpoint import Checkpoint, collect, load_latest, restore, save
from nerf3d.errors import InputError


class Momentum(torch.optim.Optimizer):
    """An optimiser of one's own, with a tensor and a plain number per parameter."""

    def __init__(self, parameters: Any, rate: float) -> None:
        super().__init__(parameters, {"rate": rate, "powers": (0.9, 0.1 + 0.2)})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                state["velocity"] = group["powers"][0] * state.get("velocity", torch.zeros_like(p)) + p.grad
                p -= group["rate"] / state["count"] * state["velocity"]


class Run:
    """A small training run: two players, two optimisers, a random stream, and a learning rate that changes."""

    def __init__(self) -> None:
        init = torch.Generator().manual_seed(7)
        self.scene = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        self.critic = nn.Linear(3, 1)
        with torch.no_grad():
            for p in [*self.scene.parameters(), *self.critic.parameters()]:
                p.copy_(torch.randn(p.shape, generator=init))
        self.adam = torch.optim.Adam(self.scene.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-15, weight_decay=1e-6)
        self.momentum = Momentum(self.critic.parameters(), 1e-3)
        self.rng = torch.Generator().manual_seed(3)
        self.done = 0

    def objects(self) -> dict[str, Any]:
        return {
            "scene": self.scene,
            "critic": self.critic,
            "adam": self.adam,
            "momentum": self.momentum,
            "rng": self.rng,
        }

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.done += 1
            self.adam.param_groups[0]["lr"] *= 0.9
            x = torch.randn(16, 3, generator=self.rng)
            for model, optimiser in ((self.scene, self.adam), (self.critic, self.momentum)):
                optimiser.zero_grad()
                (model(x)[:, 0] - x.sin().sum(-1)).square().mean().backward()
                optimiser.step()


def tensors_of(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    items = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for item in items for tensor in tensors_of(item)]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def test_five_steps_and_five_after_resuming_are_the_bits_of_ten(tmp_path: Path) -> None:
    straight = Run()
    straight.train(10)
    first = Run()
    first.train(5)
    save(tmp_path, 5, collect(first.objects()) | {"seconds": 0.1 + 0.2})
    second = Run()
    second.train(2)  # whatever it did before must not matter
    loaded = load_latest(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.state["seconds"]) == (5, 0.1 + 0.2)
    restore(second.objects(), loaded)
    second.train(5)
    expected, actual = collect(straight.objects()), collect(second.objects())
    pairs = list(zip(tensors_of(expected), tensors_of(actual), strict=True))
    assert len(pairs) > 20
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)
    for name in ("adam", "momentum"):
        assert expected[name]["param_groups"] == actual[name]["param_groups"]
        assert list(expected[name]["state"]) == list(actual[name]["state"])
    first.train(5)
    assert torch.equal(first.scene[0].weight, straight.scene[0].weight)  # saving changed nothing


def test_every_kind_of_value_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "shared": [shared, shared, shared[2:], shared.view(2, 3).T],
        "empty": [torch.zeros(0), torch.zeros(0, 3)],
        "small": (torch.tensor(2.5, dtype=torch.float64), torch.tensor(True), torch.tensor([1], dtype=torch.uint8)),
        "half": torch.tensor([1.5, -0.0, torch.inf], dtype=torch.bfloat16),
        "keys": {0: "zero", (1, "a"): {"b": 2}, "$tensor": "not a reference"},
        "numbers": [5e-324, 1 / 3, 2**80, -0.0, float("inf"), True, None],
        "text": 'ä "\\ \n',
        "nothing": [{}, [], ()],
    }
    save(tmp_path, 0, state)
    loaded = load_latest(tmp_path)
    assert loaded is not None
    plain = ("keys", "numbers", "text", "nothing")
    assert repr({k: loaded.state[k] for k in plain}) == repr({k: state[k] for k in plain})
    assert list(loaded.state) == list(state)
    for before, after in zip(tensors_of(state), tensors_of(loaded.state), strict=True):
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert torch.equal(before, after)
    assert loaded.state["half"][1].signbit()


def test_what_is_neither_tensor_nor_plain_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'outer/inner', a set"):
        save(tmp_path, 1, {"outer": {"inner": {1, 2}}})
    assert list(tmp_path.iterdir()) == []


def test_the_newest_are_kept_and_a_step_may_be_saved_again(tmp_path: Path) -> None:
    for step in (100, 99_999_999, 100_000_000):  # the last has a digit more: the order is that of numbers
        save(tmp_path, step, {"x": torch.tensor(step)})
    assert names(tmp_path) == ["step_100000000", "step_99999999"]
    path = save(tmp_path, 100_000_000, {"x": torch.tensor(-1)}, keep=1)
    assert names(tmp_path) == ["step_100000000"]
    assert load_latest(tmp_path) == Checkpoint(path, 100_000_000, {"x": torch.tensor(-1)})


def test_no_run_no_checkpoint_and_leftovers(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "none") is None
    (tmp_path / "checkpoints" / ".unfinished_step_00000003").mkdir(parents=True)
    assert load_latest(tmp_path) is None
    save(tmp_path, 4, {})
    assert names(tmp_path) == ["step_00000004"]


def test_a_folder_of_somebody_elses_checkpoints_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "epoch=3.ckpt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"no checkpoint of nerf3d but 'epoch=3\.ckpt'"):
        load_latest(tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def foreign_manifest(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "other"}))


def later_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))


def replaced(path: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(1000)}, path)


DAMAGE = [
    ("tensors.safetensors", cut, r"its tensors\.safetensors has \d+ bytes of \d+"),
    ("tensors.safetensors", flip, "is not the file that was written"),
    ("tensors.safetensors", replaced, "bytes of"),
    ("tensors.safetensors", Path.unlink, "cannot be read"),
    ("values.json", cut, r"its values\.json has"),
    ("values.json", flip, "is not the file that was written"),
    ("manifest.json", cut, "is cut off or was not written by nerf3d"),
    ("manifest.json", lambda path: path.write_text("[]"), "is cut off or was not written by nerf3d"),
    ("manifest.json", lambda path: path.write_bytes(b"\xff\x00"), "is cut off or was not written by nerf3d"),
    ("manifest.json", foreign_manifest, "was not written by nerf3d"),
    ("manifest.json", later_version, "has format version 99"),
    ("manifest.json", Path.unlink, "cannot be read"),
]


@pytest.mark.parametrize(("file", "damage", "reason"), DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_way_back_is_named(
    tmp_path: Path, file: str, damage: Any, reason: str
) -> None:
    for step in (10, 20):
        save(tmp_path, step, {"x": torch.arange(float(step))})
    damage(tmp_path / "checkpoints" / "step_00000020" / file)
    with pytest.raises(InputError, match=reason) as caught:
        load_latest(tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "checkpoints" / "step_00000020") in text
    assert "step_00000010 is whole: delete step_00000020" in text
    assert "\n" not in text
    for path in (tmp_path / "checkpoints" / "step_00000020").iterdir():
        path.unlink()
    (tmp_path / "checkpoints" / "step_00000020").rmdir()  # the remedy works
    loaded = load_latest(tmp_path)
    assert loaded is not None
    assert loaded.step == 10


def test_without_an_earlier_whole_one_the_remedy_is_to_begin_again(tmp_path: Path) -> None:
    for step in (10, 20):
        flip(save(tmp_path, step, {"x": torch.zeros(3)}) / "values.json")
    with pytest.raises(InputError, match="no earlier one is whole: delete it and begin again"):
        load_latest(tmp_path)


def test_a_renamed_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, 10, {})
    path.rename(path.with_name("step_00000900"))
    with pytest.raises(InputError, match="made at step 10, and its folder has been renamed"):
        load_latest(tmp_path)


def test_a_state_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    save(tmp_path, 1, collect({"model": nn.Linear(3, 4), "rng": torch.Generator()}))
    loaded = load_latest(tmp_path)
    assert loaded is not None
    adam = torch.optim.Adam(nn.Linear(3, 4).parameters())
    for objects in ({"model": nn.Linear(3, 5)}, {"adam": adam}, {"model": nn.Sequential(nn.Linear(3, 4))}):
        with pytest.raises(InputError, match="does not fit this run") as caught:
            restore(objects, loaded)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["tensors.safetensors", "values.json", "manifest.json"])
def test_a_full_disk_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    save(tmp_path, 10, {"x": torch.arange(10.0)})
    write = checkpoint._write

    def fail(path: Path, data: bytes) -> None:
        if path.name == file:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(checkpoint, "_write", fail)
    for step in (10, 20):
        with pytest.raises(InputError, match="the disk is full; step_00000010 is untouched; free some space") as caught:
            save(tmp_path, step, {"x": torch.zeros(10)})
        assert str(tmp_path / "checkpoints") in str(caught.value)
        assert names(tmp_path) == ["step_00000010"]
    loaded = load_latest(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded.state["x"], torch.arange(10.0))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, not a folder")
    with pytest.raises(InputError, match=r"cannot write the checkpoint of step 3 .*: (Not a directory|File exists)"):
        save(tmp_path / "run", 3, {})


def in_a_process_of_its_own(script: str, *arguments: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX")
def test_a_real_limit_on_file_sizes(tmp_path: Path) -> None:
    out = in_a_process_of_its_own(
        """
        import resource, sys
        from pathlib import Path
        import torch
        from nerf3d.checkpoint import save
        from nerf3d.errors import InputError
        folder = Path(sys.argv[1])
        save(folder, 1, {"x": torch.zeros(1000)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save(folder, 2, {"x": torch.zeros(100_000)})
        except InputError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "the disk is full; step_00000001 is untouched" in out
    assert names(tmp_path) == ["step_00000001"]
    assert load_latest(tmp_path) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_crash_before_any_single_motion_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """The process dies at once (no cleaning up) before the n-th change to the disk, for every n."""
    out = in_a_process_of_its_own(
        """
        import os, shutil, sys
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from nerf3d.checkpoint import load_latest, save

        def dying(function, countdown):
            def wrapped(*arguments, **options):
                if countdown[0] == 0:
                    os._exit(9)
                countdown[0] -= 1
                return function(*arguments, **options)
            return wrapped

        for step in (2, 1):  # a new step, and the same step a second time
            deaths = 0
            while True:
                folder = Path(sys.argv[1]) / f"{step}_{deaths}"
                save(folder, 1, {"x": torch.zeros(50)})
                child = os.fork()
                if child == 0:
                    countdown = [deaths]
                    Path.mkdir = dying(Path.mkdir, countdown)
                    for name in ("fsync", "replace", "unlink", "rmdir"):
                        setattr(os, name, dying(getattr(os, name), countdown))
                    save(folder, step, {"x": torch.ones(50)}, keep=1)
                    os._exit(0)
                died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
                found = load_latest(folder)
                new = bool(found.state["x"][0])
                assert found.step == (step if new else 1)
                assert new or died
                assert len({float(v) for v in found.state["x"]}) == 1
                save(folder, 3, {"x": torch.full((50,), 3.0)}, keep=1)  # and a later run cleans up behind it
                assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step_00000003"]
                if not died:
                    break
                deaths += 1
            print(deaths)
        """,
        tmp_path,
    )
    assert [int(line) >= 10 for line in out.split()] == [True, True]
