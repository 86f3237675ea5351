"""Checkpoints: the whole state of a run on disk, to the last bit, and never half of it.

    RUN/checkpoints/step_00001234/
        tensors.safetensors     every tensor: parameters, optimiser moments, random streams, occupancy grids
        values.json             everything else, and where in it each tensor belongs
        manifest.json           length and SHA-256 of the other two, by which a truncated or foreign file is noticed

A checkpoint is written under a temporary name, flushed to the disk and renamed; only then are older ones removed. So a
crash at any moment leaves the new one whole, or the one before it. Nothing is pickled: reading a stranger's checkpoint
runs no code.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nerf3d.errors import InputError

State = dict[str, Any]
"""Nested dicts, lists and tuples of tensors, numbers, strings, booleans and None."""

FORMAT = "nerf3d checkpoint"
VERSION = 1
TENSORS, VALUES, MANIFEST = "tensors.safetensors", "values.json", "manifest.json"
FILES = (TENSORS, VALUES)
UNFINISHED = ".unfinished_"
# `.old` stands for the moment between two renames, when a step is saved a second time.
NAME = re.compile(r"step_(\d{8,})(\.old)?")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@runtime_checkable
class Stateful(Protocol):
    """What has a state to keep: modules, optimisers, and whatever of ours has these two methods."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole; its tensors are on the CPU."""

    path: Path
    step: int
    state: State


def collect(objects: Mapping[str, Stateful | torch.Generator]) -> State:
    """The present state of named objects, to be saved: `save(run, step, collect(objects) | {"seconds": 12.5})`."""
    return {
        name: value.get_state() if isinstance(value, torch.Generator) else value.state_dict()
        for name, value in objects.items()
    }


