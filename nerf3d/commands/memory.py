"""Steps that a GPU's memory holds: made smaller before a run by an estimate, and once in it where one did not fit."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress

import torch

from nerf3d.checkpoint import Checkpoint
from nerf3d.console import say
from nerf3d.core import Halving, Task, Weighed
from nerf3d.core.schedules import Schedule
from nerf3d.ranks import ALONE, Ranks
from nerf3d.train import Budget, OutOfMemory, Progress, Report, train

SHARE = 0.9
"""Of the memory that is free, what a step may take by the task's own estimate."""


def halve_as_before(task: Task, checkpoint: Checkpoint) -> None:
    """What was halved in a run stays so in a task that goes on with it; comes before the task's own state is restored."""
    for _ in range(checkpoint.state["progress"].get("halvings", 0)):
        if isinstance(task, Halving):
            task.halve()


def fit_into(free: float, task: Task, state: Progress, ranks: Ranks = ALONE) -> None:
    """Halve the task until a step should take no more than so many bytes, and say so. Several processes halve together.

    The estimate is the task's own: what autograd keeps of a sample, of an object, of a picture, twice, times how many
    there are in a step (`core.memory`). What cannot be estimated is left to be tried.
    """
    if not isinstance(task, Weighed):
        return
    before, needed = task.budget(), _step_bytes(task, state, ranks)
    least = needed
    while least > SHARE * free and task.halve():
        state.halvings += 1
        least = _step_bytes(task, state, ranks)
    if task.budget() != before:
        say(
            f"a step with {before} would take {_size(needed)}, and the GPU has {free / 2**30:.1f} GiB free: "
            f"it is {task.budget()} in this run"
        )
    if least > SHARE * free:
        say(f"even that may be more than it holds, {_size(least)}: if it is, close what else uses the GPU")


def _step_bytes(task: Weighed, state: Progress, ranks: Ranks) -> float:
    """Of the rank for which they are most; infinite where the estimate alone was more than the memory holds."""
    needed = math.inf
    with suppress(torch.OutOfMemoryError), state.mixed.region():
        needed = task.step_bytes(torch.Generator(state.rng.device).manual_seed(0))
    return -ranks.least(-needed)


def _size(count: float) -> str:
    return f"about {count / 2**30:.1f} GiB" if math.isfinite(count) else "more than there is"


def free_memory(device: torch.device) -> float:
    """Bytes of a GPU that nobody uses."""
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(device)[0])


def steps(
    task: Task,
    state: Progress,
    budget: Budget,
    weights: Mapping[str, float | Schedule],
    warmup: int,
    ranks: Ranks,
) -> Iterator[Report]:
    """`train`, which goes on with half the budget once, where a step is more than the GPU's memory holds.

    Raises OutOfMemory the next time, or where there is nothing to halve. Several processes halve together.
    """
    try:
        yield from train(task, state, budget, weights, warmup, ranks)
        return
    except OutOfMemory as error:
        if not isinstance(task, Halving):
            raise
        before = task.budget()
        if not task.halve():
            raise
        state.halvings += 1
        say(f"{error}: {before} becomes {task.budget()} from here on")
    torch.cuda.empty_cache()
    yield from train(task, state, budget, weights, warmup, ranks)


def what_to_do(error: OutOfMemory, task: Task, state: Progress, command: str) -> str:
    """The last words of a run that is too large, once it is saved."""
    now, less = (
        ("", "a smaller model") if not isinstance(task, Halving) else (f" with {task.budget()}", "less of that (--set)")
    )
    return (
        f"{error}{now}; {state.step} steps are saved; begin again with {less} or --device cpu, or close what else uses the "
        f"GPU and go on with: {command}"
    )
