"""`nerf3d export --refine`: what a run gives a mesh to be refined against, and whether that made it better."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from nerf3d.assets import EVALUATOR
from nerf3d.commands.judge import captions_beside
from nerf3d.commands.sides import around, before_grey
from nerf3d.commands.teaching import guidance_of
from nerf3d.console import bar_of_points, say
from nerf3d.data.load import load_capture
from nerf3d.data.world.captions import understand
from nerf3d.errors import InputError
from nerf3d.export.draw import draw
from nerf3d.export.guided import GuidedJudge
from nerf3d.export.photographs import PhotographJudge
from nerf3d.export.refine import Judge, Painted, Refiner, refine
from nerf3d.guidance.csd import CSD
from nerf3d.guidance.vsd import VSD
from nerf3d.kernels.contours import edges_of
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.intersections import cut_faces
from nerf3d.metrics.retrieval import retrieve
from nerf3d.runs import Run
from nerf3d.scenes import check_same
from nerf3d.tasks.fit import Fit
from nerf3d.tasks.text import Text
from nerf3d.tasks.text.views import random_views

MOST_MINUTES = 24 * 60


@dataclass(frozen=True)
class Figure:
    """What says whether a mesh is better than another: the larger, the better. `unit` is written after the number."""

    of: Callable[[Painted], float]
    digits: int
    unit: str


def refiner(run: Run, path: Path, minutes: float) -> Refiner:
    """What brings a mesh nearer to what the run was made from: the photographs that it was trained on (those that were
    held out stay so), or its prompt, as its teacher reads it.

    InputError, before any work, where that is not possible: no photographs or other cameras than the files say, a teacher
    that is not there, a format without colours.
    """
    if not (math.isfinite(minutes) and 0 < minutes <= MOST_MINUTES):
        raise InputError(f"a mesh cannot be refined for {minutes:g} minutes; give a number above 0, as in --refine 1.5")
    if path.suffix.lower() == ".stl":
        raise InputError(
            f"{path} has no colours, and --refine is about what the mesh looks like; choose another format, or leave it away"
        )
    judge, figure = _photographs(run) if isinstance(run.config.recipe, Fit) else _prompt(run)

    def refined(mesh: Painted) -> Painted:
        rng = torch.Generator().manual_seed(run.config.seed)
        with bar_of_points("refinement") as show:
            better = refine(mesh, judge, 60 * minutes, cut_faces, rng, progress=show)
        if figure is None:
            say("refined; the evaluator does not know the prompt: look for yourself whether the mesh is better")
            return better
        before, after = (f"{figure.of(m):.{figure.digits}f}" for m in (mesh, better))
        if not float(after) > float(before):
            say(f"refining brought nothing ({before} {figure.unit}, then {after}): the file holds the mesh without it")
            return mesh
        say(f"refined: {before} {figure.unit} before, {after} now")
        return better

    return refined


def _photographs(run: Run) -> tuple[Judge, Figure]:
    recipe = run.config.recipe
    assert isinstance(recipe, Fit)
    if recipe.poses:
        raise InputError(
            f"{run.folder} has learnt its cameras' poses, and --refine knows those of the files only; leave it away"
        )
    folder = Path(run.config.source)
    capture = load_capture(folder)
    check_same(run, capture, folder)
    views = capture.train
    judge = PhotographJudge(views.images, views.cameras, views.masks)
    return judge, Figure(judge.psnr, 1, "dB against its photographs")


def _prompt(run: Run) -> tuple[Judge, Figure | None]:
    """The recipe's guidance; classifier score distillation in place of one whose student was not kept."""
    prompt, recipe = run.config.source, run.config.recipe
    if not isinstance(recipe, Text):
        raise InputError(f"{run.folder} is neither of photographs nor of a prompt; leave --refine away")
    if isinstance(recipe.guidance, VSD):
        recipe = replace(recipe, guidance=CSD(recipe.guidance.weighting, recipe.guidance.timesteps))
    rng = torch.Generator().manual_seed(run.config.seed)
    guidance = guidance_of(prompt, recipe, torch.device("cpu"), rng)
    judge = GuidedJudge(guidance, partial(random_views, recipe.views), rng)
    known = understand(prompt)
    if known is None or not EVALUATOR.is_dir():
        return judge, None
    evaluator, captions = Evaluator.open(EVALUATOR), captions_beside(known)

    def margin(mesh: Painted) -> float:
        return retrieve(evaluator, _sides(mesh), str(known), captions).margin

    return judge, Figure(margin, 3, "ahead of the next best caption")


@torch.no_grad()
def _sides(mesh: Painted) -> torch.Tensor:
    """The evaluator's eight views (8 h w 3) of a mesh."""
    cameras, edges = around(), edges_of(mesh.faces)
    seen = torch.stack([draw(mesh.vertices, mesh.faces, edges, mesh.paint, cameras, i) for i in range(len(cameras))])
    return before_grey(seen)
