"""`nerf3d gen sample`: objects that a generative model makes of seeds, each a run of its own that can be rendered, exported
and edited.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.commands.mesh import summary, write_surface
from nerf3d.commands.turntable import circle, write_turntable
from nerf3d.console import bar_of_points, say, tracked
from nerf3d.core import Scene
from nerf3d.errors import FailedError, InputError
from nerf3d.export.asset import Asset
from nerf3d.export.build import Looks
from nerf3d.export.frame import Frame
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.export.seen import seen_surface
from nerf3d.files import whole_folder
from nerf3d.render.picture import render_picture
from nerf3d.runs import CONFIG, LATENT, Run, RunConfig, begin_run, check_new, open_run
from nerf3d.scenes import Model, field_of, load_model
from nerf3d.tasks.generate import Latent, Made
from nerf3d.tasks.generate.latent import read_latent

MOST = 10_000
SEED = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
PREVIEW, VIEWS, SIZE = 8, 4, 128
"""Sides that an object is shown from: in its own preview, and among the others."""
SURFACE = 128
"""Cells along the longest side, of the meshes."""
STANDING = Frame("base", one_tall=True)
OWN = {CONFIG, LATENT, "media", "preview.png", "asset.glb", "turntable.mp4", "edit.png", "inversion.png"}
"""What these commands put into an object's folder."""


@dataclass(frozen=True)
class Sampled:
    """An object that is on disk: its run, its mesh where there is anything to make one of, and what it looks like from
    `PREVIEW` sides.
    """

    run: Run
    asset: Path | None
    views: list[UInt8[Tensor, "h w 3"]]


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
    What is there already from this model is replaced, anything else stays. Raises InputError.
    """
    numbers = read_seeds(seeds)
    check_truncation(truncation)
    model = load_model(open_run(Path(run)))
    folder = Path(out) if out is not None else model.run.folder / "samples"
    targets = [folder / f"seed_{seed:04d}" for seed in numbers]
    for target in targets:  # before the work, not after it
        check_room(target, model)
    made: list[Sampled] = []
    seeds_to = list(zip(numbers, targets, strict=True))
    for seed, target in tracked(seeds_to, "objects", len(seeds_to)) if only_pictures else seeds_to:
        if not only_pictures and len(numbers) > 1:
            say(f"object {len(made) + 1} of {len(numbers)}, seed {seed}")
        code = model.makes.draw(1, torch.Generator().manual_seed(seed), truncation, kind)[0]
        how = (
            f"seed {seed}" + (f", {kind}" if kind else "") + (f", truncation {truncation:g}" if truncation != 1 else "")
        )
        made.append(keep_object(model, Latent(code, model.name, how), target, seed, only_pictures))
    shown = [view for each in made for view in each.views[:: PREVIEW // VIEWS]]
    write_picture(folder / "sheet.png", contact_sheet(shown, 2 * VIEWS))
    if not only_pictures and all(each.asset is None for each in made):
        raise FailedError(
            f"none of {len(made)} objects has a surface ({folder / 'sheet.png'}); train the model for longer"
        )
    one = made[0].run.folder
    count = f"{len(made)} objects" if len(made) > 1 else "one object"
    say(f"{count}, and sheet.png with {'all of them' if len(made) > 1 else 'it'}, in {folder}")
    say(f"next: nerf3d render {one}    nerf3d export {one} --out one.glb --texture 512")
    return made


def keep_object(
    model: Model,
    latent: Latent,
    target: Path,
    seed: int,
    only_pictures: bool = False,
    more: Callable[[Path], None] = lambda work: None,
) -> Sampled:
    """Write an object's run, whole or not at all, in the place of another of this model's objects if there is one. `more`
    writes what else shall be in its folder.
    """
    replaced = check_room(target, model)
    asset = None
    with whole_folder(target, over=replaced) as work:
        run = begin_run(work, RunConfig(str(model.run.folder.resolve()), seed, Made(latent.how)), latent)
        scene = model.scene(field_of(model, latent))
        views = looked_at(scene, PREVIEW)
        write_picture(work / "preview.png", contact_sheet(views, PREVIEW // 2))
        if not only_pictures:
            asset = _mesh(model, scene, work / "asset.glb", target)
        if asset is not None:
            write_turntable(work / "turntable.mp4", scene, asset, SIZE)
        more(work)
    if replaced:
        say(f"{target} is in the place of another object of this model, which was there")
    return Sampled(replace(run, folder=target), None if asset is None else target / "asset.glb", views)


def _mesh(model: Model, scene: Scene, file: Path, target: Path) -> Asset | None:
    try:
        with bar_of_points("surface") as show:
            surface = seen_surface(scene.field, scene.box, SURFACE, show)
    except InputError as empty:
        say(f"{target}: no mesh ({empty})")
        return None
    asset = write_surface(file, surface, scene, model.step, Looks(faces=None, texture=0), STANDING)
    say(f"{summary(asset)}, in {target / file.name}")
    return asset


def looked_at(scene: Scene, views: int, size: int = SIZE) -> list[UInt8[Tensor, "h w 3"]]:
    """An object from so many sides, around it at the height that its collection was mostly seen from."""
    cameras = circle(scene, views, size)
    return [color_picture(render_picture(scene, cameras, i).color) for i in range(views)]


def check_truncation(truncation: float) -> None:
    """InputError for what makes nothing."""
    if not 0 < truncation <= 2:
        raise InputError(f"a truncation of {truncation:g} is not useful; choose a number above 0, at most 2")


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
        if last < first:
            raise InputError(f"the seeds {part.strip()} end before they begin; give them as {last}-{first}")
        if len(found) + last - first >= MOST:
            raise InputError(f"{text!r} are more than {MOST:,} seeds; draw them in parts")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def check_room(target: Path, model: Model) -> bool:
    """Whether there is an object of this model, trained for as long or not, which may be replaced.

    InputError where there is anything else, or more in its folder than these commands put there.
    """
    if not (target / LATENT).is_file():
        if (target / CONFIG).is_file():
            raise InputError(f"{target} holds a run that is no generated object; choose another folder with --out")
        check_new(target)
        return False
    if _without_step(read_latent(target / LATENT).model) != _without_step(model.name):
        raise InputError(f"{target} holds an object of another model; choose another folder with --out")
    others = sorted(each.name for each in target.iterdir() if each.name not in OWN)
    others += sorted(f"media/{each.name}" for each in (target / "media").glob("*"))
    if others:
        raise InputError(
            f"{target} holds an object and also {', '.join(others[:3])}; put that elsewhere, or choose another folder with "
            "--out"
        )
    return True


def _without_step(name: str) -> str:
    return name.rpartition("-")[0]
