"""The training loop: one for all stories, readable from top to bottom.

`train` is a generator. It yields after every step, and who calls it decides what happens then: log, save, show, stop.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nerf3d.core import Group, Tabular, Task, Tracking, Update
from nerf3d.core.schedules import Schedule
from nerf3d.errors import InputError
from nerf3d.precision import Mixed, Precision
from nerf3d.ranks import ALONE, Ranks


class NotANumber(InputError):
    """A loss is not a number; the parameters still are."""


class OutOfMemory(InputError):
    """A step was more than the GPU's memory holds. The run can go on from its state, with smaller steps."""


SECOND_BETA = 0.99
"""Adam's: how long the mean of the squared gradients remembers."""
MakeOptimizer = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Budget:
    """How long a run lasts: so many steps, so many minutes, or whichever comes first."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise InputError("a run needs an end: give a number of steps or of minutes")
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and not self.minutes > 0):
            said = [f"{n} {unit}" for n, unit in ((self.steps, "steps"), (self.minutes, "minutes")) if n is not None]
            raise InputError(f"a run cannot last {' or '.join(said)}; give a positive number")

    def progress(self, step: int, seconds: float) -> float:
        """The share of the budget that is used up; 1 and more when it is spent."""
        by_steps = step / self.steps if self.steps is not None else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes is not None else 0.0
        return max(by_steps, by_time)


@dataclass
class Progress:
    """How far a run has come: all of the loop's own state."""

    rng: torch.Generator
    step: int = 0
    seconds: float = 0.0
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    halvings: int = 0
    """How often the task was halved (`core.Halving`); who goes on with the run halves a new task as often."""
    mixed: Mixed = field(default_factory=lambda: Mixed("single", torch.device("cpu")))

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "rng": self.rng.get_state(),
            "halvings": self.halvings,
            "scale": self.mixed.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A random stream of another kind of device cannot go on here: then it is a new one, the same every time."""
        self.step, self.seconds = state_dict["step"], state_dict["seconds"]
        self.halvings = state_dict.get("halvings", 0)
        self.mixed.load_state_dict(state_dict.get("scale", {}))
        if self.goes_on(state_dict):
            self.rng.set_state(state_dict["rng"])
        else:
            self.rng.manual_seed(self.rng.initial_seed() + self.step)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state_dict["optimizers"][name])

    def goes_on(self, state_dict: dict[str, Any]) -> bool:
        """Whether its random stream can be taken up here, so that the run ends with the same bits as without a stop."""
        return bool(state_dict["rng"].shape == self.rng.get_state().shape)


@dataclass(frozen=True)
class Report:
    """What one step did. `progress` counts the step in."""

    step: int
    seconds: float
    progress: float
    losses: dict[str, float]
    figures: dict[str, float]
    rate: float


def begin(
    task: Task,
    rng: torch.Generator,
    make_optimizer: MakeOptimizer,
    seconds: float = 0.0,
    precision: Precision = "single",
) -> Progress:
    """A fresh start where the random numbers are: one optimiser per player, `seconds` already gone."""
    optimizers = {name: make_optimizer(_as_dicts(groups)) for name, groups in task.players().items()}
    return Progress(rng, seconds=seconds, optimizers=optimizers, mixed=Mixed(precision, rng.device))


def train(
    task: Task,
    state: Progress,
    budget: Budget,
    weights: Mapping[str, float | Schedule],
    warmup: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[Report]:
    """Train until the budget is spent, from wherever `state` is, and keep it up to date.

    The rates follow each group's schedule over the budget, after rising for `warmup` steps. `weights` are those of the
    losses, by name: numbers, or schedules over the budget; a loss that is not among them counts as it is. One that is not
    a number ends the run with NotANumber before it can spoil the parameters. Where several `ranks` train together, their
    gradients are averaged, as is what they report, and all end at once.

    A step that a GPU's memory cannot hold ends it with OutOfMemory, and `state` is that of the step's beginning, so that
    it is taken again by whoever calls this again; only if one of several players has already learnt from it, it counts as
    done. What a task remembers beside its parameters (an occupancy grid) may have been brought up to date by the step.
    """
    state.seconds = ranks.leaders(state.seconds)
    clock = time.perf_counter() - state.seconds
    while (progress := budget.progress(state.step, state.seconds)) < 1:
        step = _Step(min(1.0, (state.step + 1) / max(warmup, 1)), progress)
        stream, full = state.rng.get_state(), False
        try:
            step.take(task, state, weights, ranks)
        except torch.OutOfMemoryError:
            full = True  # out of this block the error is gone, and with it all tensors that its traceback holds
        if full:
            for optimizer in state.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            at = state.step
            if step.moved:
                state.step += 1
            else:
                state.rng.set_state(stream)
            _agree(task, ranks)
            raise OutOfMemory(f"step {at} is more than the GPU's memory holds")
        _agree(task, ranks)
        state.step += 1
        state.seconds = ranks.leaders(time.perf_counter() - clock)
        done = budget.progress(state.step, state.seconds)
        yield Report(state.step, state.seconds, done, step.losses, step.figures, step.rate)


def _agree(task: Task, ranks: Ranks) -> None:
    """What the step changed beside parameters, for all ranks alike."""
    if isinstance(task, Tracking):
        ranks.share(task.tracked())
    if isinstance(task, Tabular):
        ranks.exchange(*task.moved())


@dataclass
class _Step:
    """One step: all players' updates, one after the other. `rise` is the warm-up's share of the rates."""

    rise: float
    progress: float
    losses: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    moved: bool = False
    """Whether a player has learnt from it."""

    def take(self, task: Task, state: Progress, weights: Mapping[str, float | Schedule], ranks: Ranks) -> None:
        updates = task.step(state.step, self.progress, state.rng)
        while (update := ranks.together(lambda: self._next(updates, state.mixed))) is not None:
            optimizer = state.optimizers[update.player]
            groups = task.players()[update.player]
            _follow(optimizer, groups)
            for group, settings in zip(groups, optimizer.param_groups, strict=True):
                settings["lr"] = self.rise * group.rate(self.progress)
            total = torch.stack(
                [_now(weights.get(name, 1.0), self.progress) * loss.float() for name, loss in update.losses.items()]
            ).sum()
            whole, losses, figures = _read(total, update, ranks)
            if not math.isfinite(whole):
                spoilt = [name for name, loss in losses.items() if not math.isfinite(loss)]
                raise NotANumber(
                    f"training went wrong at step {state.step}: {' and '.join(spoilt) or 'the sum of all losses'} is not "
                    "a number any more; begin again with a smaller rate (--set rate.start=...) or another --seed"
                )
            optimizer.zero_grad(set_to_none=True)
            ranks.together(lambda total=total: state.mixed.backward(total))  # type: ignore[misc]
            ranks.average(p for group in groups for p in group.parameters)
            self.moved = True
            state.mixed.step(optimizer)
            self.losses |= losses
            self.figures |= figures
            self.rate = self.rise * groups[0].rate(self.progress)

    @staticmethod
    def _next(updates: Iterator[Update], mixed: Mixed) -> Update | None:
        with mixed.region():
            return next(updates, None)


def _read(total: Tensor, update: Update, ranks: Ranks) -> tuple[float, dict[str, float], dict[str, float]]:
    """All numbers of an update in one piece: a GPU is waited for once, not for each, and so are other ranks."""
    computed = {name: figure for name, figure in update.figures.items() if isinstance(figure, Tensor)}
    tensors = [total, *update.losses.values(), *computed.values()]
    read = torch.stack([tensor.detach().to(total) for tensor in tensors]).tolist()
    plain = {name: float(figure) for name, figure in update.figures.items() if name not in computed}
    whole, *numbers = ranks.mean([*read, *plain.values()])
    losses = dict(zip(update.losses, numbers))
    return whole, losses, dict(zip([*computed, *plain], numbers[len(losses) :]))


def _now(weight: float | Schedule, progress: float) -> float:
    return weight(progress) if callable(weight) else weight


def _as_dicts(groups: list[Group]) -> list[dict[str, Any]]:
    return [
        {"params": group.parameters, "lr": group.rate(0.0), "betas": (group.momentum, SECOND_BETA)} for group in groups
    ]


def _follow(optimizer: torch.optim.Optimizer, groups: list[Group]) -> None:
    """Let the optimiser train the parameters that the task has now; those that are new begin without a past."""
    for group, settings in zip(groups, optimizer.param_groups, strict=True):
        if [id(p) for p in settings["params"]] != [id(p) for p in group.parameters]:
            present = {id(p) for p in group.parameters}
            for gone in (p for p in settings["params"] if id(p) not in present):
                optimizer.state.pop(gone, None)
            settings["params"] = list(group.parameters)
