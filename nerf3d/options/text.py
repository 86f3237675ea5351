"""What `nerf3d text PROMPT` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.errors import FailedError
from nerf3d.options.common import STARTED, add_training, command, positive


def add_text(commands) -> None:  # type: ignore[no-untyped-def]
    parser = command(
        commands,
        "text",
        "make a 3D object of a prompt",
        '  nerf3d text "a blue mushroom"\n'
        '  nerf3d text "a red cube on top of a blue cylinder" --out runs/tower --seed 3\n'
        '  nerf3d text "a striped pink cone" --candidates 4\n'
        '  nerf3d text "a corgi wearing a top hat" --prior sd15\n'
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
        "--candidates", metavar="N", type=positive, default=1, help="make N with different seeds and keep the best (1)"
    )
    add_training(parser, "text", "the prior", ", in place of the steps")


def _text(arguments: argparse.Namespace) -> None:
    from nerf3d.allocator import keep_pages

    keep_pages()
    from nerf3d.tensor_cores import use_tensor_cores

    use_tensor_cores()
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
