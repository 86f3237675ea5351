"""`nerf3d export`: a mesh from a run."""

import math
from pathlib import Path

import torch

from nerf3d.console import bar_of_points, say
from nerf3d.core import Box
from nerf3d.errors import InputError
from nerf3d.export.mesh import FORMATS, color_vertices, write_mesh
from nerf3d.export.surface import Surface, extract_surface, largest_components
from nerf3d.metrics.mesh import health
from nerf3d.runs import load_scene, open_run


def mesh(
    run: Path | str,
    out: Path | str,
    resolution: int = 256,
    level: float | None = None,
    smallest: float = 0.01,
    box: tuple[float, float, float, float, float, float] | None = None,
) -> Surface:
    """Write the surface of a run as .glb, .obj or .ply, with colors at the vertices, in the scene's frame and units.

    `resolution` is the number of cells along the box's longest side; `level` the density that counts as the surface
    (None: found automatically); components smaller than `smallest` times the largest are left out. `box` is the part of
    the world to look at: x, y, z of its lower corner, then of its upper one (None: the scene's own).
    """
    path = Path(out)
    if path.suffix.lower() not in FORMATS:  # before the work, not after it
        raise InputError(f"{path} has no suffix that names a mesh format: choose one of {', '.join(sorted(FORMATS))}")
    if not 8 <= resolution <= 1024:
        raise InputError(f"a resolution of {resolution} cells is not useful; choose between 8 and 1024")
    if level is not None and not 0 < level < math.inf:
        raise InputError(f"a level of {level} is no density of a surface; give a positive number, or none")
    if not 0 <= smallest <= 1:
        raise InputError(f"the smallest part cannot have a share of {smallest}; give a number from 0 to 1")
    if box is not None and not all(low < high for low, high in zip(box[:3], box[3:], strict=True)):
        raise InputError(f"the box {box} is empty; give x, y, z of its lower corner, then of its upper one")
    opened = open_run(Path(run))
    scene, step = load_scene(opened)
    part = scene.box if box is None else Box(torch.tensor(box[:3]), torch.tensor(box[3:]))
    with bar_of_points("surface") as show:
        surface = extract_surface(scene.field.density, part, resolution, level, show)
    surface = largest_components(surface, smallest)
    colors = color_vertices(surface, scene.field)
    write_mesh(path, surface, colors, scene.up, {"made_by": f"nerf3d, step {step}", "level": f"{surface.level:.6g}"})
    state = health(surface.vertices, surface.faces)
    closed = "watertight" if state.watertight else "not watertight"
    say(f"{state.faces} triangles in {state.components} parts, {closed}, in {path}")
    return surface
