"""Poses for photographs that come without any: structure from motion by pycolmap on the CPU, once for each set."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from nerf3d.data.capture import Capture
from nerf3d.data.colmap import capture_from_model
from nerf3d.data.colmap_model import is_model, read_model
from nerf3d.data.files import inside
from nerf3d.data.pictures import common_size, list_pictures, load_pictures, picture_size
from nerf3d.errors import InputError

EXHAUSTIVE = 150
"""Up to so many pictures every pair is matched."""

STAGES = {"features": "Finding features", "pairs": "Matching pictures", "cameras": "Placing cameras"}
REMEDY = (
    "take more pictures that overlap by two thirds or more, sharp, from places apart and not only turned on the spot, "
    "of a scene that stands still"
)


def load_photographs(folder: Path) -> Capture:
    """A bare folder of pictures (in it or in its images/): finds their poses, or takes those found before.

    World frame and scale are those that structure from motion happened upon. Pictures that it could not place are left
    out. Every eighth of the others is held out. Raises InputError for pictures of different sizes, without pycolmap,
    and where fewer than three pictures could be placed.
    """
    folder = max(folder, folder / "images", key=lambda place: len(list_pictures(place)))
    pictures = list_pictures(folder)
    if not pictures:
        raise InputError(f"{folder} holds no pictures; put photographs (JPEG or PNG) into it")
    for picture in pictures:
        inside(folder, picture.name)  # a link to elsewhere: better said now than after minutes of work
    common_size(pictures)
    source = find_poses(pictures, workspace_for(folder, pictures))
    model = read_model(source)
    placed = {image.name for image in model.images}
    lost = [picture.name for picture in pictures if picture.name not in placed]
    if len(placed) < 3:
        raise InputError(f"{folder}: poses were found for only {len(placed)} of {len(pictures)} pictures; {REMEDY}")
    notes = [f"poses were found from the pictures alone ({source}), so the scale of the world is arbitrary"]
    if lost:
        listed = ", ".join(lost[:10]) + (", ..." if len(lost) > 10 else "")
        notes.append(f"{len(lost)} of {len(pictures)} pictures found no place among the others, left out: {listed}")
    return capture_from_model(folder, model, source, notes)


def workspace_for(folder: Path, pictures: Sequence[Path]) -> Path:
    """Where the poses of these very files belong: beside them, or in the user's cache where nothing can be written."""
    digest = hashlib.sha256(b"nerf3d poses 1")
    for picture in pictures:
        state = picture.stat()
        digest.update(f"\0{picture.name}\0{state.st_size}\0{state.st_mtime_ns}".encode())
    name = f"colmap-{digest.hexdigest()[:16]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerf3d"
    beside = folder / ".nerf3d" / name
    for workspace in (beside, cache / name):
        if is_model(workspace / "sparse"):
            return workspace
    return beside if os.access(folder, os.W_OK) else cache / name


def find_poses(pictures: Sequence[Path], workspace: Path) -> Path:
    """Structure from motion: the folder, in `workspace`, of a COLMAP model with names relative to the common folder.

    A workspace that is complete is used again. Otherwise the work is done in a temporary folder beside it, which takes
    its name at the end; Ctrl-C ends the work at once and leaves nothing. On a terminal it shows how far it has come.
    Raises InputError without pycolmap, for fewer than three pictures, and where no pose could be found.
    """
    if is_model(workspace / "sparse"):
        return workspace / "sparse"
    if len(pictures) < 3:
        raise InputError(f"{pictures[0].parent} holds {len(pictures)} pictures; poses need at least 3, better 30")
    if importlib.util.find_spec("pycolmap") is None:
        raise InputError(
            f"{pictures[0].parent} holds pictures without poses, and pycolmap, which finds them, is not installed; "
            'pip install "nerf3d[colmap]"'
        )
    root = Path(os.path.commonpath([picture.parent for picture in pictures]))
    names = sorted((picture.relative_to(root).as_posix() for picture in pictures), key=_natural)
    workspace.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{workspace.name}.tmp-", dir=workspace.parent)).resolve()
    try:
        files = _stand_ins([root / name for name in names], work / "pictures")
        job = {
            "work": str(work),
            "names": dict(zip(files, names)),
            "pairs": [(files[i], files[j]) for i, j in pairs_to_match(len(files))],
            "one_camera": len({picture_size(picture) for picture in pictures}) == 1,
        }
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        _reconstruct(work, root)
        if not is_model(work / "done" / "sparse"):
            raise InputError(f"{root}: no two of the {len(pictures)} pictures could be fitted together; {REMEDY}")
        if not is_model(workspace / "sparse"):  # another run may have been faster
            shutil.rmtree(workspace, ignore_errors=True)
            os.replace(work / "done", workspace)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            workspace.parent.rmdir()  # where nothing came of it and nothing else is there
    return workspace / "sparse"


