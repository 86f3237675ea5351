"""Commands one after the other, each with a limit of its own, and what became of them: a failure ends its part alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nerf3d.files import whole_file, write_json

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 160
GRACE = 10.0
"""Seconds in which a part that ran too long may save what it has."""

Figures = dict[str, object]


@dataclass(frozen=True)
class Part:
    """A command that writes below `out`. `figures` reads numbers from what it said and left; of the files that match one of
    the `pictures` (patterns in `out`) the last one is kept.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    figures: Callable[[str], Figures] = lambda said: {}
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """`ended` is "well", or says what went wrong; `last` are the last words in the part's log."""

    name: str
    command: tuple[str, ...]
    ended: str
    seconds: float
    limit: float
    last: str
    figures: Figures = field(default_factory=dict)
    pictures: tuple[str, ...] = ()


def run_parts(parts: list[Part], out: Path) -> Iterator[Outcome]:
    """All of them in order; logs go to OUT/logs, pictures to OUT/pictures."""
    for part in parts:
        log = out / "logs" / f"{part.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        ended = _ended(part, log)
        seconds = time.perf_counter() - begin
        said = log.read_text(encoding="utf-8", errors="replace")
        words = [line.strip() for line in said.splitlines() if line.strip()]
        last = words[-1][:MOST_WORDS] if words else "it said nothing"
        yield Outcome(
            part.name, part.command, ended, seconds, part.seconds, last, _figures(part, said), _pictures(part, out)
        )


def write_summary(out: Path, machine: Figures, outcomes: list[Outcome], expected: int) -> str:
    """summary.json, and summary.txt with the text that is returned. Written after every part: what is known stays known."""
    well = sum(outcome.ended == "well" for outcome in outcomes)
    lines = [", ".join(f"{key} {value}" for key, value in machine.items())]
    lines += [f"{well} of {expected} parts went well, {len(outcomes)} were run", ""]
    lines += [f"{'part':10} {'seconds':>8} {'limit':>6}  how it ended"]
    for outcome in outcomes:
        ended = outcome.ended if outcome.ended == "well" else f"{outcome.ended}: {outcome.last}"
        lines.append(f"{outcome.name:10} {outcome.seconds:8.1f} {outcome.limit:6.0f}  {ended}")
        lines += [f"{'':27}{key}: {_shown(value)}" for key, value in outcome.figures.items() if value != {}]
        lines += [f"{'':27}{picture}" for picture in outcome.pictures]
    text = "\n".join(lines) + "\n"
    passed = well == expected
    write_json(out / "summary.json", {"passed": passed, "machine": machine, "parts": [asdict(o) for o in outcomes]})
    with whole_file(out / "summary.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _shown(value: object) -> str:
    """A number in four digits, several with their names."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return str(value)


def _ended(part: Part, log: Path) -> str:
    """In a session of its own, so that whatever it starts ends with it. Nothing is asked of the network."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with log.open("wb") as said:
        try:
            process = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"could not begin ({error.strerror})"
        try:
            code = process.wait(part.seconds)
        except subprocess.TimeoutExpired:
            return "took too long"
        finally:
            _stop(process)
    return "well" if code == 0 else f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """First as by Ctrl-C; then the process and all that it started, which is nothing where it ended by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _figures(part: Part, said: str) -> Figures:
    """A part that failed may have left nothing, or half of it."""
    try:
        return part.figures(said)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{part.name}: no figures ({error})", file=sys.stderr)
        return {}


def _pictures(part: Part, out: Path) -> tuple[str, ...]:
    kept = []
    for pattern in part.pictures:
        for source in sorted(out.glob(pattern))[-1:]:
            target = out / "pictures" / f"{part.name}_{source.name}"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
            kept.append(str(target.relative_to(out)))
    return tuple(kept)
