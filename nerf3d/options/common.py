"""What the commands have in common: how a parser is made, and when the program began."""

import argparse
import time
from collections.abc import Callable

STARTED = time.perf_counter()
Handler = Callable[[argparse.Namespace], None]


def command(commands, name: str, summary: str, examples: str, run: Handler) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    """The parser of one command; `run` is called with what was parsed."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def positive(text: str) -> int:
    """A number from the command line that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return number


def add_training(parser: argparse.ArgumentParser, story: str, chosen: str, counts: str = "") -> None:
    """What every command that trains takes; `chosen` says what the recipe depends on, `counts` what the minutes hold."""
    parser.add_argument(
        "--preset", metavar="NAME", help=f"a recipe: a name in configs/{story}, or a .yaml file (by {chosen})"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change one value of the recipe"
    )
    parser.add_argument("--max-minutes", metavar="M", type=float, help=f"in all, until training ends{counts}")
    parser.add_argument("--steps", metavar="N", type=int, help="end after N steps")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance in the run (0)")
    parser.add_argument("--checkpoint-every", metavar="N", type=positive, help="steps between checkpoints (a minute)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--device", default="auto", help="where to compute: cpu, cuda, auto: on a GPU if there is one (auto)"
    )
    parser.add_argument(
        "--kernels",
        choices=["auto", "torch", "numba", "triton", "tcnn"],
        default="auto",
        help="which versions of the inner loops to use (auto: numba on a CPU, Triton on CUDA, else torch; tcnn: "
        "tiny-cuda-nn and nerfacc where they have them, with networks in half precision, so that auto leaves them out)",
    )
