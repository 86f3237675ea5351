"""Files and folders that appear whole or not at all."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from typing import Any

from nerf3d.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, with the same suffix, that becomes `path` when the block ends well.

    An exception in the block (Ctrl-C included) removes it, and whatever was at `path` before stays. The folder is made
    if it does not exist. Raises InputError where the system refuses: no permission, a full disk, a folder in the file's
    place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, over: bool = False) -> Iterator[Path]:
    """The same for a folder, which takes the place of none, of an empty one, or of a full one if it goes `over` that.

    What is said of the temporary folder in an InputError is said of `path`.
    """
    path = path.resolve() if path.is_symlink() else path.absolute()  # "data/." has no name to put something in front of
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _refused(path, error) from error
    before = temporary.with_name(f"{temporary.name}-before")
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if over and path.is_dir():
            os.replace(path, before)
        os.replace(temporary, path)
    except OSError as error:
        raise _refused(path, error) from error
    except InputError as error:
        raise type(error)(str(error).replace(str(temporary), str(path))) from error
    finally:
        if before.is_dir() and not path.is_dir():  # it did not come so far that the new one is there
            os.replace(before, path)
        for leftover in (temporary, before):
            shutil.rmtree(leftover, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, data: Any) -> None:
    """Write it whole or not at all; NaN and infinity, which JSON does not have, become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(_valid(data), indent=2, allow_nan=False), encoding="utf-8")


def _valid(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refused(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written ({error.strerror or error}): choose a place that can be written to.")
