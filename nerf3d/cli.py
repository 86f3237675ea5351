"""The command line: `nerf3d COMMAND --help` says what each command takes."""

import argparse
import sys
from collections.abc import Sequence

from nerf3d import __version__
from nerf3d.errors import FailedError, InputError, Interrupted
from nerf3d.options.avatar import add_avatar
from nerf3d.options.bench import add_bench
from nerf3d.options.doctor import add_doctor
from nerf3d.options.evaluate import add_eval
from nerf3d.options.export import add_export
from nerf3d.options.fit import add_fit
from nerf3d.options.gen import add_gen
from nerf3d.options.render import add_render
from nerf3d.options.text import add_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: it was done and nothing came of it; 2: what was given cannot be used; 130: interrupted,
    everything saved that can be.
    """
    arguments = _parser().parse_args(argv)
    try:
        if getattr(arguments, "kernels", "auto") != "auto":
            from nerf3d.kernels.backend import choose  # it loads torch

            choose(arguments.kernels)
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
        description="A prompt, photographs or a film of a speaker in; a radiance field, a mesh and honest figures out.",
        epilog="Begin with: nerf3d text 'a blue mushroom', or nerf3d fit FOLDER_WITH_PHOTOGRAPHS --max-minutes 3",
    )
    parser.add_argument("--version", action="version", version=f"nerf3d {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_text, add_fit, add_avatar, add_gen, add_render, add_export, add_eval, add_bench, add_doctor):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
