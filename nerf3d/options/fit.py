"""What `nerf3d fit SCENE` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import STARTED, add_training, command


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
    add_training(parser, "fit", "the data", "; loading and compiling count")


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
