"""What each of two processes does in tests/test_ranks.py: `python tests/pair.py full`, or `learn COMMAND` of nerf3d."""

import sys
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from nerf3d.commands.memory import steps
from nerf3d.commands.training import run_training
from nerf3d.core import Group, Task, Update
from nerf3d.core.schedules import Constant
from nerf3d.ranks import joined, rank
from nerf3d.runs import Run
from nerf3d.train import Budget, OutOfMemory, Progress, begin


class Full(torch.autograd.Function):
    """Passes a number on, but has no memory to do so backwards."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, slope):
        raise torch.OutOfMemoryError("CUDA out of memory")


class Narrow:
    """Of this the second process has no room for a size of 8 before its loss is known in step 1, and for none at all in
    step 3, behind its loss. Each counts in steps of its own.
    """

    def __init__(self) -> None:
        self.number, self.size, self.count = nn.Parameter(torch.zeros(())), 8, torch.zeros(())

    def players(self) -> dict[str, list[Group]]:
        return {"scene": [Group([self.number], Constant(1.0))]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        self.count += 1 + rank()
        if rank() == 1 and step == 1 and self.size == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        loss = self.number * self.size
        loss = Full.apply(loss) if rank() == 1 and step == 3 else loss  # type: ignore[no-untyped-call]
        yield Update("scene", {"slope": loss}, {"rank": float(rank())})

    def tracked(self) -> list[torch.Tensor]:
        return [self.count]

    def budget(self) -> str:
        return f"size={self.size}"

    def halve(self) -> bool:
        self.size //= 2
        return True


def full() -> None:
    with joined(torch.device("cpu")) as ranks:
        task = Narrow()
        state = begin(task, torch.Generator(), torch.optim.SGD)
        try:
            for report in steps(task, state, Budget(steps=9), {}, 0, ranks):
                figure, counted = report.figures["rank"], float(task.count)
        except OutOfMemory as error:
            print(state.step, task.size, float(task.number), figure, counted, state.halvings, error)


def learn(command: list[str]) -> int:
    """Says in the end how large all numbers are that the run keeps, but for those of an occupancy grid and of a rank's own
    pace. A prompt's soon count as fog.
    """
    from test_text import WantsABall

    from nerf3d import cli
    from nerf3d.commands import fit_avatar, fit_generator, text
    from nerf3d.tasks.text import collapse

    collapse.MOST = 0.01
    text.guidance_of = lambda *_: WantsABall()  # type: ignore[assignment]
    text.run_training = fit_generator.run_training = fit_avatar.run_training = watched
    return cli.main(command)


def watched(run: Run, task: Task, kept: Mapping[str, nn.Module], *others) -> Progress:  # type: ignore[no-untyped-def]
    try:
        return run_training(run, task, kept, *others)
    finally:
        state = {name: t for module in kept.values() for name, t in module.state_dict().items()}
        print(
            sum(float(t.double().abs().sum()) for name, t in state.items() if "sampler" not in name and name != "share")
        )


if __name__ == "__main__":
    sys.exit(full() if sys.argv[1] == "full" else learn(sys.argv[2:]))
