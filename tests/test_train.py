"""The training loop, on tasks that can be followed by hand."""

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from nerf3d.commands.training import _left
from nerf3d.core import Group, Task, Update
from nerf3d.core.schedules import Constant, Ramp
from nerf3d.errors import InputError
from nerf3d.train import Budget, Progress, Report, begin, train

sgd = torch.optim.SGD


class Slope:
    """One number on a slope of 1: each step lowers it by exactly the rate (times the weight)."""

    def __init__(self, rate: Constant | Ramp) -> None:
        self.number = nn.Parameter(torch.zeros(()))
        self.rate = rate
        self.seen: list[tuple[int, float]] = []

    def players(self) -> dict[str, list[Group]]:
        return {"scene": [Group([self.number], self.rate)]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        self.seen.append((step, progress))
        yield Update("scene", {"slope": self.number * 1.0}, {"chance": float(torch.rand((), generator=rng))})


def start(task: Task, seconds: float = 0.0) -> Progress:
    return begin(task, torch.Generator().manual_seed(0), sgd, seconds)


def test_a_budget_of_steps() -> None:
    task = Slope(Constant(1.0))
    state = start(task)
    reports = list(train(task, state, Budget(steps=4), {}))
    assert task.seen == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.progress for report in reports] == [0.25, 0.5, 0.75, 1.0]
    assert [report.losses["slope"] for report in reports] == [0.0, -1.0, -2.0, -3.0]
    assert float(task.number.detach()) == -4.0
    assert state.step == 4
    assert list(train(task, state, Budget(steps=4), {})) == []


