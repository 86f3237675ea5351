"""`nerf3d gen fit`: a collection of posed pictures of many objects in, a run that makes more of them, out."""

import math
import shlex
import time
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from nerf3d.commands.device import chosen_device, room_for
from nerf3d.commands.training import Diverged, Watch, check_numbers, run_to_resume, run_training, with_budget
from nerf3d.config import find_recipe, from_plain, load_yaml, override
from nerf3d.console import say
from nerf3d.core.schedules import Schedule, scaled
from nerf3d.data.collections.about import About, read_about
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.load import load_collection
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.ranks import leads
from nerf3d.runs import COLLECTION, Run, RunConfig, begin_run, change_recipe, check_new
from nerf3d.tasks.generate import Generate, GenerateTask, Maker
from nerf3d.tasks.generate.build import resolution_of, task_of
from nerf3d.tasks.generate.looks import on_white, picture, premultiplied
from nerf3d.tasks.generate.sanity import check_recipe
from nerf3d.train import NotANumber, Report

PREVIEWS_AT = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
PREVIEW_OBJECTS = 8
STEPS_BACK = 2
"""So often a run whose numbers are lost goes back to its last checkpoint, with half the rates."""

Values = TypeVar("Values")


def fit_generator(
    collection: Path | str,
    out: Path | str | None = None,
    preset: str | None = None,
    settings: tuple[str, ...] = (),
    steps: int | None = None,
    max_minutes: float | None = None,
    size: int | None = None,
    seed: int = 0,
    checkpoint_every: int | None = None,
    resume: bool = False,
    device: str = "auto",
    started: float | None = None,
) -> Run:
    """Learn to make objects like those of a collection: EG3D's layout, ShapeNet-SRN's, or folders of Blender-style scenes.

    `preset` is a recipe's name or file (None: diffae), `size` the side of the pictures that are learnt from (None: as they
    are). One object of ten is held out. The rest is as in `fit`. Where numbers are lost the run goes back to its last
    checkpoint and on with half the rates, twice at most.

    Raises InputError for input that cannot be used, and Interrupted after Ctrl-C.
    """
    started = time.perf_counter() if started is None else started
    chip = chosen_device(device)
    check_numbers(seed, checkpoint_every)
    folder = Path(collection)
    if resume:
        run = _resumed(Path(out) if out is not None else None, preset, settings, size, steps, max_minutes, seed)
        learnt = _learnt(folder, read_about(run.folder / COLLECTION).cameras.width)
        _check_same(run, learnt, folder)
    else:
        path = find_recipe(preset or "diffae", "gen")
        recipe = with_budget(_read(path, settings), steps, max_minutes)
        target = Path(out) if out is not None else Path("runs") / f"{folder.resolve().name}-{path.stem}"
        check_new(target)
        config = RunConfig(str(folder.resolve()), seed, recipe)
        learnt = _learnt(folder, _side(recipe, size))
        about = About.of(learnt)
        _task(config, learnt, about, chip)  # it refuses what cannot be used, so that nothing is written before
        run = begin_run(target, config, about)
    return _train(run, learnt, checkpoint_every, chip, started)


def _side(recipe: Generate, size: int | None) -> int | None:
    wanted = resolution_of(recipe)
    if size is not None and wanted is not None and size != wanted:
        raise InputError(
            f"this recipe's networks read pictures of {wanted} pixels, not {size}; leave --size away, or change their "
            "channels: one number for 4 pixels, 8, 16 and so on"
        )
    return size or wanted


def _learnt(folder: Path, size: int | None) -> Collection:
    """The objects that are learnt from."""
    say(f"reading {folder}")
    collection, held_out = load_collection(folder, size).split()
    if collection.cameras.width != collection.cameras.height:
        raise InputError(
            f"the pictures in {folder} are {collection.cameras.width} x {collection.cameras.height}, and square ones are "
            "needed; cut them to squares"
        )
    say(
        f"{len(collection)} pictures of {collection.scenes} objects, {collection.cameras.width} x "
        f"{collection.cameras.height}; {held_out.scenes} more objects are held out"
    )
    return collection


def _read(path: Path, settings: tuple[str, ...]) -> Generate:
    where = " with ".join([str(path), *(f"--set {setting}" for setting in settings)])
    recipe: Generate = from_plain(Generate, override(load_yaml(path), settings), where)
    check_recipe(recipe, where)
    return recipe


def _resumed(
    folder: Path | None,
    preset: str | None,
    settings: tuple[str, ...],
    size: int | None,
    steps: int | None,
    minutes: float | None,
    seed: int,
) -> Run:
    chosen = bool(preset is not None or settings or size is not None)
    run = run_to_resume(folder, chosen, "--recipe, --set and --size", seed)
    recipe = _recipe_of(run)
    if steps is not None or minutes is not None:
        run = change_recipe(run, with_budget(recipe, steps, minutes))
    return run


