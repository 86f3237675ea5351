"""The parts of the benchmark: each times its versions in turns and writes what it found into the report."""

from collections.abc import Callable
from typing import TypeVar

import torch
from bench_limits import Limits, measure
from bench_operations import Operation, operations, step_costs
from bench_rivals import rival_step
from bench_scene import Bench, make_scene, picture, training_step
from bench_table import REFERENCE, Report, Row
from bench_timing import fault, interleaved, one_line, peak_memory, stopwatch, under

from nerf3d.kernels.backend import using

Result = TypeVar("Result")


def prepare(rays: int, device: torch.device, with_kernels: bool, quick: bool) -> tuple[Bench, list[Operation], Limits]:
    """What is measured, and what it is measured against. Inputs are made by the reference: whatever is wrong with another
    back end is then found where its turn is."""
    with using(REFERENCE):
        bench = make_scene(rays, device)
        found = list(operations(bench)) if with_kernels else []
    costs = [operation.cost for operation in found] + step_costs(1, rays)
    return bench, found, measure(device, {cost.table for cost in costs if cost.table is not None}, quick)


def time_operation(operation: Operation, report: Report, limits: Limits, device: torch.device, repeats: int) -> Row:
    name = f"{operation.name}, {operation.passes}"
    sound = _sound(name, {version: under(version, operation.work) for version in report.versions}, report)
    seconds = interleaved(sound, repeats, stopwatch(device))
    row = Row(operation.name, operation.size, operation.passes, seconds, *limits.bound(operation.cost))
    report.rows.append(row)
    return row


def time_step(bench: Bench, report: Report, limits: Limits, repeats: int, against: str | None) -> Row:
    """The training step of every back end, and of another program if one was asked for; samples a second, memory."""
    step = training_step(bench)
    steps: dict[str, Callable[[], int]] = {version: under(version, step) for version in report.versions}
    if against is not None:
        try:
            steps[against] = rival_step(against, bench)
        except Exception as error:  # it was imported; what its own parts then raise is its own
            report.failed[against] = one_line(error)
    sound = _sound("training step", steps, report)
    samples = {}
    for version, work in sound.items():
        with peak_memory(bench.device) as peak:
            samples[version] = work()
        report.peak_memory[version if bench.device.type == "cuda" else "the whole process"] = peak[0]
    seconds = interleaved(sound, repeats, stopwatch(bench.device))
    count, rays = max(samples.values(), default=0), len(bench.rays)
    least = sum(limits.bound(cost)[0] for cost in step_costs(count, rays))
    row = Row("training step", f"{rays} rays, {count} samples", "both", seconds, least, "sum")
    report.rows.append(row)
    report.samples_per_second = {version: samples[version] / seconds[version] for version in seconds}
    return row


def time_frames(report: Report, side: int, device: torch.device, repeats: int) -> None:
    """Whole pictures; the first one warms up, and each call is measured by itself."""
    with using(REFERENCE):
        work = picture(side, device)
    sound = _sound("pictures", {version: under(version, work) for version in report.versions}, report)
    seconds = interleaved(sound, repeats, stopwatch(device), calls=1)
    report.frames_per_second = {version: 1 / spent for version, spent in seconds.items()}


def _sound(name: str, versions: dict[str, Callable[[], Result]], report: Report) -> dict[str, Callable[[], Result]]:
    """Those versions that get through once; the report says what is wrong with the others."""
    faults = {version: fault(work) for version, work in versions.items()}
    report.failed |= {f"{name}, {version}": why for version, why in faults.items() if why is not None}
    return {version: work for version, work in versions.items() if faults[version] is None}