def pairs_to_match(count: int) -> list[tuple[int, int]]:
    """Which pictures of a sequence are compared with each other.

    All pairs of up to 150. Of more, which are then frames of a film or a long walk: each with the ten after it and with
    those 16, 32, 64, ... later, and some 60 spread evenly with each other, so that loops close.

    >>> pairs_to_match(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    if count <= EXHAUSTIVE:
        return list(combinations(range(count), 2))
    steps = [*range(1, 11), *(2**k for k in range(4, count.bit_length()))]
    near = {(i, i + step) for i in range(count) for step in steps if i + step < count}
    return sorted(near | set(combinations(range(0, count, -(-count // 60)), 2)))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts frame_2 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _stand_ins(pictures: Sequence[Path], folder: Path) -> list[str]:
    """Links with plain names to the pictures, since COLMAP's lists of pairs cannot hold spaces.

    WebP, which it cannot read, becomes PNG. All are decoded once, because COLMAP would leave out in silence what is
    broken.
    """
    folder.mkdir()
    names = []
    for index, picture in enumerate(pictures):
        pixels = load_pictures([picture], alpha=False)[0]
        webp = picture.suffix.lower() == ".webp"
        names.append(f"{index:06d}{'.png' if webp else picture.suffix.lower()}")
        if webp:
            Image.fromarray(pixels.numpy()).save(folder / names[-1])
        else:
            try:
                (folder / names[-1]).symlink_to(picture.resolve())
            except OSError:  # a file system without links
                shutil.copyfile(picture, folder / names[-1])
    return names


def _reconstruct(work: Path, root: Path) -> None:
    """Run the job in its own process and show how far it has come."""
    # -P: no module is taken from beside the script or from the folder in which the person happens to be.
    script = Path(__file__).with_name("structure_from_motion.py")
    command = [sys.executable, "-P", str(script), str(work / "job.json")]
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    log: deque[str] = deque(maxlen=200)
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            bar = None
            for line in process.stdout:
                if line.startswith("{"):
                    state = json.loads(line)
                    if state["done"] == 0:
                        _finish(progress, bar)
                        bar = progress.add_task(STAGES[state["stage"]], total=state["total"])
                    elif bar is not None:
                        progress.update(bar, completed=state["done"])
                elif bar is not None and (share := re.search(r"Process\w+ (?:file|block) \[(\d+)/(\d+)\]", line)):
                    done, of = map(int, share.groups())
                    progress.update(bar, completed=done * (progress.tasks[bar].total or 0) // of)
                log.append(line.strip())
            if process.wait() == 0:
                _finish(progress, bar)
        finally:
            process.kill()
    if process.returncode != 0:
        # Errors of COLMAP's log begin with E or F and the date; a traceback has what matters in its last line.
        errors = [line.partition("] ")[2] for line in log if re.match(r"[EF]\d{8} ", line)]
        what = next(iter([*errors, *(line for line in reversed(log) if line)]), f"exit code {process.returncode}")
        raise InputError(f"{root}: structure from motion failed ({what}); check the pictures, or give poses with them")


def _finish(progress: Progress, bar: TaskID | None) -> None:
    if bar is not None:
        progress.update(bar, completed=progress.tasks[bar].total)
        progress.stop_task(bar)