def restore(objects: Mapping[str, Stateful | torch.Generator], checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state into objects that were made as those it was collected from.

    Raises InputError where the two do not fit, as when the configuration was edited in between.
    """
    for name, value in objects.items():
        try:
            if isinstance(value, torch.Generator):
                value.set_state(checkpoint.state[name])
            else:
                value.load_state_dict(checkpoint.state[name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:300]
            raise InputError(
                f"{checkpoint.path}: its {name!r} does not fit this run ({detail}); resume with the configuration and "
                "the version of nerf3d that it was saved by, or begin a new run in another folder"
            ) from error


def save(folder: Path, step: int, state: State, keep: int = 2) -> Path:
    """Write `folder`/checkpoints/step_XXXXXXXX and remove all but the newest `keep`; gives the new one's path.

    Raises InputError when the disk is full or cannot be written to. Nothing of the attempt is left then, and the
    checkpoints that were there still are. TypeError when the state holds something that is neither a tensor nor plain.
    """
    checkpoints = folder / "checkpoints"
    path = checkpoints / f"step_{step:08d}"
    unfinished = checkpoints / (UNFINISHED + path.name)
    tensors: dict[str, Tensor] = {}
    values = json.dumps({"step": step, "state": _pack(state, "", tensors)}, ensure_ascii=False).encode()
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        for leftover in checkpoints.glob(UNFINISHED + "*"):
            shutil.rmtree(leftover)
        unfinished.mkdir()
        contents = {TENSORS: safetensors.torch.save(_saveable(tensors)), VALUES: values}
        for name, data in contents.items():
            _write(unfinished / name, data)
        files = {name: {"bytes": len(data), "sha256": _digest(data)} for name, data in contents.items()}
        manifest = {"format": FORMAT, "version": VERSION, "step": step, "files": files}
        _write(unfinished / MANIFEST, json.dumps(manifest, indent=2).encode())
        _flush_folder(unfinished)
        _put_in_place(unfinished, path)
        _flush_folder(checkpoints)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise InputError(_cannot_write(checkpoints, step, error)) from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    for old in _found(checkpoints)[max(keep, 1) :]:
        if old != path:
            shutil.rmtree(old, ignore_errors=True)
    return path


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of the run in `folder`; None where there is none yet.

    Raises InputError when the newest is truncated, damaged or not ours. The sentence names the newest one before it
    that is whole; it is the person who decides to go back to that, by deleting the broken one.
    """
    checkpoints = folder / "checkpoints"
    found = _found(checkpoints)
    if not found:
        foreign = sorted(p.name for p in checkpoints.glob("*") if not p.name.startswith("."))
        if foreign:
            raise InputError(
                f"{checkpoints} holds no checkpoint of nerf3d but {foreign[0]!r}, which it did not write; "
                "begin a new run in another folder"
            )
        return None
    try:
        return _read(found[0])
    except _BrokenError as broken:
        raise InputError(f"{found[0]} cannot be used: {broken}; {_way_out(found)}") from broken


class _BrokenError(Exception):
    """A checkpoint that cannot be used; the text says why."""


def _found(checkpoints: Path) -> list[Path]:
    """All that is named like a checkpoint, newest first, whole or not."""
    named = [(match, path) for path in checkpoints.glob("step_*") if (match := NAME.fullmatch(path.name))]
    named.sort(key=lambda pair: (int(pair[0][1]), pair[0][2] is None), reverse=True)
    return [path for _, path in named]


def _read(path: Path) -> Checkpoint:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise _BrokenError("it was not written by nerf3d")
        if manifest["version"] != VERSION:
            raise _BrokenError(f"it has format version {manifest['version']}, and this nerf3d reads version {VERSION}")
        expected = {name: (manifest["files"][name]["bytes"], manifest["files"][name]["sha256"]) for name in FILES}
    except OSError as error:
        raise _BrokenError(f"its {MANIFEST} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _BrokenError(f"its {MANIFEST} is cut off or was not written by nerf3d") from error
    contents = {name: _verified(path / name, *expected[name]) for name in FILES}
    try:
        step, state = (json.loads(contents[VALUES])[key] for key in ("step", "state"))
        tree = _unpack(state, safetensors.torch.load(contents[TENSORS]))
    except (ValueError, KeyError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise _BrokenError("its files do not belong together") from error
    if not path.name.startswith(f"step_{step:08d}"):
        raise _BrokenError(f"it was made at step {step}, and its folder has been renamed")
    return Checkpoint(path, step, tree)


def _verified(path: Path, length: int, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _BrokenError(f"its {path.name} cannot be read ({error.strerror})") from error
    if len(data) != length:
        raise _BrokenError(f"its {path.name} has {len(data)} bytes of {length}")
    if _digest(data) != digest:
        raise _BrokenError(f"its {path.name} is not the file that was written (its SHA-256 differs)")
    return data


def _way_out(found: list[Path]) -> str:
    for earlier in found[1:]:
        try:
            _read(earlier)
        except _BrokenError:
            continue
        return f"{earlier.name} is whole: delete {found[0].name} (and any between the two) to go on from there"
    return "no earlier one is whole: delete it and begin again, without --resume"


def _cannot_write(checkpoints: Path, step: int, error: OSError) -> str:
    full = error.errno in DISK_FULL
    reason = "the disk is full" if full else (error.strerror or str(error))
    remedy = "free some space there" if full else "make the folder writable"
    kept = _found(checkpoints)
    before = f"{kept[0].name} is untouched" if kept else "there was none before it"
    return f"cannot write the checkpoint of step {step} to {checkpoints}: {reason}; {before}; {remedy} and use --resume"


# The tree of state <-> JSON. Tensors leave the tree and a reference stays; what JSON has no word for is spelt out:
#     {"$tensor": "model/table"}   {"$tuple": [0.9, 0.99]}   {"$items": [[0, "a dict whose keys are not strings"]]}


def _pack(value: object, name: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        if name in tensors:
            raise ValueError(f"two tensors of the state have the name {name!r}")
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, list | tuple):
        packed = [_pack(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
        return packed if isinstance(value, list) else {"$tuple": packed}
    if isinstance(value, Mapping):
        items = [(key, _pack(item, f"{name}/{key}" if name else str(key), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$items": [[_pack(key, name, {}), item] for key, item in items]}
    raise TypeError(f"a checkpoint cannot hold {name!r}, a {type(value).__name__}: tensors, numbers and strings only")


def _unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    match packed:
        case {"$tensor": name}:
            return tensors[name]
        case {"$tuple": items}:
            return tuple(_unpack(item, tensors) for item in items)
        case {"$items": items}:
            return {_unpack(key, {}): _unpack(item, tensors) for key, item in items}
        case dict():
            return {key: _unpack(item, tensors) for key, item in packed.items()}
        case list():
            return [_unpack(item, tensors) for item in packed]
    return packed


def _saveable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, dense, and each with its own memory, as safetensors wants them (tied weights share theirs)."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        memory = dense.untyped_storage().data_ptr()
        result[name] = dense.clone() if memory in seen else dense
        seen.add(memory)
    return result


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(unfinished: Path, path: Path) -> None:
    """Rename; a folder cannot replace a full one in one motion, so one of the same step steps aside first."""
    aside = path.with_name(path.name + ".old")
    if path.exists():
        if aside.exists():
            shutil.rmtree(aside)
        os.replace(path, aside)
    os.replace(unfinished, path)
    if aside.exists():
        shutil.rmtree(aside, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is; Windows has no way to ask for that, and no need of it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
