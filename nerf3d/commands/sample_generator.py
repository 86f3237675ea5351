"""`nerf3d gen sample`: objects that a generative model makes of seeds, each a run of its own that can be rendered, exported
and edited.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.commands.mesh import mesh
from nerf3d.commands.turntable import circle, write_turntable
from nerf3d.console import say
from nerf3d.core import Scene
from nerf3d.errors import FailedError, InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.render.picture import render_picture
from nerf3d.runs import Run, RunConfig, begin_run, open_run
from nerf3d.scenes import Model, load_model, load_scene
from nerf3d.tasks.generate import Latent, Made

MOST = 10_000
SEED = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
VIEWS, SIZE = 4, 128
SURFACE = 128
"""Cells along the longest side, of the meshes."""


@dataclass(frozen=True)
class Sampled:
    """An object that is on disk: its run, and its mesh where there is anything to make one of."""

    run: Run
    asset: Path | None


def sample_generator(
    run: Path | str,
    seeds: str = "0-7",
    out: Path | str | None = None,
    truncation: float = 1.0,
    kind: str | None = None,
    only_pictures: bool = False,
) -> list[Sampled]:
    """Draw one object for every seed ("0-15", "1,2,3") into `out`/seed_N (None: RUN/samples): a run of its own with
    latent.safetensors, preview.png and, unless `only_pictures`, turntable.mp4 and asset.glb. sheet.png shows all of them.

    `truncation` below 1 gives more usual objects that differ less, `kind` one of the captions that the model was told.
    What is there already from another model is not overwritten. Raises InputError.
    """
    numbers = read_seeds(seeds)
    if not 0 < truncation <= 2:
        raise InputError(f"a truncation of {truncation:g} is not useful; choose a number above 0, at most 2")
    model = load_model(open_run(Path(run)))
    folder = Path(out) if out is not None else model.run.folder / "samples"
    made, pictures = [], []
    for seed in numbers:
        code = model.makes.draw(1, torch.Generator().manual_seed(seed), truncation, kind)[0]
        how = (
            f"seed {seed}" + (f", {kind}" if kind else "") + (f", truncation {truncation:g}" if truncation != 1 else "")
        )
        target = folder / f"seed_{seed:04d}"
        made.append(keep_object(model, Latent(code, model.name, how), target, seed, only_pictures))
        pictures += looked_at(load_scene(made[-1].run)[0], VIEWS)
    write_picture(folder / "sheet.png", contact_sheet(pictures, 2 * VIEWS))
    if not only_pictures and all(each.asset is None for each in made):
        raise FailedError(
            f"none of {len(made)} objects has a surface ({folder / 'sheet.png'}); train the model for longer"
        )
    one = made[0].run.folder
    say(f"{len(made)} objects, and sheet.png with all of them, are in {folder}")
    say(f"next: nerf3d render {one}    nerf3d export {one} --out one.glb --texture 512")
    return made


def keep_object(model: Model, latent: Latent, target: Path, seed: int, only_pictures: bool = False) -> Sampled:
    """Write an object's run, in the place of one that this command left there before."""
    _make_room(target)
    run = begin_run(target, RunConfig(str(model.run.folder.resolve()), seed, Made(latent.how)), latent)
    scene, _ = load_scene(run)
    write_picture(run.folder / "preview.png", contact_sheet(looked_at(scene, 8), 4))
    if only_pictures:
        return Sampled(run, None)
    try:
        asset = mesh(run.folder, run.folder / "asset.glb", SURFACE, faces=0, texture=0)
    except InputError as empty:
        say(f"{target}: no mesh ({empty})")
        return Sampled(run, None)
    write_turntable(run.folder / "turntable.mp4", scene, asset, SIZE)
    return Sampled(run, run.folder / "asset.glb")


def looked_at(scene: Scene, views: int, size: int = SIZE) -> list[UInt8[Tensor, "h w 3"]]:
    """An object from so many sides, around it at the height that its collection was mostly seen from."""
    cameras = circle(scene, views, size)
    return [color_picture(render_picture(scene, cameras, i).color) for i in range(views)]


def read_seeds(text: str) -> list[int]:
    """The numbers of "0-3,8".

    >>> read_seeds("0-3,8")
    [0, 1, 2, 3, 8]
    """
    found: list[int] = []
    for part in text.split(","):
        match = SEED.fullmatch(part.strip())
        if match is None:
            raise InputError(f"{text!r} names no seeds; give whole numbers like 3, 1,2,3 or 0-15")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST or len(found) + last - first >= MOST:
            raise InputError(f"{text!r} names no seeds, or more than {MOST}; give whole numbers like 3, 1,2,3 or 0-15")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def _make_room(target: Path) -> None:
    """Remove a generated object that is there; anything else stays, and is an InputError."""
    if not target.exists():
        return
    if (target / "config.yaml").is_file() and isinstance(open_run(target).config.recipe, Made):
        shutil.rmtree(target)
