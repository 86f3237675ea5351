"""A run's numbers over time: metrics.jsonl for programs, TensorBoard events for people."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from nerf3d.errors import InputError
from nerf3d.train import Report

EVERY = 20  # steps that one line sums up


class Logs:
    """Collects reports and writes the means of every EVERY steps. After a resume, lines of steps yet to come are cut.

    InputError where the disk is full. But if something else went wrong before, that is what the person is told.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / "metrics.jsonl"
        with self._refusals():
            if self._path.exists():
                lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
                kept = [line for line in lines if _step_of(line) <= step]
                unfinished = self._path.with_name(".metrics.jsonl.unfinished")
                unfinished.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
                unfinished.replace(self._path)
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._reports: list[Report] = []

    def __enter__(self) -> "Logs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, InputError) if value is not None else self._refusals():
            try:
                self._write()
            finally:
                self._events.close()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self._path} cannot be written ({reason}); make room there and use --resume") from error

    def add(self, report: Report) -> None:
        self._reports.append(report)
        if len(self._reports) == EVERY:
            self._write()

    def _write(self) -> None:
        if not self._reports:
            return
        last = self._reports[-1]
        numbers = {"rate": last.rate}
        for name in last.losses:
            numbers[f"loss/{name}"] = _mean([r.losses[name] for r in self._reports if name in r.losses])
        for name in last.figures:
            numbers[name] = _mean([r.figures[name] for r in self._reports if name in r.figures])
        self._reports.clear()
        with self._refusals():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": last.step, "seconds": round(last.seconds, 3), **numbers}) + "\n")
            for name, number in numbers.items():
                self._events.add_scalar(name, number, last.step)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line that a crash cut off
