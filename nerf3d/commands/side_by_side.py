"""Several commands of this program at once, each in a process of its own with its share of the processor's cores."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

MOST_JOBS = 64


@dataclass(frozen=True)
class Job:
    """What comes after `nerf3d` on the command line, and the file that gets all that it says."""

    arguments: tuple[str, ...]
    log: Path


@dataclass(frozen=True)
class Ended:
    """How one of the jobs ended: its place among them, its exit code, and how long it took from start to end."""

    index: int
    code: int
    seconds: float


def side_by_side(jobs: list[Job], at_once: int) -> Iterator[Ended]:
    """Run the jobs, so many at a time, and say of each that it has ended, in the order in which they do.

    Whoever stops listening (Ctrl-C, which the jobs get too) waits for those that run; the others do not begin.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(cores // at_once, 1))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    with ThreadPoolExecutor(at_once) as pool:
        running: list[Future[Ended]] = [pool.submit(_run, i, job, environment) for i, job in enumerate(jobs)]
        try:
            for done in as_completed(running):
                yield done.result()
        finally:
            for future in running:
                future.cancel()


def _run(index: int, job: Job, environment: dict[str, str]) -> Ended:
    began = time.perf_counter()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        command = [sys.executable, "-m", "nerf3d.cli", *job.arguments]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment).returncode
    return Ended(index, code, time.perf_counter() - began)
