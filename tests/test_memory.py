"""Steps that are more than a GPU's memory holds, by tasks that say so: what is caught, put back, halved, said and kept."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from nerf3d.checkpoint import load_latest
from nerf3d.cli import main
from nerf3d.commands.fit import Smooth
from nerf3d.commands.memory import fit_into, steps
from nerf3d.config import find_recipe, from_plain, load_yaml, override
from nerf3d.core import Group, Halving, Update, Weighed
from nerf3d.core.memory import kept_bytes, learning_bytes, samples_bytes
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.ranks import ALONE
from nerf3d.render.render import render
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.generate import Generate
from nerf3d.tasks.generate.build import task_of
from nerf3d.tasks.text import Text, TextTask
from nerf3d.tasks.text.recipe import Views
from nerf3d.train import Budget, OutOfMemory, Report, begin, train

sgd = torch.optim.SGD


class Large:
    """Two numbers that go down in turns by chance, as long as a step's size is no more than `holds`; steps in `never` are
    more than any memory holds, as the player `when` finds out after it has drawn and has gradients.
    """

    def __init__(self, size: int = 8, holds: int = 100, never: tuple[int, ...] = (), when: str = "first") -> None:
        self.first, self.second = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.size, self.holds, self.never, self.when = size, holds, never, when
        self.drawn: list[float] = []

    def players(self) -> dict[str, list[Group]]:
        return {name: [Group([getattr(self, name)], Constant(1.0))] for name in ("first", "second")}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        for name in ("first", "second"):
            chance = torch.rand((), generator=rng)
            self.drawn.append(float(chance))
            loss = getattr(self, name) * chance
            if name == self.when and (self.size > self.holds or step in self.never):
                loss.backward()
                raise torch.OutOfMemoryError("CUDA out of memory")
            yield Update(name, {name: loss})

    def budget(self) -> str:
        return f"size={self.size}"

    def halve(self) -> bool:
        if self.size < 2:
            return False
        self.size //= 2
        return True


class Heavy(Large):
    """Of a size above 8 it cannot even be said how much it takes."""

    def step_bytes(self, rng: torch.Generator) -> float:
        if self.size > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1000.0 * self.size


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_a_step_that_does_not_fit_leaves_everything_as_it_was() -> None:
    whole, task = Large(), Large(never=(2,))
    list(train(whole, begin(whole, rng(), sgd), Budget(steps=4), {}))
    state = begin(task, rng(), sgd)
    with pytest.raises(OutOfMemory, match="step 2 is more than the GPU's memory holds"):
        list(train(task, state, Budget(steps=4), {}))
    assert state.step == 2
    assert (task.first.grad, task.second.grad) == (None, None)
    task.never = ()
    assert [report.step for report in train(task, state, Budget(steps=4), {})] == [3, 4]
    assert torch.equal(torch.stack([task.first, task.second]), torch.stack([whole.first, whole.second]))
    assert task.drawn == whole.drawn[:5] + whole.drawn[4:]  # the number of the failed step was drawn twice


def test_a_player_who_has_moved_does_not_move_twice() -> None:
    whole, task = Large(), Large(never=(2,), when="second")
    list(train(whole, begin(whole, rng(), sgd), Budget(steps=4), {}))
    state = begin(task, rng(), sgd)
    with pytest.raises(OutOfMemory, match="step 2 "):
        list(train(task, state, Budget(steps=4), {}))
    assert state.step == 3
    task.never = ()
    list(train(task, state, Budget(steps=4), {}))
    assert torch.equal(task.first, whole.first)
    assert task.second.item() == pytest.approx(whole.second.item() + whole.drawn[5])


def test_it_is_halved_once_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    task = Large(size=8, holds=4)
    assert isinstance(task, Halving)
    assert not isinstance(task, Weighed)
    state = begin(task, rng(), sgd)
    assert [r.step for r in steps(task, state, Budget(steps=3), {}, 0, ALONE)] == [1, 2, 3]
    assert (task.size, state.halvings, state.state_dict()["halvings"]) == (4, 1, 1)
    line = " ".join(capsys.readouterr().err.split())
    assert line == "step 0 is more than the GPU's memory holds: size=8 becomes size=4 from here on"
    task = Large(size=8, holds=2)
    with pytest.raises(OutOfMemory):
        list(steps(task, begin(task, rng(), sgd), Budget(steps=3), {}, 0, ALONE))
    assert task.size == 4


def test_where_nothing_can_be_halved_that_is_the_end() -> None:
    task = Large(size=1, holds=0)
    with pytest.raises(OutOfMemory):
        list(steps(task, begin(task, rng(), sgd), Budget(steps=3), {}, 0, ALONE))
    assert task.size == 1


def test_before_the_run_it_is_made_to_fit(capsys: pytest.CaptureFixture[str]) -> None:
    task = Heavy(size=8)
    state = begin(task, rng(), sgd)
    fit_into(9000.0, task, state)  # 8000 of 8100
    assert (task.size, state.halvings, capsys.readouterr().err) == (8, 0, "")
    fit_into(3000.0, task, state)
    assert (task.size, state.halvings) == (2, 2)
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("a step with size=8 would take about 0.0 GiB, and the GPU has 0.0 GiB free: it is size=2")
    fit_into(10.0, Large(), state)  # nobody knows what it takes
    task.size = 32
    fit_into(9000.0, task, state)
    assert (task.size, state.halvings) == (8, 4)
    assert "a step with size=32 would take more than there is, and" in " ".join(capsys.readouterr().err.split())


def test_a_stream_of_another_kind_of_device_begins_anew() -> None:
    task = Large()
    state = begin(task, rng(), sgd)
    list(train(task, state, Budget(steps=3), {}))
    kept = state.state_dict()
    assert state.goes_on(kept)
    kept["rng"] = torch.zeros(16, dtype=torch.uint8)  # as long as CUDA's
    first, second = (begin(task, rng(), sgd) for _ in range(2))
    assert not first.goes_on(kept)
    for other in (first, second):
        other.load_state_dict(kept)
        assert other.step == 3
    assert torch.rand((), generator=first.rng) == torch.rand((), generator=second.rng)


def plan(*settings: str) -> Fit:
    return from_plain(Fit, override(load_yaml(find_recipe("ngp_blender", "fit")), (*tiny.SMALL, *settings)), "a test")


def test_the_estimate_is_about_what_autograd_keeps_of_a_step() -> None:
    task = FitTask(plan("rays=400", "samples=20000"), tiny.capture(4), torch.Generator().manual_seed(0))
    assert isinstance(task, Weighed)
    batch = task._draw(rng())
    samples = 0

    def seen() -> torch.Tensor:
        nonlocal samples
        out = render(task.field, batch.rays, task.sampler, batch.background, rng())
        samples = len(out.samples)
        return task._photometric(out.color, batch)

    kept = kept_bytes(seen)
    assert samples > 5000
    assert kept < samples_bytes(task.field, task.box, samples) < 4 * kept
    more = task.step_bytes(rng())
    assert task.halve()
    assert task.budget() == "samples=10000"
    assert float(task.rays_per_step) == 200
    assert 0.4 * more < task.step_bytes(rng()) < 0.6 * more
    while task.halve():
        assert task.step_bytes(rng()) > 0
    assert task.budget() == "samples=1250"


@pytest.mark.parametrize(
    ("preset", "before", "after"),
    [
        ("diffae", "looks.objects=12", "looks.objects=6"),
        ("vqar", "looks.objects=12 and batch=64", "looks.objects=6 and batch=32"),
        ("ssdnerf", "looks.objects=8 and batch=16", "looks.objects=4 and batch=8"),
        ("eg3d", "batch=16", "batch=8"),
    ],
)
def test_collections_look_at_half(preset: str, before: str, after: str) -> None:
    recipe: Generate = from_plain(Generate, load_yaml(find_recipe(preset, "gen")), preset)
    cars = render_collection("cars", 2, 3, 32)
    task = task_of(recipe, cars, tight_box(cars), rng())
    assert isinstance(task, Halving)
    assert task.budget() == before
    assert task.halve()
    assert task.budget() == after
    while task.halve():
        pass
    assert all(float(setting.split("=")[1]) >= 1 for setting in task.budget().split(" and "))
    assert [update.player for update in task.step(0, 0.0, rng())]


@pytest.mark.parametrize("preset", ["diffae", "vqar", "ssdnerf", "eg3d", "pigan", "graf"])
def test_what_collections_take_is_about_what_autograd_keeps(preset: str) -> None:
    recipe: Generate = from_plain(Generate, load_yaml(find_recipe(preset, "gen")), preset)
    cars = render_collection("cars", 8, 3, 32)
    task = task_of(recipe, cars, tight_box(cars), rng())
    assert isinstance(task, Weighed)
    before = [p.clone() for p in task.state_dict().values()]  # type: ignore[attr-defined]
    needed = task.step_bytes(rng())
    assert all(torch.equal(a, b) for a, b in zip(before, task.state_dict().values()))  # type: ignore[attr-defined]
    learnt = learning_bytes(task.parameters())  # type: ignore[attr-defined]
    at = 0.0 if preset in ("diffae", "vqar", "ssdnerf") else 0.99  # the largest pictures come last
    updates = task.step(0, at, rng())
    kept, one = 0, lambda: torch.stack(list(next(updates).losses.values())).sum()
    with suppress(StopIteration):
        while True:
            kept = max(kept, kept_bytes(one))
    assert kept < needed - learnt < 6 * kept
    assert task.halve()
    assert task.step_bytes(rng()) < needed


def test_prompts_have_half_the_views() -> None:
    recipe = Text(views=Views(count=3, sizes=(8,)))
    task = TextTask(recipe, Red(), rng())
    assert isinstance(task, Halving)
    assert (task.budget(), task.halve(), task.budget(), task.halve()) == ("views.count=3", True, "views.count=1", False)
    assert [update.figures["samples"] for update in task.step(0, 0.0, rng())]


class Red:
    def __call__(self, images, cameras, progress, rng):  # type: ignore[no-untyped-def]
        assert len(images) == 1
        return {"guidance": images.mean()}


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that holds steps of 4096 samples."""
    real = FitTask.step

    def step(self: FitTask, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        for update in real(self, step, progress, rng):
            if step >= 6 and self.samples is not None and self.samples > 4096:
                raise torch.OutOfMemoryError("CUDA out of memory")
            yield update

    monkeypatch.setattr(FitTask, "step", step)


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_latest(run)
    assert checkpoint is not None
    assert checkpoint.state["progress"]["halvings"] == 1
    return dict(checkpoint.state["task"])


@pytest.mark.usefixtures("little")
def test_a_run_goes_on_with_half_and_so_it_does_when_resumed(
    intact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny.options((*tiny.SMALL, "samples=8000"))
    one, other = tmp_path / "one", tmp_path / "other"
    assert main(["fit", str(intact), "--out", str(one), "--steps", "14", *settings]) == 0
    assert "samples=8000 becomes samples=4000" in capsys.readouterr().err
    real = Smooth.add

    def killed(self: Smooth, report: Report) -> None:
        real(self, report)
        if report.step == 11:
            raise KeyboardInterrupt

    monkeypatch.setattr(Smooth, "add", killed)
    command = ["fit", str(intact), "--out", str(other), "--steps", "14", "--checkpoint-every", "3", *settings]
    assert main(command) == 130
    monkeypatch.setattr(Smooth, "add", real)
    capsys.readouterr()
    assert main(["fit", str(intact), "--out", str(other), "--resume"]) == 0
    assert "becomes" not in capsys.readouterr().err
    first, second = weights(one), weights(other)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.usefixtures("little")
def test_the_second_time_it_is_saved_and_said(intact: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    settings = tiny.options((*tiny.SMALL, "samples=20000"))
    assert main(["fit", str(intact), "--out", str(tmp_path / "run"), "--steps", "9", *settings]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("nerf3d: step 6 is more than the GPU's memory holds with samples=10000; 6 steps are saved; ")
    assert line.endswith(f"go on with: nerf3d fit {intact} --out {tmp_path / 'run'} --resume")
    checkpoint = load_latest(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.step == 6
    assert main(["fit", str(intact), "--out", str(tmp_path / "run"), "--resume"]) == 2  # 5000 is still too much
    assert main(["fit", str(intact), "--out", str(tmp_path / "run"), "--resume"]) == 0
