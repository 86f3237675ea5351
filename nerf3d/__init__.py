"""nerf3d: radiance fields from prompts and photographs, watched, measured and taken as a mesh.

    import nerf3d

    mushroom = nerf3d.text("a blue mushroom")
    run = nerf3d.fit("photographs/", out="runs/fox", max_minutes=3)
    nerf3d.film(run.folder, "fox.mp4", path="spiral")
    nerf3d.mesh(run.folder, "fox.glb")
    print(nerf3d.evaluate(run.folder).psnr)
    print(nerf3d.evaluate_asset("fox.glb", against=run.folder).pictures.psnr)

Importing this loads no heavy library; the functions load what they need when they are first asked for. Import it before
torch: it says how threads wait (nerf3d/threads.py), which torch and numba read once.
"""

from typing import TYPE_CHECKING

from nerf3d.threads import rest_between_tasks

if TYPE_CHECKING:
    from nerf3d.commands.evaluate import evaluate as evaluate
    from nerf3d.commands.evaluate_asset import evaluate_asset as evaluate_asset
    from nerf3d.commands.film import film as film
    from nerf3d.commands.fit import fit as fit
    from nerf3d.commands.mesh import mesh as mesh
    from nerf3d.commands.prepare_avatar import prepare_avatar as prepare_avatar
    from nerf3d.commands.text import text as text
    from nerf3d.runs import open_run as open_run
    from nerf3d.scenes import load_scene as load_scene

__version__ = "0.1.0"

rest_between_tasks()

_HOMES = {
    "fit": "nerf3d.commands.fit",
    "text": "nerf3d.commands.text",
    "film": "nerf3d.commands.film",
    "mesh": "nerf3d.commands.mesh",
    "prepare_avatar": "nerf3d.commands.prepare_avatar",
    "evaluate": "nerf3d.commands.evaluate",
    "evaluate_asset": "nerf3d.commands.evaluate_asset",
    "open_run": "nerf3d.runs",
    "load_scene": "nerf3d.scenes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nerf3d' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
