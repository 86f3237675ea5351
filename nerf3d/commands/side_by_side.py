"""Several commands of this program at once, each in a process of its own with its share of the processor's cores."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread

MOST_JOBS = 64
LOOK_EVERY = 0.2
"""Seconds between two looks at what runs."""
PATIENCE = 120.0
"""Seconds that a job may take to save itself when it is told to stop."""


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


@dataclass(frozen=True)
class _Running:
    index: int
    process: subprocess.Popen[bytes]
    began: float


def side_by_side(jobs: list[Job], at_once: int) -> Iterator[Ended]:
    """Run the jobs, so many at a time, and say of each that it has ended, in the order in which they do.

    When whoever listens stops (by Ctrl-C, by an error, by being terminated), those that run are told to stop and to save
    themselves, and are waited for; the others do not begin. They never outlive this process unless it is killed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(cores // at_once, 1))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    waiting = list(enumerate(jobs))
    running: list[_Running] = []
    with _termination_as_ctrl_c():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    index, job = waiting.pop(0)
                    running.append(_Running(index, _started(job, environment), time.perf_counter()))
                time.sleep(LOOK_EVERY)
                for over in [r for r in running if r.process.poll() is not None]:
                    running.remove(over)
                    yield Ended(over.index, over.process.returncode, time.perf_counter() - over.began)
        finally:
            _stop([r.process for r in running])


def _started(job: Job, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches it through this process alone, and so once only."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nerf3d.cli", *job.arguments]
    with job.log.open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if os.name == "posix":
            process.send_signal(signal.SIGINT)
        else:
            process.terminate()
    until = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _termination_as_ctrl_c() -> Iterator[None]:
    """A request to end ends this process by KeyboardInterrupt, so that it cleans up behind itself."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
