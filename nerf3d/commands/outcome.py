"""What a text-to-3D run leaves for people: a film around the object, a sheet of eight views, and a mesh."""

from dataclasses import dataclass
from pathlib import Path

import torch

from nerf3d.commands.mesh import mesh
from nerf3d.console import say, tracked
from nerf3d.core.paths import orbit_around
from nerf3d.errors import InputError
from nerf3d.export.film import write_film
from nerf3d.export.pictures import color_picture, contact_sheet, normal_picture, write_picture
from nerf3d.render.picture import render_picture
from nerf3d.runs import Run, load_scene

FRAMES, FPS = 60, 20.0
RESOLUTION = 128


@dataclass(frozen=True)
class Outcome:
    """A finished run; its mesh, or the reason why there is none."""

    run: Run
    asset: Path | None
    collapse: str | None = None


def present(run: Run) -> Outcome:
    """Write turntable.mp4 (colours beside normals), preview.png and asset.glb into the run."""
    scene, _ = load_scene(run)
    views = [color_picture(render_picture(scene, scene.cameras, i).color) for i in range(len(scene.cameras))]
    write_picture(run.folder / "preview.png", contact_sheet(views, 4))
    try:
        mesh(run.folder, run.folder / "asset.glb", RESOLUTION)
    except InputError as empty:
        return Outcome(run, None, str(empty))
    small = scene.cameras.scaled_to(192, 192)
    poses = orbit_around(small, scene.up, FRAMES)
    around = type(small)(poses, small.intrinsics[:1].expand(FRAMES, 4), torch.zeros(FRAMES, 5), 192, 192)

    def frames():  # type: ignore[no-untyped-def]
        for i in tracked(range(FRAMES), "turntable", FRAMES):
            seen = render_picture(scene, around, i, normals=True)
            assert seen.normal is not None
            yield torch.cat([color_picture(seen.color), normal_picture(seen.normal, seen.opacity)], 1)

    write_film(run.folder / "turntable.mp4", frames(), FPS)
    say(f"turntable.mp4, preview.png and asset.glb are in {run.folder}")
    return Outcome(run, run.folder / "asset.glb")
