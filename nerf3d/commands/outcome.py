"""What a text-to-3D run leaves for people: a film around the object, a sheet of eight views, and a mesh."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nerf3d.commands.judge import Judgement, judge, table
from nerf3d.commands.mesh import mesh
from nerf3d.commands.sides import SMOOTHING
from nerf3d.commands.turntable import write_turntable
from nerf3d.console import say
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.render.picture import render_picture
from nerf3d.runs import Run
from nerf3d.scenes import load_scene
from nerf3d.tasks.text.collapse import Collapsed, check_solid

RESOLUTION = 128


@dataclass(frozen=True)
class Outcome:
    """A finished run; its mesh and what the evaluator says of it, or the reason why there is none."""

    run: Run
    asset: Path | None
    collapse: str | None = None
    judgement: Judgement | None = None

    def moved(self, folder: Path) -> "Outcome":
        """The same after its folder has been renamed so."""
        self.run.folder.rename(folder)
        asset = folder / self.asset.name if self.asset is not None else None
        return replace(self, run=replace(self.run, folder=folder), asset=asset)


def present(run: Run) -> Outcome:
    """Write turntable.mp4 (colours beside the mesh's normals), preview.png, asset.glb and metrics.json into the run.

    What cannot be an object (see `tasks.text.collapse`) gets a preview only.
    """
    scene, _ = load_scene(run)
    seen = [render_picture(scene, scene.cameras, i) for i in range(len(scene.cameras))]
    write_picture(run.folder / "preview.png", contact_sheet([color_picture(s.color) for s in seen], 4))
    try:
        check_solid(torch.stack([s.opacity for s in seen]))
        asset = mesh(run.folder, run.folder / "asset.glb", RESOLUTION, faces=0, texture=0, smoothing=SMOOTHING)
    except (InputError, Collapsed) as empty:
        return Outcome(run, None, str(empty))
    write_turntable(run.folder / "turntable.mp4", scene, asset)
    judgement = judge(run)
    say(table(judgement))
    say(f"turntable.mp4, preview.png, asset.glb and metrics.json are in {run.folder}")
    return Outcome(run, run.folder / "asset.glb", None, judgement)
