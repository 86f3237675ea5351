"""What this machine can do at best: copies, gathers, matrix products. And what that means for an operation.

These are measured rates, not those of a data sheet. An operation may beat one of them: where its arrays stay in a cache,
where it looks for rows in an order that is not random, where a GPU multiplies in less than single precision. A measured
time far below a limit says that; one that is a little above says that there is nothing left to gain.
"""

from dataclasses import dataclass

import torch
from bench_costs import Cost
from bench_timing import Clock, Work, stopwatch

from nerf3d.kernels.backend import numba_works

Table = tuple[int, int]


@dataclass(frozen=True)
class Limits:
    """Bytes, operations and gathers a second; gathers for each table, (rows, floats a row)."""

    copy: float
    multiply: float
    gather: dict[Table, float]

    def bound(self, cost: Cost) -> tuple[float, str]:
        """The seconds that the operation takes at least, and what it is that takes so long."""
        seconds = {"bytes": cost.bytes / self.copy, "operations": cost.operations / self.multiply}
        if cost.table is not None:
            seconds["gathers"] = cost.gathers / self.gather[cost.table]
        which = max(seconds, key=lambda name: seconds[name])
        return seconds[which], which


def measure(device: torch.device, tables: set[Table], quick: bool) -> Limits:
    clock, repeats = stopwatch(device), 3 if quick else 9
    return Limits(
        _copy(device, clock, repeats, quick),
        _multiply(device, clock, repeats, quick),
        {table: _gather(table, device, clock, repeats, quick) for table in sorted(tables)},
    )


def _best(work: Work, clock: Clock, repeats: int) -> float:
    """The least of the times: a limit is what the machine can do when nothing is in the way."""
    work()
    return min(clock(work, 1) for _ in range(repeats))


def _copy(device: torch.device, clock: Clock, repeats: int, quick: bool) -> float:
    """Bytes read and bytes written, both counted; arrays that no cache holds."""
    count = 2**22 if quick else 2**28 if device.type == "cuda" else 2**26
    source, target = torch.ones(count, device=device), torch.empty(count, device=device)
    return 2 * 4 * count / _best(lambda: target.copy_(source), clock, repeats)


def _multiply(device: torch.device, clock: Clock, repeats: int, quick: bool) -> float:
    """Of square matrices in single precision, a multiplication and an addition counted as two."""
    side = 512 if quick else 8192 if device.type == "cuda" else 2048
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    out = torch.empty(side, side, device=device)
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=out), clock, repeats)


def _gather(table: Table, device: torch.device, clock: Clock, repeats: int, quick: bool) -> float:
    """On CUDA, and where there is no numba, torch's own selection of rows: it reads a list of indices and writes what it
    found, so that kernels which do neither may be faster."""
    height, width = table
    count = 2**18 if quick else 2**26 if device.type == "cuda" else 2**23
    values = torch.rand(height, width, device=device)
    if device.type == "cpu" and numba_works():
        from bench_gather_numba import PARTS, gatherer

        flat, total, each = values.view(-1).numpy(), torch.empty(PARTS).numpy(), count // PARTS
        return PARTS * each / _best(lambda: gatherer(width)(flat, each, total), clock, repeats)
    index = torch.randint(height, (count // width,), device=device, dtype=torch.int32)
    out = torch.empty(len(index), width, device=device)
    return len(index) / _best(lambda: torch.index_select(values, 0, index, out=out), clock, repeats)
