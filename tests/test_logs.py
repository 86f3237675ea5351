"""metrics.jsonl over the life of a run, and what a person sees where there is no terminal."""

import json
from pathlib import Path

import pytest

from nerf3d.console import TrainingBar, bar_of_points, say, tracked
from nerf3d.errors import InputError
from nerf3d.logs import EVERY, Logs
from nerf3d.train import Report


def report(step: int, **figures: float) -> Report:
    return Report(step, 0.5 * step, step / 100, {"photometric": float(step)}, figures, 0.01)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_means_over_some_steps_and_the_rest_at_the_end(tmp_path: Path) -> None:
    with Logs(tmp_path, 0) as logs:
        for step in range(1, EVERY + 4):
            logs.add(report(step, psnr=2.0 * step))
    first, second = lines(tmp_path)
    assert first == {
        "step": EVERY,
        "seconds": 0.5 * EVERY,
        "rate": 0.01,
        "loss/photometric": (EVERY + 1) / 2,
        "psnr": EVERY + 1.0,
    }
    assert (second["step"], second["psnr"]) == (EVERY + 3, 2.0 * (EVERY + 2))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_after_a_resume_the_lines_of_steps_to_come_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps({"step": step}) + "\n" for step in (20, 40, 60)) + '{"step": 80, "psn')
    with Logs(tmp_path, 40) as logs:
        logs.add(report(41))
    assert [line["step"] for line in lines(tmp_path)] == [20, 40, 41]
    file.write_bytes(b'{"step": 20}\n\xff\xfe\n')
    with Logs(tmp_path, 40):
        pass
    assert [line["step"] for line in lines(tmp_path)] == [20]
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "tensorboard"}


def test_what_went_wrong_first_is_what_is_said(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written \(Is a directory\)"):
        Logs(tmp_path, 0)
    (tmp_path / "metrics.jsonl").rmdir()

    def log(error: InputError | None) -> None:
        """One line that cannot be written, because a folder is in the file's place; and an error before, or none."""
        with Logs(tmp_path, 0) as logs:
            logs.add(report(1))
            (tmp_path / "metrics.jsonl").mkdir()
            if error is not None:
                raise error

    with pytest.raises(InputError, match="the disk is full"):
        log(InputError("the disk is full"))
    (tmp_path / "metrics.jsonl").rmdir()
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written"):
        log(None)


def test_without_a_terminal_there_is_a_line_every_ten_percent(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TrainingBar(None)
    for step in range(1, 201):
        bar.show(step / 200, f"step {step}")
    bar.show(1.01, "later")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{10 * k:3d} %  step {20 * k}" for k in range(1, 11)]


def test_long_work_says_where_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr("nerf3d.console.monotonic", lambda: float(next(seconds)))
    assert list(tracked(range(10), "render", 10)) == list(range(10))
    assert capsys.readouterr().err.splitlines() == [
        "render 30 %, 28 s left",
        "render 60 %, 16 s left",
        "render 90 %, 4 s left",
    ]
    with bar_of_points("surface") as show:
        show(1, 4)
        show(0, 0)
        show(2, 4)
    assert capsys.readouterr().err.splitlines() == ["surface 50 %, 16 s left"]


def test_lines_are_said_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold]runs/:cat:/é x[/bold] " + 40 * "a long line "
    say(text)
    assert list(tracked("abc", "letters", 3)) == ["a", "b", "c"]
    said = capsys.readouterr()
    assert said.err.splitlines() == [text]
    assert said.out == ""
