"""What `nerf3d eval RUN|MESH` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.errors import InputError
from nerf3d.options.common import command

MESHES = (".glb", ".obj", ".ply", ".stl", ".usdz")


def add_eval(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        commands,
        "eval",
        "measure a run (on photographs that it did not see, or against its prompt) or a mesh in a file",
        "  nerf3d eval runs/chair\n"
        "  nerf3d eval runs/a-blue-mushroom\n"
        "  nerf3d eval chair.glb\n"
        "  nerf3d eval chair.glb --against runs/chair\n"
        "  nerf3d eval spot.glb --against true_spot.ply",
        _eval,
    )
    parser.add_argument("path", metavar="PATH", help="a run's folder, or a .glb, .obj, .ply, .stl or .usdz file")
    parser.add_argument(
        "--against",
        metavar="RUN|MESH",
        help="for a mesh: the run that it was exported from (pictures), or the true mesh (distances)",
    )


def _eval(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from nerf3d.allocator import keep_pages

    keep_pages()
    path = Path(arguments.path)
    if not path.is_dir() and (path.suffix.lower() in MESHES or path.is_file()):
        from nerf3d.commands import evaluate_asset

        print(evaluate_asset.table(evaluate_asset.evaluate_asset(path, arguments.against)))
        return
    if arguments.against is not None:
        raise InputError(f"--against is for meshes in files, and {path} is none; leave it away to measure a run")
    from nerf3d.commands.evaluate import evaluate, table

    print(table(evaluate(path)))
