"""`nerf3d bench text`: a list of prompts, one table and one sheet of pictures."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.assets import PROMPTS
from nerf3d.checkpoint import load_latest
from nerf3d.commands.judge import Judgement, judged
from nerf3d.commands.side_by_side import MOST_JOBS, Job, side_by_side
from nerf3d.commands.text import check_prompt, text
from nerf3d.console import say
from nerf3d.errors import InputError
from nerf3d.export.pictures import contact_sheet, write_picture
from nerf3d.files import write_json
from nerf3d.runs import open_run

UNSEEN = "*"
SAID = "nerf3d: "
"""How the last words of a command begin that knows why it ends."""


@dataclass(frozen=True)
class Prompt:
    text: str
    unseen: bool
    """Whether the list marks it as a pair of noun and colour that the embedded prior has never met."""


@dataclass(frozen=True)
class Row:
    """One prompt's figures. A run that failed has no judgement and counts as wrong."""

    prompt: str
    unseen: bool
    seconds: float
    judgement: Judgement | None


def bench_text(
    prompts: Path | None = None,
    out: Path | str = "runs/bench-text",
    prior: str | None = None,
    settings: tuple[str, ...] = (),
    seed: int = 0,
    jobs: int = 1,
) -> list[Row]:
    """Run every prompt of a file (None: the list that comes with the program), judge it, and write table.json and
    sheet.png into `out`. What is there already is not done again: a stopped bench goes on where it was.

    `jobs` prompts are run at once, each in a process with its share of the cores; what they say goes to NN.log.
    """
    folder = Path(out)
    if not 1 <= jobs <= MOST_JOBS:
        raise InputError(f"{jobs} prompts cannot be run at once; give a number from 1 to {MOST_JOBS}")
    wanted = read_prompts(prompts or PROMPTS / "bench.txt")
    runs = [folder / f"{index:02d}" for index in range(len(wanted))]
    rows = [_known(run, prompt) for run, prompt in zip(runs, wanted)]
    for row in rows:
        if row is not None:
            say(line(row))
    missing = [index for index, row in enumerate(rows) if row is None]
    options = _Options(prior, settings, seed)
    done = _one_by_one(missing, wanted, runs, options) if jobs == 1 else _at_once(missing, wanted, runs, options, jobs)
    earlier = {index: _spent(runs[index]) for index in missing}
    for index, took, judgement in done:
        seconds = earlier[index] + took
        row = Row(wanted[index].text, wanted[index].unseen, seconds, judgement)
        write_json(runs[index] / "row.json", {"seconds": seconds, "failed": judgement is None})
        rows[index] = row
        say(line(row))
        _write(folder, rows)
    _write(folder, rows)
    return [row for row in rows if row is not None]


@dataclass(frozen=True)
class _Options:
    """As in `nerf3d text`."""

    prior: str | None
    settings: tuple[str, ...]
    seed: int


Done = Iterator[tuple[int, float, Judgement | None]]


def _one_by_one(missing: list[int], prompts: list[Prompt], runs: list[Path], options: _Options) -> Done:
    for index in missing:
        run, started = runs[index], time.perf_counter()
        resume = (run / "config.yaml").exists()
        outcome = text(
            prompts[index].text, run, options.prior, None, options.settings, seed=options.seed, resume=resume
        )
        yield index, time.perf_counter() - started, outcome.judgement


def _at_once(missing: list[int], prompts: list[Prompt], runs: list[Path], options: _Options, jobs: int) -> Done:
    work = [Job(_arguments(prompts[i].text, runs[i], options), runs[i].with_suffix(".log")) for i in missing]
    for ended in side_by_side(work, jobs):
        index, job = missing[ended.index], work[ended.index]
        last = _last_words(job.log)
        # Exit code 1 says that nothing came of it, but it is also Python's own for an error that nobody foresaw.
        if ended.code == 0 or (ended.code == 1 and last.startswith(SAID)):
            yield index, ended.seconds, judged(runs[index]) if ended.code == 0 else None
        else:
            raise InputError(
                f"{prompts[index].text!r} ended with: {last.removeprefix(SAID)} ({job.log}); the same command goes on "
                "with what is not done yet"
            )


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _spent(run: Path) -> float:
    """Seconds that a run which was stopped had been trained for."""
    checkpoint = load_latest(run)
    return float(checkpoint.state["progress"]["seconds"]) if checkpoint is not None else 0.0


