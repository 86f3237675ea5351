"""The files of a data set: kept inside its folder, and read with errors that a person can act on."""

import json
from pathlib import Path
from typing import Any

from nerf3d.errors import InputError


def inside(folder: Path, name: str) -> Path:
    """The path of a file that a data set names, with all links resolved. The file need not exist.

    Names are relative to `folder`. Data sets come from strangers, so nothing outside of `folder` is ever read: a name
    that leaves it is an InputError, be it by `..`, by an absolute path or by a symbolic link that points elsewhere.
    `folder` itself may well be a link. Backslashes, which data sets made on Windows contain, count as slashes.
    """
    try:
        path = (folder / name.replace("\\", "/")).resolve()
        path.exists()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a null character, a name of 5000 letters
        short = name if len(name) < 100 else name[:100] + "..."
        raise InputError(
            f"the data set {folder} names a file {short!r}, which is not a possible path; correct it"
        ) from None
    if not path.is_relative_to(folder.resolve()):
        raise InputError(
            f"{name!r} leaves the data set's folder {folder}; put the file itself into the folder (not a link to it) "
            "and name it relative to the folder"
        )
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose outermost value is an object."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check that it is there and yours to read"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not complete, valid JSON ({error}); copy or export it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__} where an object with frames is expected")
    return value
