"""What the training scripts have in common: steps that are counted, shown and saved, and go on where they were stopped."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from nerf3d.checkpoint import Stateful, collect, load_latest, restore, save
from nerf3d.commands.training import ctrl_c
from nerf3d.console import training_bar
from nerf3d.ranks import ALONE, Ranks, leads, rank

SAVED_EVERY = 500


def steps(
    folder: Path,
    state: Mapping[str, Stateful | torch.Generator],
    count: int,
    minutes: float,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[int, float]]:
    """Step numbers and the share of the budget that is spent, from wherever the checkpoints in `folder` leave off.

    The budget is a number of steps or of minutes of training, whichever ends first. After Ctrl-C the step is finished and
    saved before KeyboardInterrupt is raised, so that going on gives the same weights as never having stopped. Of several
    `ranks` that train together the leader counts the time and saves; the others draw other numbers from the generators in
    `state`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = load_latest(folder)
    step, seconds = 0, 0.0
    if checkpoint is not None:
        restore(state, checkpoint)
        step, seconds = checkpoint.step, checkpoint.state["seconds"]
    if not leads():
        for generator in (g for g in state.values() if isinstance(g, torch.Generator)):
            generator.manual_seed(generator.initial_seed() + rank() + (step << 8))
    first, begin = step, time.perf_counter()

    def spent() -> float:
        return ranks.leaders(seconds + time.perf_counter() - begin)

    def progress() -> float:
        return max(step / count, spent() / 60 / minutes)

    def keep() -> None:
        now = spent()
        if leads():
            save(folder, step, collect(state) | {"seconds": now}, keep=1)

    with ctrl_c() as pressed, training_bar() as bar:
        while progress() < 1:
            yield step, progress()
            step += 1
            pace = (time.perf_counter() - begin) / (step - first)
            left = spent() * (1 - progress()) / max(progress(), 1e-6) / 60
            bar.show(progress(), f"{folder.name} step {step}  {pace:.2f} s a step  {left:.0f} min left")
            stopped = ranks.any(pressed.is_set)
            if step % SAVED_EVERY == 0 or stopped:
                keep()
            if stopped:
                raise KeyboardInterrupt
        if step > first:
            keep()
