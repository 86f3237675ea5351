"""Several processes that train one thing, as torchrun starts them: one for every GPU, or several on a CPU.

    torchrun --nproc-per-node 2 -m nerf3d fit photos/ --out runs/mine

Every process, a rank, draws rays (or objects, or pictures) of its own, and before every update their gradients are averaged:
all ranks hold the same parameters at all times, as if one process had seen a batch so many times larger. Rank 0 leads: its
clock is the run's, and it alone writes and speaks. Whatever decides how a run goes on (its end, Ctrl-C, a number that is
lost, memory that does not suffice) is asked of all ranks at once, so that no rank goes on alone. A rank that has died is
noticed within `PATIENCE`.

Buffers are not averaged: an occupancy grid is each rank's own, and the leader's is kept. What all have to agree on (a
codebook) a task names (`core.Tracking`), and after every step all have the leader's; of tables of which each rank moved
other rows (`core.Tabular`), all have all.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Int64
from torch import Tensor, nn

from nerf3d.errors import FailedError, InputError

PATIENCE = 120.0
"""Seconds that a rank waits for another."""
T = TypeVar("T")


def count() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this process writes and speaks."""
    return rank() == 0


def check_alone(what: str) -> None:
    """InputError under torchrun, for what one process has to do by itself."""
    if count() > 1:
        raise InputError(f"{what} cannot be shared by several processes; start it without torchrun")


def own_device(device: torch.device) -> torch.device:
    """This rank's own GPU, where GPUs are asked for and more than one process runs."""
    if device.type != "cuda" or count() == 1:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@dataclass(frozen=True)
class Ranks:
    """What ranks do together. With one alone, nothing. Raises FailedError where another rank does not answer."""

    count: int
    device: torch.device

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean of all ranks' gradients in the place of each rank's own; a rank without one counts as zero."""
        if self.count == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        self._reduced(flat)
        for p, part in zip(learning, flat.div_(self.count).split([p.numel() for p in learning]), strict=True):
            p.grad = torch.empty_like(p) if p.grad is None else p.grad  # in the parameter's own layout
            p.grad.copy_(part.view(p.shape))

    def any(self, here: bool) -> bool:
        """Whether it is so for any rank."""
        if self.count == 1:
            return here
        return self._of_all([float(here)], dist.ReduceOp.MAX)[0] > 0

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """Of each of some numbers, over all ranks; not a number where any rank's is none."""
        if self.count == 1:
            return list(numbers)
        return [total / self.count for total in self._of_all(numbers)]

    def least(self, number: float) -> float:
        """The smallest of all ranks' numbers."""
        return number if self.count == 1 else self._of_all([number], dist.ReduceOp.MIN)[0]

    def leaders(self, number: float) -> float:
        """The number that the leader has."""
        return number if self.count == 1 else self._of_all([number if leads() else 0.0])[0]

    def together(self, work: Callable[[], T]) -> T:
        """What some work gives; torch.OutOfMemoryError for all ranks where a rank's memory does not hold it."""
        if self.count == 1:
            return work()
        done: list[T] = []
        with suppress(torch.OutOfMemoryError):  # behind it the error is gone, with all tensors that its traceback holds
            done.append(work())
        if self.any(not done):
            raise torch.OutOfMemoryError("a step is more than the memory of one of the processes holds")
        return done[0]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """The leader's parameters or buffers for all, in place."""
        if self.count == 1:
            return
        for tensor in tensors:
            sent = tensor.data.to(self.device)  # some buffers stay on the CPU, and NCCL knows GPUs only
            self._asked(lambda sent=sent: dist.broadcast(sent, 0))  # type: ignore[misc]
            tensor.data.copy_(sent)

    def exchange(self, rows: Int64[Tensor, "k"], tables: Sequence[Tensor]) -> None:
        """For all what each rank has in its own `rows` of tables, in place; of a row that several name, the first one's."""
        if self.count == 1:
            return
        counts = [0.0] * self.count
        counts[rank()] = float(len(rows))
        for source, count in enumerate(map(int, self._of_all(counts))):
            if not count:
                continue
            at = self._from(source, rows, (count,)).to(rows.device)
            for table in tables:
                table[at] = self._from(source, table[at], (count, *table.shape[1:])).to(table)

    def _from(self, source: int, here: Tensor, shape: Sequence[int]) -> Tensor:
        """A tensor of another rank, or the one that is here if this is that rank."""
        empty = torch.empty(shape, dtype=here.dtype, device=self.device)
        sent = here.to(self.device).contiguous() if rank() == source else empty
        self._asked(lambda: dist.broadcast(sent, source))
        return sent

    def _of_all(self, numbers: Sequence[float], how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> list[float]:
        found: list[float] = self._reduced(torch.tensor(numbers, dtype=torch.float64, device=self.device), how).tolist()
        return found

    def _reduced(self, tensor: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        self._asked(lambda: dist.all_reduce(tensor, how))
        return tensor

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except RuntimeError as error:  # torch's DistBackendError is one
            raise FailedError(
                "another process of this run is gone or does not answer; what was saved can be gone on with (--resume)"
            ) from error


ALONE = Ranks(1, torch.device("cpu"))


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """All ranks of this run; alone where torchrun started no more than one."""
    if count() == 1:
        yield ALONE
        return
    began = not dist.is_initialized()
    if began:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=PATIENCE))
    try:
        yield Ranks(count(), device)
    finally:
        if began:
            dist.destroy_process_group()
