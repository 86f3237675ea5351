"""A collection of the built-in world in, a folder in EG3D's layout out: what a generative field can learn from at once."""

import time
from dataclasses import dataclass
from pathlib import Path

from nerf3d.console import say, tracked
from nerf3d.data.collections.eg3d import write_eg3d
from nerf3d.data.collections.world import Kind, rendered
from nerf3d.errors import InputError
from nerf3d.files import whole_folder


@dataclass(frozen=True)
class PreparedCollection:
    """What was written where, and how long it took."""

    folder: Path
    objects: int
    pictures: int
    seconds: float


def prepare_collection(
    kind: Kind, out: Path | str, count: int = 1000, views: int = 20, size: int = 32, seed: int = 0
) -> PreparedCollection:
    """Draw `count` objects in `views` pictures each and write them, with alpha, into the new folder `out`.

    `kind` is "cars" or "objects", `size` 32, 64 or 128 pixels. A seed says all: the same one gives the same files. The
    folder appears whole or not at all. Raises InputError for what cannot be drawn and for a folder that holds anything.
    """
    started = time.perf_counter()
    out = Path(out)
    collections = rendered(kind, count, views, size, seed)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists; choose another folder with --out, or remove it")
    with whole_folder(out) as work:
        write_eg3d(work, tracked(collections, kind, count))
    prepared = PreparedCollection(out, count, count * views, time.perf_counter() - started)
    say(f"{count} {kind} in {prepared.pictures} pictures of {size} pixels, in {out}; {prepared.seconds:.0f} s")
    return prepared
