"""The command line: `nerf3d COMMAND --help` says what each command takes."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from nerf3d import __version__
from nerf3d.errors import FailedError, InputError, Interrupted

STARTED = time.perf_counter()
Handler = Callable[[argparse.Namespace], None]
MESHES = (".glb", ".obj", ".ply", ".stl", ".usdz")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: it was done and nothing came of it; 2: what was given cannot be used; 130: interrupted,
    everything saved that can be.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except InputError as error:
        print(f"nerf3d: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # what no command foresaw: a disk that is full or gone, a folder that is not one's own
        where = f"{error.filename}: " if error.filename else ""
        print(f"nerf3d: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except FailedError as error:
        print(f"nerf3d: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"nerf3d: {error}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("nerf3d: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nerf3d",
        description="Photographs in; a radiance field, a film, a mesh and honest figures out.",
        epilog="Begin with: nerf3d fit FOLDER_WITH_PHOTOGRAPHS --max-minutes 3",
    )
    parser.add_argument("--version", action="version", version=f"nerf3d {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_text, _add_fit, _add_render, _add_export, _add_eval, _add_bench, _add_doctor):
        add(commands)
    return parser


def _command(commands, name: str, summary: str, examples: str, run: Handler) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_text(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
        commands,
        "text",
        "make a 3D object of a prompt",
        '  nerf3d text "a blue mushroom"\n'
        '  nerf3d text "a red cube on top of a blue cylinder" --out runs/tower --seed 3\n'
        '  nerf3d text "a striped pink cone" --candidates 4\n'
        '  nerf3d text "a corgi wearing a top hat" --prior sd15 --device cuda\n'
        '  nerf3d text "a blue mushroom" --out runs/a-blue-mushroom --resume',
        _text,
    )
    parser.add_argument(
        "prompt", help="what to make, in English; the embedded prior knows simple things in plain colours"
    )
    parser.add_argument("--out", metavar="RUN", help="the run's folder (runs/PROMPT)")
    parser.add_argument(
        "--prior", metavar="NAME", help="the model that judges: an alias, a hub id or a folder (the embedded one)"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="a recipe: a name in configs/text, or a .yaml file (by the prior)"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one value of the recipe"
    )
    parser.add_argument(
        "--max-minutes", metavar="M", type=float, help="in all, until training ends, in place of the steps"
    )
    parser.add_argument("--steps", metavar="N", type=int, help="end after N steps")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance in the run (0)")
    parser.add_argument(
        "--candidates", metavar="N", type=_positive, default=1, help="make N with different seeds and keep the best (1)"
    )
    parser.add_argument("--checkpoint-every", metavar="N", type=_positive, help="steps between checkpoints (a minute)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu or cuda (cpu)")


def _add_fit(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
        commands,
        "fit",
        "optimise a radiance field from a folder of photographs",
        "  nerf3d fit assets/chair --max-minutes 1\n"
        "  nerf3d fit photographs/ --out runs/garden --max-minutes 10\n"
        "  nerf3d fit photographs/ --out runs/garden --resume\n"
        "  nerf3d fit scene/ --preset tensorf --steps 5000 --set field.resolution=64",
        _fit,
    )
    parser.add_argument("scene", help="a data set (Blender, instant-ngp, nerfstudio, LLFF, COLMAP) or bare photographs")
    parser.add_argument("--out", metavar="RUN", help="the run's folder (runs/SCENE-PRESET)")
    parser.add_argument(
        "--preset", metavar="NAME", help="a recipe: a name in configs/fit, or a .yaml file (by the data)"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one value of the recipe"
    )
    parser.add_argument(
        "--max-minutes", metavar="M", type=float, help="in all, until training ends; loading and compiling count"
    )
    parser.add_argument("--steps", metavar="N", type=int, help="end after N steps")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance in the run (0)")
    parser.add_argument("--checkpoint-every", metavar="N", type=_positive, help="steps between checkpoints (a minute)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu or cuda (cpu)")


def _add_render(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
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
    parser.add_argument("--frames", metavar="N", type=_positive, default=90, help="(90)")
    parser.add_argument("--fps", type=float, default=30.0, help="frames per second (30)")
    parser.add_argument(
        "--size", metavar="PIXELS", type=_positive, help="the longer side (as photographed, at most 640)"
    )


def _add_export(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
        commands,
        "export",
        "write a run's surface as a mesh with textures, for other programs",
        "  nerf3d export runs/chair --out chair.glb\n"
        "  nerf3d export runs/chair --out chair.usdz --faces 5000 --texture 2048\n"
        "  nerf3d export runs/chair --out chair.ply --resolution 512\n"
        "  nerf3d export runs/a-blue-mushroom --out mushroom.stl --unit 8cm\n"
        "  nerf3d export runs/fox --out fox.glb --box -0.5 -0.5 -0.5 0.5 0.5 0.5",
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
    parser.add_argument("--resolution", metavar="N", type=_positive, default=256, help="cells along the box (256)")
    parser.add_argument("--level", type=float, help="the density that counts as the surface (found automatically)")
    parser.add_argument(
        "--box",
        metavar="NUMBER",
        type=float,
        nargs=6,
        help="only this part: x y z of its lower corner, then of its upper",
    )
    parser.add_argument("--smallest", type=float, default=0.01, help="leave out parts smaller than this share (0.01)")


def _add_eval(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
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


def _add_bench(commands) -> None:  # type: ignore[no-untyped-def]
    parser = _command(
        commands,
        "bench",
        "run a whole list of prompts, and put figures and pictures of all in one place",
        "  nerf3d bench text\n  nerf3d bench text --prompts mine.txt --out runs/mine",
        _bench,
    )
    parser.add_argument("story", choices=["text"], help="what to run")
    parser.add_argument("--prompts", metavar="FILE", help="one prompt a line (24 that come with the program)")
    parser.add_argument("--out", metavar="DIR", default="runs/bench-text", help="the folder (runs/bench-text)")
    parser.add_argument("--prior", metavar="NAME", help="as in `nerf3d text`")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change the recipe")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance in the runs (0)")


def _add_doctor(commands) -> None:  # type: ignore[no-untyped-def]
    _command(commands, "doctor", "say what this machine has, and what would help", "  nerf3d doctor", _doctor)


def _text(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.text import text

    outcome = text(
        arguments.prompt,
        arguments.out,
        arguments.prior,
        arguments.preset,
        tuple(arguments.set),
        arguments.steps,
        arguments.max_minutes,
        arguments.seed,
        arguments.checkpoint_every,
        arguments.resume,
        arguments.device,
        STARTED,
        arguments.candidates,
    )
    if outcome.asset is None:
        raise FailedError(f"{outcome.collapse}; nothing came of it, try another --seed or other words")


def _fit(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.fit import fit

    fit(
        arguments.scene,
        arguments.out,
        arguments.preset,
        tuple(arguments.set),
        arguments.steps,
        arguments.max_minutes,
        arguments.seed,
        arguments.checkpoint_every,
        arguments.resume,
        arguments.device,
        STARTED,
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


def _bench(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.commands.bench import bench_text, summary

    prompts = Path(arguments.prompts) if arguments.prompts else None
    rows = bench_text(prompts, arguments.out, arguments.prior, tuple(arguments.set), arguments.seed)
    for name, value in summary(rows).items():
        print(f"{name:26} {'-' if value is None else f'{value:.3f}'}")


def _doctor(arguments: argparse.Namespace) -> None:
    from nerf3d.doctor import examine, render

    print(render(examine()))


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return number


if __name__ == "__main__":
    sys.exit(main())
