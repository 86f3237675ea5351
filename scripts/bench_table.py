"""What the benchmark found out, as a table for people and as a file for programs."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from bench_limits import Limits

from nerf3d.files import write_json
from nerf3d.kernels.backend import Version

REFERENCE: Version = "torch"


@dataclass(frozen=True)
class Row:
    """One pass of one operation: median seconds of each back end, and the least that this machine needs for it.

    `limit` says what takes that least: bytes, gathers, operations; for a whole step, the sum of its parts.
    """

    name: str
    size: str
    passes: str
    seconds: dict[str, float]
    least: float
    limit: str

    def faster(self, version: str) -> float | None:
        """How many times faster than the torch reference."""
        if version not in self.seconds or REFERENCE not in self.seconds:
            return None
        return self.seconds[REFERENCE] / self.seconds[version]

    def above_limit(self, version: str) -> float | None:
        """The measured time by the least."""
        return self.seconds[version] / self.least if version in self.seconds else None


@dataclass
class Report:
    """Everything; a part that was left out or failed is missing, and `failed` says why."""

    machine: dict[str, str | int | None]
    versions: list[Version]
    limits: Limits | None = None
    rows: list[Row] = field(default_factory=list)
    samples_per_second: dict[str, float] = field(default_factory=dict)
    frames_per_second: dict[str, float] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        data = asdict(self)
        for entry, row in zip(data["rows"], self.rows):
            entry["faster"] = {version: row.faster(version) for version in row.seconds}
            entry["above_limit"] = {version: row.above_limit(version) for version in row.seconds}
        if self.limits is not None:
            gather = [{"rows": t[0], "width": t[1], "per_second": rate} for t, rate in self.limits.gather.items()]
            data["limits"] = {"copy": self.limits.copy, "multiply": self.limits.multiply, "gather": gather}
        write_json(path, data)


def machine(device: torch.device, threads: int, quick: bool) -> dict[str, str | int | None]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "kind": device.type,
        "threads": threads,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "numba": _version("numba"),
        "triton": _version("triton"),
        "python": platform.python_version(),
        "inputs": "small" if quick else "full",
    }


def heading(report: Report) -> str:
    said = [f"{key} {value}" for key, value in report.machine.items() if key not in ("device", "kind") and value]
    return f"{report.machine['device']}: {', '.join(said)}"


def limits_line(limits: Limits) -> str:
    gathers = [f"{rate / 1e9:.2f} G/s rows of {w} out of {h}" for (h, w), rate in limits.gather.items()]
    said = [f"copies {limits.copy / 1e9:.1f} GB/s", f"matrix products {limits.multiply / 1e9:.0f} GFLOP/s", *gathers]
    return f"limits: {', '.join(said)}"


def header(versions: Sequence[str]) -> str:
    """For each back end the median; for those beside the reference how many times faster they are; for each how many times
    slower than the limit."""
    cells = "".join(f"{version + ' ms':>12}{'' if version == REFERENCE else '  faster'}" for version in versions)
    above = "".join(f"{version + '/least':>13}" for version in versions)
    return f"{'':58}{cells}{'least ms':>10}  {'limit':10}{above}"


def line(row: Row, versions: Sequence[str]) -> str:
    cells = "".join(
        _number(row.seconds.get(version), 1000, 12)
        + ("" if version == REFERENCE else _number(row.faster(version), 1, 8))
        for version in versions
    )
    above = "".join(_number(row.above_limit(version), 1, 13) for version in versions)
    said = f"{row.name}, {row.size}, {row.passes}"
    return f"{said:58}{cells}{_number(row.least, 1000, 10)}  {row.limit:10}{above}"


def closing(report: Report) -> list[str]:
    lines = []
    if report.samples_per_second:
        rates = (f"{version} {rate / 1000:.0f} k" for version, rate in report.samples_per_second.items())
        lines.append(f"samples a second in training: {', '.join(rates)}")
    if report.frames_per_second:
        rates = (f"{version} {rate:.3g}" for version, rate in report.frames_per_second.items())
        lines.append(f"frames a second, 800 x 800: {', '.join(rates)}")
    if report.peak_memory:
        sizes = (f"{name} {size / 2**20:.0f} MiB" for name, size in report.peak_memory.items())
        lines.append(f"memory at the highest: {', '.join(sizes)}")
    return lines + [f"FAILED {name}: {why}" for name, why in report.failed.items()]


def _number(value: float | None, factor: float, width: int) -> str:
    """Three digits, without exponents; a dash for what is not there."""
    if value is None:
        return f"{'-':>{width}}"
    shown = factor * value
    return f"{shown:>{width}.0f}" if shown >= 1000 else f"{shown:>{width}.3g}"


def _processor() -> str:
    """Linux says what it is called; elsewhere there is what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(module: str) -> str | None:
    try:
        return str(__import__(module).__version__)
    except ImportError:
        return None
