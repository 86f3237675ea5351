"""What `nerf3d doctor` takes. Nothing heavy is imported before it runs."""

import argparse

from nerf3d.options.common import command


def add_doctor(commands) -> None:  # type: ignore[no-untyped-def]
    command(commands, "doctor", "say what this machine has, and what would help", "  nerf3d doctor", _doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from nerf3d.doctor import examine, render

    print(render(examine()))
