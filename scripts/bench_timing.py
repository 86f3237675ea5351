"""How the benchmark measures: versions of one thing take turns, and medians are taken.

A machine that is slow for a second is then slow for all of them, and their ratios stay what they are.
"""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar, get_args

import torch

from nerf3d.kernels.backend import Backend, Version, library_fault, using
from nerf3d.kernels.hash_grid import GridLayout, hash_encode

Result = TypeVar("Result")
Work = Callable[[], object]
Clock = Callable[[Work, int], float]
"""Seconds that some work takes, as a mean over so many calls in a row."""

SHORTEST = 2e-3
"""Seconds that one measurement should last: what is shorter is called several times in a row."""
MOST_CALLS = 100


def stopwatch(device: torch.device) -> Clock:
    """On CUDA the device's own events: the host runs ahead of it, and its clock would time the launches."""

    def on_host(work: Work, calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - begin) / calls

    def on_cuda(work: Work, calls: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000 / calls

    return on_cuda if device.type == "cuda" else on_host


def interleaved(versions: Mapping[str, Work], repeats: int, clock: Clock, calls: int | None = None) -> dict[str, float]:
    """The median seconds of a call of each version. In each repeat every one has its turn, each time another the first.

    The first call may compile and is not counted. `calls` is how often one measurement calls it (None: as often as makes
    a measurement long enough).
    """
    often = {}
    for name, work in versions.items():
        work()
        often[name] = calls or min(max(math.ceil(SHORTEST / max(clock(work, 1), 1e-9)), 1), MOST_CALLS)
    names = list(versions)
    times: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        shift = repeat % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            times[name].append(clock(versions[name], often[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def under(name: Version, work: Callable[[], Result]) -> Callable[[], Result]:
    """The same work with one back end for all kernels."""

    def forced() -> Result:
        with using(name):
            return work()

    return forced


def available(device: torch.device) -> list[Version]:
    """The back ends that answer on this device, the torch reference first: each encodes a few points to show it."""
    layout = GridLayout(levels=2, features=2, log2_table_size=8, coarsest=4, finest=8)
    x, table = torch.rand(16, 3, device=device), torch.rand(layout.entries, 2, device=device)
    found: list[Version] = ["torch"]
    for name in get_args(Backend):
        if name != "torch" and fault(under(name, lambda: hash_encode(x, table, layout))) is None:
            found.append(name)
    if device.type == "cuda" and not library_fault("tcnn", device):
        found.append("tcnn")
    return found


def fault(work: Work) -> str | None:
    """What goes wrong when the work is done once, in one line; None if nothing does.

    Compilers, drivers and kernels each have errors of their own, and one that fails must not keep the rest from being
    measured.
    """
    try:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except Exception as error:
        return one_line(error)
    return None


def one_line(error: Exception) -> str:
    return " ".join([f"{type(error).__name__}:", *str(error).split()])[:300]


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int]]:
    """Bytes at the highest, put into the list at the end: on CUDA those allocated in the block; on a CPU, where no more is
    known, what the whole process had resident at any time so far."""
    peak: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    if device.type == "cuda":
        peak.append(torch.cuda.max_memory_allocated(device))
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak.append(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
