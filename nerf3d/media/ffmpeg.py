"""ffmpeg as a reader of films and sound: what a file holds, and its contents through a pipe.

imageio-ffmpeg carries the program, so that none has to be installed. It is started without a shell, names are always
names of local files, and playlists that lead elsewhere are not followed.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nerf3d.errors import InputError

DURATION = re.compile(r"^ *Duration: (\d+):(\d+):(\d+(?:\.\d+)?)", re.MULTILINE)
SPEAKER = re.compile(r"^\[[^\]]*\] *")
"""Which part of the program speaks: "[out#0/image2pipe @ 0x55d1] "."""
RATE = re.compile(r"([\d.]+) fps")


@dataclass(frozen=True)
class Contents:
    """What a file holds. `seconds` and `rate` (frames per second, on average) are None where the file does not say."""

    path: Path
    seconds: float | None
    rate: float | None
    has_video: bool
    has_sound: bool


def ffmpeg() -> str:
    """The path of the program."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def source(path: Path) -> list[str]:
    """The arguments that make a local file, whatever its name looks like, the next input."""
    return ["-protocol_whitelist", "file", "-i", f"file:{path}"]


def look_into(path: Path) -> Contents:
    """What a film or sound file holds, without decoding it.

    Raises InputError for a file that is not there or that ffmpeg cannot make sense of.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give a film or a sound file")
    command = [ffmpeg(), "-nostdin", "-hide_banner", *source(path)]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stderr.decode(
        errors="replace"
    )
    streams = [line for line in said.splitlines() if line.lstrip().startswith("Stream #")]
    films = [line for line in streams if "Video:" in line and "(attached pic)" not in line]
    sounds = [line for line in streams if "Audio:" in line]
    if not films and not sounds:
        raise InputError(f"{path} holds neither film nor sound that can be read; give another file, or convert it")
    clock, rate = DURATION.search(said), RATE.search(films[0]) if films else None
    seconds = None
    if clock:
        hours, minutes, rest = clock.groups()
        seconds = 3600 * int(hours) + 60 * int(minutes) + float(rest)
    return Contents(path, seconds, float(rate[1]) if rate else None, bool(films), bool(sounds))


def decoded(path: Path, before: Sequence[str], after: Sequence[str], size: int) -> Iterator[bytes]:
    """What ffmpeg makes of a file, in pieces of `size` bytes; only the last may be shorter.

    `before` and `after` are arguments on either side of the input. The program ends with the iterator, however that
    ends. Raises InputError where ffmpeg gives up.
    """
    command = [ffmpeg(), "-nostdin", "-loglevel", "error", *before, *source(path), *after, "pipe:1"]
    with tempfile.TemporaryFile() as log:  # not a pipe, which would fill up and wait for a reader
        reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert reader.stdout is not None
        try:
            while piece := reader.stdout.read(size):
                yield piece
            failed = reader.wait() != 0
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()
        if failed:
            raise InputError(
                f"{path} cannot be read to its end: ffmpeg says {last_line(log)!r}; convert it, or repair it"
            )


def last_line(log: IO[bytes]) -> str:
    """What the program said last, for a person to read."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return SPEAKER.sub("", lines[-1].strip()) if lines else "nothing"
