#!/usr/bin/env python
"""Render the synthetic person speaking: a film with sound, and all that is true of it.

    scripts/render_person.py OUT [--seconds 20] [--size 256] [--seed 0] [--sound FILE]

OUT gets `person.mp4` (25 frames a second), `truth.json` (poses, mouth, lids, landmarks; see `nerf3d.data.person.film.truth`)
and the mattes `head/00000.png` and `person/00000.png` ... A frame of 256 x 256 takes about a quarter of a second on one
core.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

from nerf3d.console import tracked
from nerf3d.data.person.film import FPS, VOICE, write_person
from nerf3d.data.sound import read_sound
from nerf3d.errors import InputError


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="how much of the sound to speak")
    parser.add_argument("--size", type=int, default=256, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the head's motion and the blinks")
    parser.add_argument("--sound", type=Path, default=VOICE, help="what to say; a voice comes with the program")
    given = parser.parse_args(arguments)
    begin = time.perf_counter()
    rng = torch.Generator().manual_seed(given.seed)
    count = round(given.seconds * FPS)
    sound = read_sound(given.sound)
    done = write_person(given.out, sound, given.seconds, given.size, rng, lambda seen: tracked(seen, "frames", count))
    print(f"{given.out / 'person.mp4'}: {len(done)} frames in {time.perf_counter() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
