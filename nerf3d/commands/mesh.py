"""`nerf3d export`: a mesh from a run, with textures, for other programs."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from nerf3d.commands.refinement import refiner
from nerf3d.console import bar_of_points, say
from nerf3d.core import Box, Scene
from nerf3d.errors import InputError
from nerf3d.export.asset import Asset
from nerf3d.export.build import Looks, make_asset
from nerf3d.export.depth import all_around, depth_pictures
from nerf3d.export.formats import check_format, write_asset
from nerf3d.export.frame import Frame, Origin, length, put
from nerf3d.export.fusion import fused_surface
from nerf3d.export.glb import rotation_to_y
from nerf3d.export.refine import Refiner
from nerf3d.export.seen import seen_surface
from nerf3d.export.surface import Surface, surface_of
from nerf3d.export.weld import welded
from nerf3d.metrics.mesh import health
from nerf3d.runs import open_run
from nerf3d.scenes import load_scene
from nerf3d.tasks.generate import Made
from nerf3d.tasks.text import Text

TEXTURED = (".glb", ".usdz", ".obj")
FACES, TEXTURE = 20_000, 1024
MOST_FACES = 50_000_000


def mesh(
    run: Path | str,
    out: Path | str,
    resolution: int = 256,
    level: float | None = None,
    smallest: float = 0.01,
    box: tuple[float, float, float, float, float, float] | None = None,
    faces: int | None = None,
    texture: int | None = None,
    smoothing: int = 0,
    unit: str = "1m",
    up: str | None = None,
    origin: str | None = None,
    source: str | None = None,
    refine: float | None = None,
) -> Asset:
    """Write the surface of a run as .glb, .usdz, .obj, .ply or .stl.

    `resolution` is the number of cells along the box's longest side; `level` the density that counts as the surface
    (None: found automatically); components smaller than `smallest` times the largest are left out. `box` is the part of
    the world to look at: x, y, z of its lower corner, then of its upper one (None: the scene's own).

    `faces` (0: all) and `texture` (pixels along a side, 0: colours at the vertices) are 20,000 and 1024 for formats that
    have textures, and otherwise all and 0. `smoothing`: rounds of a filter against bumps. A capture stays where it is in
    its world; what was made of a prompt or of a code stands on the ground, one unit tall. `unit` is how long a unit is,
    `up` the file's upward axis (y or z), `origin` one of scene, base and center.

    `source` is what the surface is made of: "density" (a field of distances gives its zero set), "sight", how far light
    goes in from all sides, or "depth", as the run's own cameras see it (what was made of a prompt is looked at from all
    around): open where none of them looked. None: sight for what was made of a prompt, else density.

    `refine` minutes are spent on bringing vertices and colours nearer to the run's photographs, or its prompt (None: none).

    Raises InputError for a field without a surface: there is never an empty file.
    """
    path = Path(out)
    check_format(path)  # before the work, not after it
    _check(resolution, level, smallest, box)
    looks = _looks(path, faces, texture, smoothing, smallest)
    opened = open_run(Path(run))
    generated = isinstance(opened.config.recipe, Text | Made)
    source = source or ("sight" if generated and level is None else "density")
    _check_source(source, level)
    frame = _frame(generated, unit, up, origin)
    better = None if refine is None else refiner(opened, path, refine)
    scene, step = load_scene(opened)
    part = scene.box if box is None else Box(torch.tensor(box[:3]), torch.tensor(box[3:]))
    if source == "depth":
        surface = _depth_surface(scene, part, resolution, generated)
    else:
        with bar_of_points("surface") as show:
            if source == "sight":
                surface = seen_surface(scene.field, part, resolution, show)
            else:
                surface = surface_of(scene.field, part, resolution, level, show)
    asset = write_surface(path, surface, scene, step, looks, frame, better)
    say(f"{summary(asset)}, in {path}")
    return asset


def write_surface(
    path: Path, surface: Surface, scene: Scene, step: int, looks: Looks, frame: Frame, refiner: Refiner | None = None
) -> Asset:
    """Colour a scene's surface, put it where it shall stand, and write it."""
    with bar_of_points("textures") as show:
        asset, notes = make_asset(surface, scene.field, scene.up, looks, show, refiner)
    facts = {"made_by": f"nerf3d, step {step}", "level": f"{surface.level:.6g}"}
    asset = put(replace(asset, facts=facts), frame, path.suffix.lower())
    write_asset(path, asset)
    for note in notes:
        say(note)
    return asset


