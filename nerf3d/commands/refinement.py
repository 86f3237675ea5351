"""`nerf3d export --refine`: what a run gives a mesh to be refined against."""

import math
from pathlib import Path

import torch

from nerf3d.console import bar_of_points, say
from nerf3d.data.load import load_capture
from nerf3d.errors import InputError
from nerf3d.export.photographs import PhotographJudge
from nerf3d.export.refine import Painted, Refiner, refine
from nerf3d.metrics.intersections import cut_faces
from nerf3d.runs import Run, check_same
from nerf3d.tasks.fit import Fit

MOST_MINUTES = 24 * 60


def refiner(run: Run, path: Path, minutes: float) -> Refiner:
    """What brings a mesh nearer to the photographs that the run was trained on; those that were held out stay so.

    InputError, before any work, where that is not possible: a run without photographs or with other cameras than the
    files say, a format without colours.
    """
    if not (math.isfinite(minutes) and 0 < minutes <= MOST_MINUTES):
        raise InputError(f"a mesh cannot be refined for {minutes:g} minutes; give a number above 0, as in --refine 1.5")
    if path.suffix.lower() == ".stl":
        raise InputError(
            f"{path} has no colours to compare with photographs; choose another format, or leave --refine away"
        )
    recipe = run.config.recipe
    if not isinstance(recipe, Fit):
        raise InputError(f"{run.folder} was made from a prompt: there are no photographs, which --refine needs")
    if recipe.poses:
        raise InputError(
            f"{run.folder} has learnt its cameras' poses, and --refine knows those of the files only; leave it away"
        )
    folder = Path(run.config.source)
    capture = load_capture(folder)
    check_same(run, capture, folder)
    views = capture.train

    def refined(mesh: Painted) -> Painted:
        judge = PhotographJudge(views.images, views.cameras, views.masks)
        rng = torch.Generator().manual_seed(run.config.seed)
        with bar_of_points("refinement") as show:
            better = refine(mesh, judge, 60 * minutes, cut_faces, rng, progress=show)
        before, after = judge.psnr(mesh), judge.psnr(better)
        if not after > before:
            say(
                f"refining brought nothing ({before:.1f} dB against its photographs, then {after:.1f}): it is left away"
            )
            return mesh
        say(f"refined: {before:.1f} dB against its photographs before, {after:.1f} dB now")
        return better

    return refined
