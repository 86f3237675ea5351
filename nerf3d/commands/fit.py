"""`nerf3d fit`: photographs in, a run out."""

import math
import shlex
import time
from pathlib import Path

import torch

from nerf3d.commands.device import chosen_device, room_for
from nerf3d.commands.training import Watch, check_numbers, run_to_resume, run_training, with_budget
from nerf3d.config import find_recipe, read_recipe
from nerf3d.console import say
from nerf3d.core import Scene
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.load import load_capture
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.metrics.pictures import psnr
from nerf3d.runs import Run, RunConfig, begin_run, change_recipe, check_new
from nerf3d.scenes import check_same
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.fit.compare import compare
from nerf3d.tasks.fit.sanity import check_recipe
from nerf3d.train import Progress, Report

PREVIEWS_AT = (0.25, 0.5, 0.75, 1.0)
PREVIEW_SIZE, FINAL_SIZE = 128, 400
"""The longest side of pictures that are made on the way, when the field is foggy and slow to look at, and at the end."""
SUMMARY_VIEWS = 4


def fit(
    scene: Path | str,
    out: Path | str | None = None,
    preset: str | None = None,
    settings: tuple[str, ...] = (),
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    checkpoint_every: int | None = None,
    resume: bool = False,
    device: str = "auto",
    started: float | None = None,
) -> Run:
    """Optimise a radiance field from the photographs in a folder, and leave it in a run folder.

    `preset` is a recipe's name or file (None: ngp_blender for an object with a box, ngp_capture for a place);
    `settings` are changes such as "field.layout.levels=12". The run ends after `steps` or `max_minutes`, loading and
    compiling included, counted from `started` (a `time.perf_counter` value; None: from now); without either, as the
    recipe says. A checkpoint is written every `checkpoint_every` steps (None: every minute) and at the end. With `resume`
    the run in `out` goes on, bit for bit where it is planned in steps on a CPU. `device` is "auto" (a GPU, where torch can
    use one), or torch's name of one.

    Raises InputError for input that cannot be used, and Interrupted after Ctrl-C, when the state is saved.
    """
    started = time.perf_counter() if started is None else started
    chip = chosen_device(device)
    check_numbers(seed, checkpoint_every)
    folder = Path(scene)
    if not resume:  # before the photographs, which may take a while
        if out is not None:
            check_new(Path(out))
        if preset is not None:
            _recipe(preset, settings)
    capture = load_capture(folder)
    for note in capture.notes:
        say(note)
    if resume:
        run = _resumed(
            Path(out) if out is not None else None, folder, capture, preset, settings, steps, max_minutes, seed
        )
        task = _task(run.config, capture, chip)
    else:
        preset = preset or ("ngp_blender" if capture.box is not None else "ngp_capture")
        recipe = with_budget(_recipe(preset, settings), steps, max_minutes)
        target = Path(out) if out is not None else Path("runs") / f"{folder.resolve().name}-{Path(preset).stem}"
        check_new(target)
        config = RunConfig(str(folder.resolve()), seed, recipe)
        task = _task(config, capture, chip)  # it refuses what cannot be used, so nothing is written before
        run = begin_run(target, config, capture)
    return _train(run, task, capture, checkpoint_every, chip, started)


def _recipe(preset: str, settings: tuple[str, ...]) -> Fit:
    path = find_recipe(preset, "fit")
    recipe = read_recipe(Fit, path, settings)
    check_recipe(recipe, " with ".join([str(path), *(f"--set {setting}" for setting in settings)]))
    return recipe


def _task(config: RunConfig, capture: Capture, device: torch.device) -> FitTask:
    assert isinstance(config.recipe, Fit)
    with room_for("the photographs", device):
        return FitTask(config.recipe, capture.to(device), torch.Generator().manual_seed(config.seed)).to(device)


def _resumed(
    folder: Path | None,
    scene: Path,
    capture: Capture,
    preset: str | None,
    settings: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    seed: int,
) -> Run:
    chosen = bool(preset is not None or settings)
    run = run_to_resume(folder, chosen, "--preset and --set", seed)
    _recipe_of(run)
    check_same(run, capture, scene)
    if steps is not None or minutes is not None:
        run = change_recipe(run, with_budget(_recipe_of(run), steps, minutes))
    return run


def _recipe_of(run: Run) -> Fit:
    if not isinstance(run.config.recipe, Fit):
        raise InputError(f"{run.folder} was not made from photographs; go on with it by the command that began it")
    return run.config.recipe


def _train(
    run: Run, task: FitTask, capture: Capture, checkpoint_every: int | None, device: torch.device, started: float
) -> Run:
    smooth = Smooth()
    watch = Watch(
        smooth.add,
        smooth.words,
        lambda step: _preview(run, task.scene(), capture.test, step),
        PREVIEWS_AT,
        f"nerf3d fit {_quoted(run.config.source)} --out {_quoted(run.folder)} --resume",
    )
    weights = vars(task.recipe.weights)
    state = run_training(run, task, {"task": task}, weights, checkpoint_every, device, started, watch)
    _say_how_it_went(run, task.scene(), capture.test, state)
    return run


class Smooth:
    """Numbers for the bar that do not jump: means over the last moments."""

    def __init__(self) -> None:
        self.psnr = math.nan
        self.rate = math.nan
        self.last: float | None = None

    def add(self, report: Report) -> None:
        psnr, samples = report.figures.get("psnr", math.nan), report.figures.get("samples", 0.0)
        elapsed = report.seconds - self.last if self.last is not None else math.nan
        self.last = report.seconds
        self.psnr = psnr if math.isnan(self.psnr) else 0.98 * self.psnr + 0.02 * psnr
        if elapsed > 0:
            self.rate = samples / elapsed if math.isnan(self.rate) else 0.98 * self.rate + 0.02 * samples / elapsed

    def words(self) -> str:
        rate = "" if math.isnan(self.rate) else f"  {self.rate / 1000:.0f} k samples/s"
        return f"{self.psnr:.1f} dB in training{rate}"


def _preview(run: Run, scene: Scene, test: Photographs, step: int) -> None:
    """Held-out views beside their photographs."""
    pictures = []
    for index in range(min(len(test), 2)):
        pictures += [color_picture(p) for p in compare(scene, test, index, PREVIEW_SIZE)]
    if pictures:
        write_picture(run.media / f"held_out_{step:06d}.png", contact_sheet(pictures, 2))


def _say_how_it_went(run: Run, scene: Scene, test: Photographs, state: Progress) -> None:
    say(f"{state.step} steps in {state.seconds:.0f} s; the run is in {run.folder}")
    some = range(0, len(test), max(len(test) // SUMMARY_VIEWS, 1))[:SUMMARY_VIEWS]
    values = [psnr(*compare(scene, test, index, FINAL_SIZE)) for index in some]
    if values:
        say(f"{sum(values) / len(values):.2f} dB on {len(values)} of {len(test)} photographs that it did not see")
    name = _quoted(run.folder)
    say(f"next: nerf3d render {name}    nerf3d export {name} --out mesh.glb    nerf3d eval {name}")


def _quoted(path: Path | str) -> str:
    """As a shell wants it: paths may hold spaces."""
    return shlex.quote(str(path))