def _recipe_of(run: Run) -> Generate:
    if not isinstance(run.config.recipe, Generate):
        raise InputError(f"{run.folder} is not a generative model; go on with it by the command that began it")
    return run.config.recipe


def _check_same(run: Run, learnt: Collection, folder: Path) -> None:
    now, kept = About.of(learnt), read_about(run.folder / COLLECTION)
    poses = now.cameras.world_from_camera, kept.cameras.world_from_camera
    same = now.objects == kept.objects and now.kinds == kept.kinds and poses[0].shape == poses[1].shape
    if not same or not torch.allclose(*poses, atol=1e-5):
        raise InputError(
            f"{run.folder} was made from another collection than {folder} is now; give the one that it was made from "
            f"({run.config.source}, as it was then), or begin a new run with another --out"
        )


def _task(config: RunConfig, learnt: Collection, about: About, device: torch.device) -> GenerateTask:
    assert isinstance(config.recipe, Generate)
    task = task_of(config.recipe, learnt, about.box, torch.Generator().manual_seed(config.seed))
    assert isinstance(task, nn.Module)
    with room_for("the pictures", device):
        return task.to(device)  # type: ignore[return-value]


def _train(run: Run, learnt: Collection, every: int | None, device: torch.device, started: float) -> Run:
    about = read_about(run.folder / COLLECTION) if leads() else About.of(learnt)
    for left in range(STEPS_BACK, -1, -1):
        task = _task(run.config, learnt, about, device)
        try:
            return _trained(run, task, learnt, every, device, started)
        except (NotANumber, Diverged) as lost:
            if not left:
                raise
            run = change_recipe(run, slower(_recipe_of(run)))
            started = time.perf_counter()
            say(f"{lost}\nback to the last checkpoint, and on with half the rates")
    raise AssertionError("the last try returns or raises")


def _trained(
    run: Run, task: GenerateTask, learnt: Collection, every: int | None, device: torch.device, started: float
) -> Run:
    smooth = Smooth()
    name = shlex.quote(str(run.folder))
    watch = Watch(
        smooth.add,
        smooth.words,
        lambda step: _preview(run, task, learnt, step),
        PREVIEWS_AT,
        f"nerf3d gen fit {shlex.quote(run.config.source)} --out {name} --resume",
    )
    kept = {"maker": task.maker, "helpers": task.helpers}
    state = run_training(run, task, kept, {}, every, device, started, watch)
    say(f"{state.step} steps in {state.seconds:.0f} s, {smooth.words()}; the run is in {run.folder}")
    say(f"next: nerf3d gen sample {name} --seeds 0-7    nerf3d gen eval {name}")
    return run


def slower(recipe: Values) -> Values:
    """The same recipe with half of every rate, at whatever depth."""
    changed: dict[str, Any] = {}
    for field in fields(recipe):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if isinstance(value, Schedule) and (field.name == "rate" or field.name.endswith("_rate")):
            changed[field.name] = scaled(value, 0.5)
        elif is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = slower(value)
    return replace(recipe, **changed)  # type: ignore[type-var]


class Smooth:
    """Losses and figures for the bar, in means over the last moments."""

    def __init__(self) -> None:
        self.means: dict[str, float] = {}

    def add(self, report: Report) -> None:
        for name, value in (report.losses | report.figures).items():
            before = self.means.get(name, math.nan)
            self.means[name] = value if math.isnan(before) else 0.98 * before + 0.02 * value

    def words(self) -> str:
        """Decibels where there are any, else the losses."""
        if "psnr" in self.means:
            others = {n: v for n, v in self.means.items() if n in ("usage", "flow", "diffusion", "tokens")}
            return "  ".join([f"{self.means['psnr']:.1f} dB in training", *(f"{n} {v:.2f}" for n, v in others.items())])
        return "  ".join(f"{name} {value:.2f}" for name, value in self.means.items())


@torch.no_grad()
def _preview(run: Run, task: GenerateTask, learnt: Collection, step: int) -> None:
    """Drawn objects below some of the collection's, each pair seen by the same camera."""
    maker = task.maker
    assert isinstance(maker, Maker)
    some = torch.linspace(0, len(learnt) - 1, PREVIEW_OBJECTS).round().long()
    codes = maker.draw(PREVIEW_OBJECTS, torch.Generator().manual_seed(run.config.seed))
    real = on_white(premultiplied(learnt.pictures[some].float() / 255))
    cameras = learnt.cameras[some].to(next(task.maker.parameters()).device)
    made = [
        on_white(picture(field, cameras, index, maker.sampler).cpu()) for index, field in enumerate(maker.fields(codes))
    ]
    sheet = contact_sheet([color_picture(p) for p in (*real, *made)], PREVIEW_OBJECTS)
    write_picture(run.media / f"drawn_{step:06d}.png", sheet)
