"""`nerf3d bench text --jobs N`: prompts in processes of their own. The list and the means are in test_text.py."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from nerf3d.checkpoint import save
from nerf3d.commands import bench
from nerf3d.commands.judge import Judgement
from nerf3d.commands.side_by_side import Ended, Job, side_by_side
from nerf3d.errors import InputError
from nerf3d.metrics.mesh import MeshHealth
from nerf3d.runs import RunConfig, begin_run
from nerf3d.tasks.text import Text

HEALTH = MeshHealth(60, 100, 1, True, 1.0, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_jobs_say_how_they_ended(tmp_path: Path) -> None:
    jobs = [Job(("--version",), tmp_path / "a" / "0.log"), Job(("render", "nowhere"), tmp_path / "a" / "1.log")]
    ended = sorted(side_by_side(jobs, 2), key=lambda e: e.index)
    assert [(e.index, e.code) for e in ended] == [(0, 0), (1, 2)]
    assert all(e.seconds > 0 for e in ended)
    assert "nerf3d 0" in jobs[0].log.read_text()
    assert "nowhere" in jobs[1].log.read_text()


def test_whoever_stops_listening_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job that sleeps, one that ends: after the first word the others are told to stop, and none begins."""
    program = tmp_path / "sleeper.py"
    program.write_text(
        "import sys, time\n"
        "if 'long' not in sys.argv: sys.exit(3)\n"
        "try:\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt: print('saved', flush=True)\n"
    )
    real = subprocess.Popen

    def instead(command: list[str], **others: Any) -> subprocess.Popen[bytes]:
        assert command[1:3] == ["-m", "nerf3d.cli"]
        return real([sys.executable, str(program), *command[3:]], **others)

    monkeypatch.setattr("nerf3d.commands.side_by_side.subprocess.Popen", instead)
    logs = [tmp_path / f"{i}.log" for i in range(4)]
    jobs = [Job(("long",), logs[0]), Job(("wait",), logs[1]), Job(("long",), logs[2]), Job(("long",), logs[3])]
    ended = side_by_side(jobs, 2)
    assert next(ended).code == 3
    until = time.monotonic() + 20
    while "begun" not in logs[0].read_text() and time.monotonic() < until:
        time.sleep(0.05)
    ended.close()
    assert logs[0].read_text().split() == ["begun", "saved"]
    assert not logs[2].exists() or not logs[3].exists()  # at most one began in the place of the one that ended


def finished(arguments: tuple[str, ...], log: Path) -> int:
    """Leaves what `nerf3d text` would: cows come to nothing."""
    prompt, run = arguments[-1], Path(arguments[arguments.index("--out") + 1])
    begin_run(run, RunConfig(prompt, 0, Text()))
    log.write_text("nerf3d: it is a flat sheet; nothing came of it\n" if "cow" in prompt else "done\n")
    if "cow" in prompt:
        return 1
    (run / "metrics.json").write_text(json.dumps(asdict(Judgement(prompt, 3, HEALTH, 1, prompt))))
    return 0


def test_rows_stand_in_the_order_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def backwards(jobs: list[Job], at_once: int) -> Iterator[Ended]:
        for i in reversed(range(len(jobs))):
            asked.append(jobs[i].arguments)
            yield Ended(i, finished(jobs[i].arguments, jobs[i].log), 10.0 + i)

    monkeypatch.setattr(bench, "side_by_side", backwards)
    (tmp_path / "list.txt").write_text("a red cube\n* a red cow\na --blue cone\n")
    given = (tmp_path / "list.txt", tmp_path / "out", "folder/prior", ("views.count=2",), 7, 2)
    rows = bench.bench_text(*given)
    assert [(r.prompt, r.seconds, r.judgement is None) for r in rows] == [
        ("a red cube", 10.0, False),
        ("a red cow", 11.0, True),
        ("a --blue cone", 12.0, False),
    ]
    wanted = ("--prior", "folder/prior", "--set", "views.count=2", "--seed", "7", "--", "a red cow")
    assert asked[1] == ("text", "--out", str(tmp_path / "out" / "01"), *wanted)
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert table["mean"]["failed"] == 1
    assert (tmp_path / "out" / "sheet.png").is_file()

    asked.clear()
    assert bench.bench_text(*given) == rows
    assert asked == []  # what is done is not done again
    (tmp_path / "out" / "02" / "row.json").unlink()
    with pytest.raises(
        InputError, match="holds a run already"
    ):  # the stand-in begins a run anew; the command goes on with it
        bench.bench_text(*given)
    assert asked == [("text", "--out", str(tmp_path / "out" / "02"), "--resume", "--", "a --blue cone")]


def test_an_error_that_nobody_foresaw_is_no_failed_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(jobs: list[Job], at_once: int) -> Iterator[Ended]:
        jobs[0].log.parent.mkdir()
        jobs[0].log.write_text("Traceback (most recent call last):\nMemoryError\n")
        yield Ended(0, 1, 1.0)

    monkeypatch.setattr(bench, "side_by_side", crashed)
    (tmp_path / "list.txt").write_text("a red cube\n")
    with pytest.raises(InputError, match=r"ended with: MemoryError .*goes on"):
        bench.bench_text(tmp_path / "list.txt", tmp_path / "out", jobs=2)
    assert not list((tmp_path / "out").rglob("row.json"))


def test_the_time_before_a_stop_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin_run(tmp_path / "out" / "00", RunConfig("a red cube", 0, Text()))
    save(run.folder, 5, {"progress": {"seconds": 40.0}})

    def went_on(jobs: list[Job], at_once: int) -> Iterator[Ended]:
        jobs[0].log.write_text("done")
        (run.folder / "metrics.json").write_text(
            json.dumps(asdict(Judgement("a red cube", 3, HEALTH, 1, "a red cube")))
        )
        yield Ended(0, 0, 2.5)

    monkeypatch.setattr(bench, "side_by_side", went_on)
    (tmp_path / "list.txt").write_text("a red cube\n")
    (row,) = bench.bench_text(tmp_path / "list.txt", tmp_path / "out", jobs=2)
    assert row.seconds == 42.5


def test_a_job_that_cannot_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(jobs: list[Job], at_once: int) -> Iterator[Ended]:
        jobs[0].log.parent.mkdir()
        jobs[0].log.write_text("10 %\nnerf3d: there is no such prior\n")
        yield Ended(0, 2, 1.0)

    monkeypatch.setattr(bench, "side_by_side", refused)
    (tmp_path / "list.txt").write_text("a red cube\n")
    with pytest.raises(InputError, match=r"'a red cube' ended with: there is no such prior \(.*00\.log\)"):
        bench.bench_text(tmp_path / "list.txt", tmp_path / "out", jobs=2)
    with pytest.raises(InputError, match="0 prompts cannot be run at once"):
        bench.bench_text(tmp_path / "list.txt", tmp_path / "out", jobs=0)
