"""What every story's training has around it: a bar, a log, previews, checkpoints, Ctrl-C, and a way to go on."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGINT, default_int_handler, getsignal, signal
from threading import current_thread, main_thread
from types import FrameType
from typing import TypeVar

import torch
from torch import nn

from nerf3d.checkpoint import Stateful, collect, load_latest, restore, save
from nerf3d.commands.memory import fit_into, free_memory, halve_as_before, steps, what_to_do
from nerf3d.console import say, training_bar
from nerf3d.core import Task
from nerf3d.core.schedules import Schedule
from nerf3d.errors import FailedError, InputError, Interrupted
from nerf3d.kernels.adam import Adam
from nerf3d.kernels.backend import compiled
from nerf3d.logs import Logs
from nerf3d.ranks import Ranks, joined, leads, rank
from nerf3d.runs import Run, open_run
from nerf3d.tasks.avatar import Avatar
from nerf3d.tasks.fit import Fit
from nerf3d.tasks.generate import Generate, Made
from nerf3d.tasks.text import Text
from nerf3d.train import Budget, OutOfMemory, Progress, Report, begin

SECONDS_BETWEEN_CHECKPOINTS = 60.0
Recipe = TypeVar("Recipe", bound=Fit | Text | Avatar | Generate)


@dataclass(frozen=True)
class Watch:
    """What a story shows of itself. `see` gets every report first and may raise; `state` says how things are in words.

    `preview` is called with the step's number as the run passes each share in `previews_at`; `command` goes on with the
    run when it was stopped.
    """

    see: Callable[[Report], None]
    state: Callable[[], str]
    preview: Callable[[int], None]
    previews_at: tuple[float, ...]
    command: str


def check_numbers(seed: int, checkpoint_every: int | None, bits: int = 63) -> None:
    """InputError for a seed that is negative or has more than so many bits, or for no steps between checkpoints."""
    if checkpoint_every is not None and checkpoint_every < 1:
        raise InputError(f"there cannot be {checkpoint_every} steps between checkpoints; give a positive number")
    if not 0 <= seed < 2**bits:
        raise InputError(f"a seed of {seed} cannot be used; choose a whole number from 0 to 2^{bits} - 1")


def with_budget(recipe: Recipe, steps: int | None, minutes: float | None) -> Recipe:
    """What the command line says about the end replaces all that the recipe says about it."""
    if steps is not None or minutes is not None:
        recipe = replace(recipe, steps=steps, minutes=minutes)
    Budget(recipe.steps, recipe.minutes)  # refuses nonsense before anything is written
    return recipe


def run_to_resume(folder: Path | None, chosen: bool, options: str, seed: int) -> Run:
    """The run that --resume goes on with. InputError where it is not named, or where `options` of it were `chosen` again."""
    if folder is None:
        raise InputError("--resume needs to know which run: name its folder with --out")
    if chosen:
        raise InputError(f"a run that is resumed keeps its recipe; leave out {options}, or begin a new run")
    run = open_run(folder)
    if seed not in (0, run.config.seed):
        raise InputError(
            f"a run that is resumed keeps its seed, {run.config.seed}; leave out --seed, or begin a new run"
        )
    return run


class Diverged(InputError):
    """A parameter is not a number any more."""


def run_training(
    run: Run,
    task: Task,
    kept: Mapping[str, nn.Module],
    weights: Mapping[str, float | Schedule],
    checkpoint_every: int | None,
    device: torch.device,
    started: float,
    watch: Watch,
) -> Progress:
    """Train from the run's last checkpoint, or from its beginning, until the recipe's budget is spent.

    `kept` are the modules that checkpoints hold beside the loop's own state. Under torchrun all processes train together
    (see `nerf3d.ranks`), and all but the leader end here: what is made of the run is one process's work.

    Raises Interrupted after Ctrl-C and OutOfMemory where a GPU is too small, both saved, Diverged when a parameter is not
    a number any more, and FailedError where not even one step was done.
    """
    with joined(device) as ranks:
        state = _trained(run, task, kept, weights, checkpoint_every, device, started, watch, ranks)
    if not leads():
        raise SystemExit(0)
    return state


def _trained(
    run: Run,
    task: Task,
    kept: Mapping[str, nn.Module],
    weights: Mapping[str, float | Schedule],
    checkpoint_every: int | None,
    device: torch.device,
    started: float,
    watch: Watch,
    ranks: Ranks,
) -> Progress:
    recipe = run.config.recipe
    assert not isinstance(recipe, Made)
    budget = Budget(recipe.steps, recipe.minutes)
    rng = torch.Generator(device).manual_seed(run.config.seed + 2**32)  # not the numbers that made the parameters
    precision = recipe.precision if isinstance(recipe, Generate) else "single"
    state = begin(task, rng, Adam, precision=precision)
    objects: dict[str, Stateful | torch.Generator] = {**kept, "progress": state}
    checkpoint = load_latest(run.folder)
    if checkpoint is not None:
        halve_as_before(task, checkpoint)
        restore(objects, checkpoint)
        say(f"going on at step {state.step}, after {state.seconds:.0f} s")
        if not state.goes_on(checkpoint.state["progress"]):
            say("on another kind of device than before: its random numbers are others, and so will be the last bits")
    if checkpoint is not None and budget.progress(state.step, state.seconds) >= 1:
        more = "--max-minutes" if budget.steps is None else "--steps"
        say(f"that was all that was planned, and nothing more is learnt; go on with more: {watch.command} {more} MORE")
    for module in kept.values():
        ranks.share((*module.parameters(), *module.buffers()))
    if not leads():  # batches of its own
        rng.manual_seed(run.config.seed + 2**32 + rank() + (state.step << 8))
    if device.type == "cuda" and checkpoint is None:  # what went on so far fits
        fit_into(ranks.least(free_memory(device)), task, state, ranks)
    state.seconds += time.perf_counter() - started
    if device.type == "cpu" and not compiled():
        say("compiling the kernels for this machine: half a minute, this once")
    saved = time.perf_counter()
    seen = budget.progress(state.step, state.seconds)

    def keep() -> None:
        if not all(bool(p.isfinite().all()) for module in kept.values() for p in module.parameters()):
            raise Diverged(
                f"training went wrong before step {state.step}: a parameter is not a number any more; nothing was saved "
                f"since the last checkpoint in {run.folder}; begin again with a lower rate or another seed"
            )
        if leads():
            save(run.folder, state.step, collect(objects))

    def as_far_as_it_fits() -> Iterator[Report]:
        try:
            yield from steps(task, state, budget, weights, recipe.warmup, ranks)
        except OutOfMemory as error:
            keep()
            raise OutOfMemory(what_to_do(error, task, state, watch.command)) from error

    first: Report | None = None  # what came before it, loading and compiling, says nothing of what is to come
    with ctrl_c() as pressed, training_bar() as bar, _logs(run.folder, state.step) as logs:
        for report in as_far_as_it_fits():
            watch.see(report)
            first = first or report
            if logs is not None:
                bar.show(report.progress, f"step {report.step}  {watch.state()}{_left(first, report)}")
                logs.add(report)
            if leads() and any(seen < at <= report.progress for at in watch.previews_at):
                _preview(watch, report.step)
            seen = report.progress
            due = ranks.leaders(time.perf_counter() - saved) > SECONDS_BETWEEN_CHECKPOINTS
            if report.step % checkpoint_every == 0 if checkpoint_every else due:
                keep()
                saved = time.perf_counter()
            if ranks.any(pressed.is_set):
                keep()
                raise Interrupted(
                    f"stopped at step {state.step} after {state.seconds:.0f} s, {watch.state()}, and saved; "
                    f"go on with: {watch.command}"
                )
        if state.step == 0:
            raise FailedError(
                f"the time was over before the first step: reading and compiling took {state.seconds:.0f} s; go on with "
                f"more minutes: {watch.command} --max-minutes {state.seconds / 60 + 5:.0f}"
            )
        keep()
    return state


def _preview(watch: Watch, step: int) -> None:
    """A picture that a GPU's memory does not hold is no reason to lose a run."""
    try:
        watch.preview(step)
    except torch.OutOfMemoryError:
        say(f"no preview of step {step}: it is more than the GPU's memory holds beside the training")


def _logs(folder: Path, step: int) -> AbstractContextManager[Logs | None]:
    return Logs(folder, step) if leads() else nullcontext()


def _left(first: Report, now: Report) -> str:
    """How long the rest will take, by the pace since the first report; nothing is known of that at the first one."""
    if now.progress <= first.progress:
        return ""
    pace = (now.seconds - first.seconds) / (now.progress - first.progress)
    return f"  {_clock(pace * max(1 - now.progress, 0.0))} left"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Pressed:
    is_set = False


@contextmanager
def ctrl_c() -> Iterator[Pressed]:
    """The first Ctrl-C is noted, so that a step is never left half done; the second one interrupts at once."""
    pressed = Pressed()
    if current_thread() is not main_thread():
        yield pressed
        return

    def note(number: int, frame: FrameType | None) -> None:
        if pressed.is_set:
            default_int_handler(number, frame)
        pressed.is_set = True
        say("stopping after this step; once more to stop at once, without saving")

    before = getsignal(SIGINT)
    signal(SIGINT, note)
    try:
        yield pressed
    finally:
        signal(SIGINT, before)
