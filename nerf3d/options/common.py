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
