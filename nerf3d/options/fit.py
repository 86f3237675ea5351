"""What `nerf3d fit SCENE` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import STARTED, command, positive


def add_fit(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
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
    parser.add_argument("--checkpoint-every", metavar="N", type=positive, help="steps between checkpoints (a minute)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu or cuda (cpu)")


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
