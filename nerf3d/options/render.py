"""What `nerf3d render RUN` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import command, positive


def add_render(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        commands,
        "render",
        "film a run, or render it to pictures",
        "  nerf3d render runs/chair --out chair.mp4\n"
        "  nerf3d render runs/fox --path spiral --channels rgb,depth,normal\n"
        "  nerf3d render runs/fox --path inputs --frames 200 --out frames/",
        _render,
    )
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--path", default="orbit", help="orbit, spiral, inputs or a JSON file with cameras (orbit)")
    parser.add_argument("--out", help="an .mp4 file, or a folder for PNGs (RUN/media/PATH.mp4)")
    parser.add_argument("--channels", default="rgb", help="of rgb,depth,normal,opacity; side by side in a film (rgb)")
    parser.add_argument("--frames", metavar="N", type=positive, default=90, help="(90)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames per second (30)")
    parser.add_argument(
        "--size", metavar="PIXELS", type=positive, help="the longer side (as photographed, from 192 to 640)"
    )


def _render(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.film import film

    channels = tuple(name.strip() for name in arguments.channels.split(",") if name.strip())
    film(
        arguments.run_folder,
        arguments.out,
        arguments.path,
        channels,
        arguments.frames,
        arguments.fps,
        arguments.size,
    )
