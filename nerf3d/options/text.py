"""What `nerf3d text PROMPT` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.errors import FailedError
from nerf3d.options.common import STARTED, command, positive


def add_text(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
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
        "--candidates", metavar="N", type=positive, default=1, help="make N with different seeds and keep the best (1)"
    )
    parser.add_argument("--checkpoint-every", metavar="N", type=positive, help="steps between checkpoints (a minute)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu or cuda (cpu)")


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
