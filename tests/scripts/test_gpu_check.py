"""`scripts/gpu_check` with commands that take no time: what is run, what is kept, how it ends."""

import json
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import gpu_parts  # noqa: E402
from gpu_parts import Part, run_parts, write_summary  # noqa: E402


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-S", "-c", code


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script itself, which has no suffix, on a machine without a GPU."""
    loader = SourceFileLoader("gpu_check_door", str(SCRIPTS / "gpu_check"))
    spec = spec_from_loader("gpu_check_door", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return module


def begin(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *given: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_check", *given])
    return int(script.main())


def test_a_part_that_fails_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    draw = f"open({str(tmp_path / 'b.png')!r}, 'w').write('picture')"
    parts = [
        Part("first", python("print('no luck'); raise SystemExit(3)"), 20),
        Part("nowhere", (str(tmp_path / "no such program"),), 20),
        Part("killed", python("import os; os.kill(os.getpid(), 9)"), 20, lambda _: {"never": json.loads("")}),
        Part("second", python(f"{draw}; print('7 passed')"), 20, lambda said: {"said": said.strip()}, ("*.png",)),
    ]
    outcomes = list(run_parts(parts, tmp_path))
    assert [o.ended for o in outcomes] == [
        *("exit code 3", "could not begin (No such file or directory)", "killed by SIGKILL", "well")
    ]
    assert [o.last for o in outcomes] == ["no luck", "it said nothing", "it said nothing", "7 passed"]
    assert outcomes[2].figures == {}
    assert outcomes[3].figures == {"said": "7 passed"}
    assert outcomes[3].pictures == ("pictures/second_b.png",)
    assert (tmp_path / "pictures" / "second_b.png").read_text() == "picture"
    assert (tmp_path / "logs" / "first.log").read_text() == "no luck\n"


def test_a_part_that_takes_too_long_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_parts, "GRACE", 0.2)
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(3); open({str(mark)!r}, 'w')"
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        f"subprocess.Popen([sys.executable, '-S', '-c', {child!r}]); print('begun', flush=True); time.sleep(60)"
    )
    begun = time.perf_counter()
    (outcome,) = run_parts([Part("stubborn", python(stubborn), 1.5)], tmp_path)
    assert outcome.ended == "took too long"
    assert outcome.seconds < 30
    time.sleep(max(begun + 6 - time.perf_counter(), 0))
    assert not mark.exists()


def test_the_summary_says_what_is_known_so_far(tmp_path: Path) -> None:
    parts = [
        Part("good", python("pass"), 20, lambda _: {"rate": {"a": 12345.6}, "dB": 30.5, "no": {}}),
        Part("bad", python("raise SystemExit(1)"), 20),
    ]
    outcomes = list(run_parts(parts, tmp_path))
    text = write_summary(tmp_path, {"device": "a machine"}, outcomes[:1], 2)
    assert "1 of 2 parts went well, 1 were run" in text
    assert json.loads((tmp_path / "summary.json").read_text())["passed"] is False
    text = write_summary(tmp_path, {"device": "a machine"}, outcomes, 2)
    assert (tmp_path / "summary.txt").read_text() == text
    assert [line.strip() for line in text.splitlines()][5:7] == ["rate: a 12346", "dB: 30.5"]
    assert "exit code 1: it said nothing" in text
    data = json.loads((tmp_path / "summary.json").read_text())
    assert [part["ended"] for part in data["parts"]] == ["well", "exit code 1"]
    assert data["machine"] == {"device": "a machine"}


@pytest.mark.parametrize("fails", [False, True])
def test_exit_codes(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    fake = [Part("good", python("pass"), 20), Part("other", python(f"raise SystemExit({int(fails)})"), 20)]
    monkeypatch.setattr(script, "parts", lambda arguments: fake)
    assert begin(script, monkeypatch, "--device", "cpu", "--quick", "--out", str(tmp_path / "out")) == int(fails)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["passed"] is not fails


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no CUDA device"),
        (["--quick"], "no CUDA device"),
        (["--device", "cpu"], "add --quick"),
        (["--device", "cpu", "--quick", "--chair", "nowhere"], "nowhere is no folder"),
        (["--device", "cpu", "--quick", "--out", str(SCRIPTS)], "is there already"),
    ],
)
def test_where_nothing_can_begin_it_says_so_in_one_sentence(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    said: str,
) -> None:
    assert begin(script, monkeypatch, *given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("quick", [False, True])
def test_the_parts_take_ten_minutes_at_most(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--out", str(tmp_path), *(["--quick"] if quick else [])])
    parts = script.parts(script.parse())
    assert [part.name for part in parts] == ["doctor", "tests", "bench", "fit", "text", "collect", "gen"]
    assert sum(part.seconds for part in parts) <= 600
    said = {part.name: " ".join(part.command) for part in parts}
    assert all("--device cuda" in said[name] for name in ("bench", "fit", "text", "gen"))
    assert ("--quick" in said["bench"]) == quick
    assert ("--max-minutes 2" in said["fit"]) != quick
    assert "nerf3d text a red mug" in said["text"]
    assert all((SCRIPTS.parent / word).exists() for word in parts[1].command if word.startswith("tests/"))


def test_figures_are_read_from_what_the_parts_say(script: ModuleType, tmp_path: Path) -> None:
    assert script.counted("...\n3 failed, 40 passed, 2 skipped in 5.1s\n") == {"failed": 3, "passed": 40, "skipped": 2}
    said = "120 steps in 118 s; the run is in x\n33.51 dB on 4 of 25 photographs that it did not see\n"
    assert script.fitted(said) == {"steps": 120, "training seconds": 118, "held-out dB": 33.51, "photographs": 4}
    assert script.fitted("") == {}
    kept = {"samples_per_second": {"torch": 1.0}, "frames_per_second": {}, "peak_memory": {}, "failed": {}}
    (tmp_path / "bench.json").write_text(json.dumps({**kept, "rows": []}))
    assert script.benched(tmp_path / "bench.json") == kept
