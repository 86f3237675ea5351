"""What `nerf3d export RUN` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import command, positive


def add_export(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        commands,
        "export",
        "write a run's surface as a mesh with textures, for other programs",
        "  nerf3d export runs/chair --out chair.glb\n"
        "  nerf3d export runs/chair --out chair.usdz --faces 5000 --texture 2048\n"
        "  nerf3d export runs/chair --out chair.glb --refine\n"
        "  nerf3d export runs/chair --out chair.ply --resolution 512\n"
        "  nerf3d export runs/a-blue-mushroom --out mushroom.stl --unit 8cm\n"
        "  nerf3d export runs/fox --out fox.glb --box -0.5 -0.5 -0.5 0.5 0.5 0.5\n"
        "  nerf3d export runs/fox --out fox.glb --from depth",
        _export,
    )
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--out", required=True, help="the file: .glb, .usdz, .obj, .ply or .stl")
    parser.add_argument(
        "--faces", metavar="N", type=int, help="about so many triangles, 0: all (20000; .ply and .stl: all)"
    )
    parser.add_argument(
        "--texture", metavar="PIXELS", type=int, help="size of the textures, 0: colours at the vertices (1024)"
    )
    parser.add_argument("--smoothing", metavar="N", type=int, default=0, help="rounds of a filter against bumps (0)")
    parser.add_argument(
        "--unit",
        metavar="LENGTH",
        default="1m",
        help="how long a unit is, as in 30cm; a generated object is 1 tall (1m)",
    )
    parser.add_argument("--up", choices=["y", "z"], help="the file's upward axis (as its format is used to)")
    parser.add_argument(
        "--origin", choices=["scene", "base", "center"], help="where the file's origin is (scene; generated: base)"
    )
    parser.add_argument("--resolution", metavar="N", type=positive, default=256, help="cells along the box (256)")
    parser.add_argument(
        "--from",
        dest="source",
        choices=["density", "sight", "depth"],
        help="density: closed bodies; sight: soft ones, as far as light goes in; depth: what the cameras see, open where "
        "none looked (sight for what was made of a prompt, else density)",
    )
    parser.add_argument("--level", type=float, help="the density that counts as the surface (found automatically)")
    parser.add_argument(
        "--box",
        metavar="NUMBER",
        type=float,
        nargs=6,
        help="only this part: x y z of its lower corner, then of its upper",
    )
    parser.add_argument("--smallest", type=float, default=0.01, help="leave out parts smaller than this share (0.01)")
    parser.add_argument(
        "--refine",
        metavar="MINUTES",
        type=float,
        nargs="?",
        const=1.5,
        help="bring vertices and colours nearer to the photographs or the prompt for so long (1.5; default: not at all)",
    )


def _export(arguments: argparse.Namespace) -> None:
    from nerf3d.commands.mesh import mesh

    box = tuple(arguments.box) if arguments.box else None
    mesh(
        arguments.run_folder,
        arguments.out,
        arguments.resolution,
        arguments.level,
        arguments.smallest,
        box,
        arguments.faces,
        arguments.texture,
        arguments.smoothing,
        arguments.unit,
        arguments.up,
        arguments.origin,
        arguments.source,
        arguments.refine,
    )