def _arguments(prompt: str, run: Path, options: _Options) -> tuple[str, ...]:
    said = ["text", "--out", str(run)]
    if (run / "config.yaml").exists():
        return (*said, "--resume", "--", prompt)
    if options.prior is not None:
        said += ["--prior", options.prior]
    for setting in options.settings:
        said += ["--set", setting]
    return (*said, "--seed", str(options.seed), "--", prompt)


def read_prompts(file: Path) -> list[Prompt]:
    """One prompt a line; a star before it marks it as unseen, and # begins a comment."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as a list of prompts ({error}); write one prompt a line") from error
    kept = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    found = [Prompt(line.removeprefix(UNSEEN).strip(), line.startswith(UNSEEN)) for line in kept]
    if not found:
        raise InputError(f"{file} holds no prompts; write one a line")
    for prompt in found:
        check_prompt(prompt.text)
    return found


def summary(rows: list[Row]) -> dict[str, float | None]:
    """Means over the prompts: shares of right answers, and seconds."""

    def share(values: list[bool]) -> float | None:
        return sum(values) / len(values) if values else None

    known = [r for r in rows if r.judgement is None or r.judgement.rank_color is not None]
    single = [r for r in rows if r.judgement is None or r.judgement.rank_textureless is not None]
    fronts = [r.judgement for r in rows if r.judgement is not None and r.judgement.janus is not None]
    return {
        "r_precision_color": share([right(r) for r in known]),
        "r_precision_color_unseen": share([right(r) for r in known if r.unseen]),
        "r_precision_geometry": share([r.judgement is not None and r.judgement.rank_textureless == 1 for r in single]),
        "without_second_front": share([(j.janus or 0.0) <= 0.5 for j in fronts]),
        "failed": sum(r.judgement is None for r in rows),
        "seconds": sum(r.seconds for r in rows) / len(rows),
        "seconds_most": max(r.seconds for r in rows),
    }


def right(row: Row) -> bool:
    return row.judgement is not None and row.judgement.rank_color == 1


def line(row: Row) -> str:
    if row.judgement is None:
        return f"{row.prompt}: failed after {row.seconds:.0f} s"
    j = row.judgement
    if j.rank_color is None:
        return f"{row.prompt}: beyond the evaluator's world, not judged, {row.seconds:.0f} s"
    clay = "" if j.rank_textureless is None else f", clay {j.rank_textureless} ({j.clay_taken_for})"
    front = "" if j.janus is None else f", second front {j.janus:.2f}"
    return f"{row.prompt}: place {j.rank_color} ({j.taken_for}){clay}{front}, {row.seconds:.0f} s"


def _known(run: Path, prompt: Prompt) -> Row | None:
    """What an earlier bench found out about this prompt."""
    if not (run / "row.json").is_file():
        return None
    if open_run(run).config.source != prompt.text:
        raise InputError(f"{run} is about another prompt than {prompt.text!r}; choose another folder with --out")
    data = json.loads((run / "row.json").read_text(encoding="utf-8"))
    return Row(prompt.text, prompt.unseen, data["seconds"], None if data["failed"] else judged(run))


def _write(folder: Path, rows: Sequence[Row | None]) -> None:
    """The table and the sheet of what is there so far."""
    there = [row for row in rows if row is not None]
    table = {"mean": summary(there), "prompts": [asdict(row) for row in there]}
    write_json(folder / "table.json", table)
    pictures = [
        p
        for i, row in enumerate(rows)
        if row is not None
        for p in _pictures(folder / f"{i:02d}" / "media" / "evaluation.png")
    ]
    write_picture(folder / "sheet.png", contact_sheet(pictures, 12))


def _pictures(sheet: Path) -> list[Tensor]:
    """The front, a side and the back in colour and in clay, out of a run's sheet; black where there is none."""
    if not sheet.is_file():
        return [torch.zeros(64, 64, 3, dtype=torch.uint8)] * 6
    import numpy as np
    from PIL import Image

    pixels = torch.from_numpy(np.asarray(Image.open(sheet).convert("RGB")).copy())
    corners = [(68 * row, 68 * column) for row in (0, 1) for column in (0, 2, 4)]
    return [pixels[y : y + 64, x : x + 64] for y, x in corners]