def _depth_surface(scene: Scene, part: Box, resolution: int, generated: bool) -> Surface:
    with bar_of_points("depth") as show:
        pictures = depth_pictures(scene, all_around(scene.cameras) if generated else scene.cameras, show)
    with bar_of_points("surface") as show:
        return fused_surface(pictures, part, resolution, show)


def summary(asset: Asset) -> str:
    """What a person wants to know of an asset, in a line."""
    state = health(*welded(asset.vertices, asset.faces))
    closed = "watertight" if state.watertight else "not watertight"
    painted = "" if asset.textures is None else f", textures of {len(asset.textures.color)} pixels"
    parts = "1 part" if state.components == 1 else f"{state.components} parts"
    standing = asset.vertices.double() @ rotation_to_y(torch.tensor(asset.up)).T
    wide, tall, deep = (standing.amax(0) - standing.amin(0)).tolist()
    size = f"{wide:.3g} wide, {deep:.3g} deep and {tall:.3g} tall in {asset.facts.get('units', 'units')}"
    return f"{state.faces} triangles in {parts}, {closed}{painted}, {size}"


def _looks(path: Path, faces: int | None, texture: int | None, smoothing: int, smallest: float) -> Looks:
    textured = path.suffix.lower() in TEXTURED
    wanted = (FACES if textured else 0) if faces is None else faces
    if not (wanted == 0 or 4 <= wanted <= MOST_FACES):
        raise InputError(f"a mesh cannot have {wanted} triangles; give 4 to {MOST_FACES:,}, or 0 for all there are")
    if texture and not textured:
        raise InputError(f"{path} has no room for textures; choose one of {', '.join(TEXTURED)}, or --texture 0")
    if not 0 <= smoothing <= 1000:
        raise InputError(f"{smoothing} rounds of smoothing are not useful; choose 0 to 1000")
    pixels = (TEXTURE if textured else 0) if texture is None else texture
    return Looks(wanted or None, pixels, smoothing, smallest)


def _frame(generated: bool, unit: str, up: str | None, origin: str | None) -> Frame:
    if up is not None and up not in ("y", "z"):
        raise InputError(f"no file has {up!r} for its upward axis; choose y or z")
    if origin is not None and origin not in ("scene", "base", "center"):
        raise InputError(f"{origin!r} is no origin; choose scene, base or center")
    where: Origin = origin or ("base" if generated else "scene")  # type: ignore[assignment]
    return Frame(where, length(unit), generated and where != "scene", up)  # type: ignore[arg-type]


def _check_source(source: str, level: float | None) -> None:
    if source not in ("density", "sight", "depth"):
        raise InputError(f"there is no surface from {source!r}; choose density, sight or depth")
    if source != "density" and level is not None:
        raise InputError(f"a --level is a density, and a surface from {source} has none; leave one of the two away")


def _check(
    resolution: int, level: float | None, smallest: float, box: tuple[float, float, float, float, float, float] | None
) -> None:
    if not 8 <= resolution <= 1024:
        raise InputError(f"a resolution of {resolution} cells is not useful; choose between 8 and 1024")
    if level is not None and not 0 < level < math.inf:
        raise InputError(f"a level of {level} is no density of a surface; give a positive number, or none")
    if not 0 <= smallest <= 1:
        raise InputError(f"the smallest part cannot have a share of {smallest}; give a number from 0 to 1")
    if box is not None and not all(low < high for low, high in zip(box[:3], box[3:], strict=True)):
        raise InputError(f"the box {box} is empty; give x, y, z of its lower corner, then of its upper one")