def test_a_budget_of_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever it is looked at."""
    now = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    task = Slope(Constant(1.0))
    state = start(task, seconds=2.0)
    reports = list(train(task, state, Budget(minutes=6 / 60), {}))
    assert [report.seconds for report in reports] == [3.0, 4.0, 5.0, 6.0]
    assert [progress for _, progress in task.seen] == pytest.approx([2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert state.seconds == 6.0


def test_whichever_comes_first() -> None:
    both = Budget(steps=10, minutes=1.0)
    assert both.progress(5, 6.0) == 0.5
    assert both.progress(1, 48.0) == 0.8
    assert both.progress(10, 0.0) == 1.0


@pytest.mark.parametrize(
    ("steps", "minutes"), [(None, None), (0, None), (-1, 3.0), (3, 0.0), (None, -1.0), (None, float("nan"))]
)
def test_budgets_without_sense(steps: int | None, minutes: float | None) -> None:
    with pytest.raises(InputError, match=r"a run (needs an end|cannot last)"):
        Budget(steps, minutes)


def test_schedule_and_warmup() -> None:
    """Rates 1, 0.75, 0.5, 0.25 by the ramp, the first two of them at 1/3 and 2/3 of their height."""
    task = Slope(Ramp(1.0, 0.0))
    state = start(task)
    reports = list(train(task, state, Budget(steps=4), {}, warmup=3))
    rates = [1 / 3, 0.75 * 2 / 3, 0.5, 0.25]
    assert [report.rate for report in reports] == pytest.approx(rates)
    assert float(task.number.detach()) == pytest.approx(-sum(rates))


def test_every_group_has_its_own_momentum() -> None:
    class Two(Slope):
        def players(self) -> dict[str, list[Group]]:
            return {"scene": [Group([self.number], self.rate), Group([nn.Parameter(torch.zeros(()))], self.rate, 0.0)]}

    state = begin(Two(Constant(1.0)), torch.Generator(), torch.optim.Adam)
    assert [group["betas"] for group in state.optimizers["scene"].param_groups] == [(0.9, 0.99), (0.0, 0.99)]


def test_losses_are_weighed_and_reported_unweighted() -> None:
    class Two(Slope):
        def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
            yield Update("scene", {"a": self.number + 5, "b": 2 * self.number, "c": -self.number})

    task = Two(Constant(1.0))
    (report,) = train(task, start(task), Budget(steps=1), {"a": 0.5, "b": 3.0, "unknown": 7.0})
    assert float(task.number.detach()) == -(0.5 + 3.0 * 2 - 1.0)  # a loss without a weight counts once
    assert report.losses == {"a": 5.0, "b": 0.0, "c": 0.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_spoils_nothing(value: float) -> None:
    class Wrong(Slope):
        def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
            losses = {"good": self.number * 1.0}
            yield Update("scene", losses | {"bad": self.number * value} if step == 2 else losses)

    task = Wrong(Constant(1.0))
    state = start(task)
    with pytest.raises(InputError, match=r"wrong at step 2: bad is not a number any more; begin again with a smaller"):
        list(train(task, state, Budget(steps=9), {}))
    assert float(task.number.detach()) == -2.0
    assert state.step == 2


class Pair:
    """A generator and a critic that write down when each was asked, and what it saw of the other."""

    def __init__(self) -> None:
        self.generator, self.critic = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, float, float]] = []

    def players(self) -> dict[str, list[Group]]:
        return {
            "generator": [Group([self.generator], Constant(1.0))],
            "critic": [Group([self.critic], Constant(10.0))],
        }

    def _note(self, player: str) -> None:
        self.seen.append((player, float(self.generator.detach()), float(self.critic.detach())))

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        self._note("generator")
        yield Update("generator", {"fake": self.generator - self.critic})
        self._note("critic")
        yield Update("critic", {"real": self.critic + self.generator})


def test_two_players_take_turns() -> None:
    task = Pair()
    reports = list(train(task, start(task), Budget(steps=2), {}))
    # The critic sees the generator after its update; each one's loss moves itself alone.
    assert task.seen == [
        ("generator", 0.0, 0.0),
        ("critic", -1.0, 0.0),
        ("generator", -1.0, -10.0),
        ("critic", -2.0, -10.0),
    ]
    assert [set(report.losses) for report in reports] == [{"fake", "real"}] * 2


def test_figures_may_be_tensors() -> None:
    class Two(Slope):
        def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
            figures = {"here": 3.0, "there": torch.tensor(0.5, dtype=torch.float64), "count": torch.tensor(7)}
            yield Update("scene", {"a": self.number + 5, "b": 2 * self.number}, figures)

    task = Two(Constant(1.0))
    (report,) = train(task, start(task), Budget(steps=1), {})
    assert report.losses == {"a": 5.0, "b": 0.0}
    assert report.figures == {"here": 3.0, "there": 0.5, "count": 7.0}


class Growing:
    """A row of numbers that is replaced by a longer one in step 2."""

    def __init__(self) -> None:
        self.row = nn.Parameter(torch.zeros(2))
        self.same = nn.Parameter(torch.zeros(1))

    def players(self) -> dict[str, list[Group]]:
        return {"scene": [Group([self.row, self.same], Constant(0.1))]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        if step == 2:
            self.row = nn.Parameter(torch.cat([self.row.detach(), torch.zeros(3)]))
        yield Update("scene", {"sum": self.row.sum() + self.same.sum()})


@pytest.mark.parametrize("make", [torch.optim.Adam, sgd])
def test_parameters_that_are_replaced_are_followed(make: Callable[..., torch.optim.Optimizer]) -> None:
    task = Growing()
    first = task.row
    state = begin(task, torch.Generator(), make)
    list(train(task, state, Budget(steps=4), {}))
    torch.testing.assert_close(task.row.detach(), torch.tensor([-0.4, -0.4, -0.2, -0.2, -0.2]))
    torch.testing.assert_close(task.same.detach(), torch.tensor([-0.4]))
    torch.testing.assert_close(first.detach(), torch.full((2,), -0.2))  # left behind
    optimizer = state.optimizers["scene"]
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(task.row), id(task.same)]
    assert first not in optimizer.state


def test_the_state_is_all_there_is() -> None:
    """Stopped after three steps and taken up elsewhere: chance, step and momentum go on."""

    def momentum(groups: list) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, momentum=0.9)

    def fresh() -> tuple[Slope, Progress]:
        task = Slope(Ramp(1.0, 0.1))
        return task, begin(task, torch.Generator().manual_seed(4), momentum)

    whole, state = fresh()
    reports = list(train(whole, state, Budget(steps=6), {}, warmup=4))
    task, state = fresh()
    begun = train(task, state, Budget(steps=6), {}, warmup=4)
    first = [next(begun) for _ in range(3)]
    kept = state.state_dict()
    again, state = fresh()
    state.rng.manual_seed(99)
    state.load_state_dict(kept)
    with torch.no_grad():
        again.number.copy_(task.number)
    rest = list(train(again, state, Budget(steps=6), {}, warmup=4))
    assert torch.equal(again.number, whole.number)
    assert [r.figures["chance"] for r in first + rest] == [r.figures["chance"] for r in reports]
    assert [r.rate for r in first + rest] == [r.rate for r in reports]
    assert rest[0].step == 4
    assert rest[0].seconds >= first[-1].seconds


def test_time_left_is_that_of_the_pace_since_the_first_step() -> None:
    def report(seconds: float, progress: float) -> Report:
        return Report(1, seconds, progress, {}, {}, 0.0)

    first = report(30.0, 0.1)  # compiling is in it
    assert _left(first, first) == ""
    assert _left(first, report(40.0, 0.2)) == "  1:20 left"
    assert _left(first, report(150.0, 1.001)) == "  0:00 left"
