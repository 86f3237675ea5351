"""Runs: folders that hold all that a story left behind, and the way back from them to a scene.

RUN/config.yaml        what was run, complete and reloadable
RUN/capture.json       of photographs: cameras, box and up direction; the run can be watched without them
RUN/portrait.safetensors  of a talking head: how it moved, what was behind; it can speak without its film
RUN/checkpoints/       see `nerf3d.checkpoint`
RUN/metrics.jsonl      one line every so often in training; also as TensorBoard events in RUN/tensorboard
RUN/media/             pictures and films
RUN/metrics.json       the last evaluation
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerf3d.checkpoint import load_latest, restore
from nerf3d.config import dump_yaml, from_plain, load_yaml, to_plain
from nerf3d.core import Box, Cameras, Scene
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.load import load_capture
from nerf3d.data.portrait.likeness import Likeness, read_likeness, write_likeness
from nerf3d.errors import InputError
from nerf3d.files import whole_file
from nerf3d.tasks.avatar import Avatar
from nerf3d.tasks.avatar.scenery import Scenery as Person
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.text import Text
from nerf3d.tasks.text.scenery import Scenery

CONFIG, CAPTURE, PORTRAIT = "config.yaml", "capture.json", "portrait.safetensors"
Recipe = Fit | Text | Avatar


@dataclass(frozen=True)
class RunConfig:
    """What config.yaml says."""

    source: str
    """The folder with the photographs or with the prepared film, or the prompt."""
    seed: int
    recipe: Recipe


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    config: RunConfig

    @property
    def media(self) -> Path:
        return self.folder / "media"


def check_new(folder: Path) -> None:
    """InputError unless the folder is empty or does not exist yet."""
    try:
        if (folder / CONFIG).exists():
            raise InputError(
                f"{folder} holds a run already; go on with it (--resume, in Python resume=True), or choose another "
                "folder (--out, in Python out=...)"
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is not an empty folder; choose another (--out, in Python out=...)")
    except OSError as error:
        raise InputError(f"{folder} cannot be used ({error.strerror}); choose another folder with --out") from error


def begin_run(folder: Path, config: RunConfig, found: Capture | Likeness | None = None) -> Run:
    """Make the folder of a new run; what was found in photographs or in a film goes along.

    InputError where there is a run already, or where the folder cannot be written.
    """
    check_new(folder)
    there = folder.exists()
    try:
        (folder / "media").mkdir(parents=True)
        if isinstance(found, Capture):
            _write_whole(folder / CAPTURE, json.dumps(_capture_to_plain(found)))
        elif found is not None:
            write_likeness(found, folder / PORTRAIT)
        dump_yaml(to_plain(config), folder / CONFIG)  # last: a folder with a configuration is a run
    except (OSError, InputError) as error:
        for leftover in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        if folder.is_dir() and not there:
            folder.rmdir()
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{folder} cannot be written ({reason}); choose another folder with --out") from error
    return Run(folder, config)


def open_run(folder: Path) -> Run:
    """A run that exists. InputError for anything else."""
    try:
        there = (folder / CONFIG).is_file()
        reason = "there is no such folder" if not folder.exists() else f"it has no {CONFIG}"
    except OSError as error:
        there, reason = False, str(error.strerror)
    if not there:
        raise InputError(f"{folder} is not a run ({reason}); give the folder that `nerf3d fit` wrote")
    return Run(folder, from_plain(RunConfig, load_yaml(folder / CONFIG), str(folder / CONFIG)))


def change_recipe(run: Run, recipe: Recipe) -> Run:
    """The same run with another recipe in its configuration, on disk too."""
    config = replace(run.config, recipe=recipe)
    dump_yaml(to_plain(config), run.folder / CONFIG)
    return Run(run.folder, config)


def load_scene(run: Run) -> tuple[Scene, int]:
    """What the run has learnt so far, and after how many steps. Needs neither photographs nor a teacher."""
    checkpoint = load_latest(run.folder)
    if checkpoint is None:
        raise InputError(f"{run.folder} has no checkpoint yet; let it run longer, or go on with --resume")
    rng = torch.Generator().manual_seed(run.config.seed)
    recipe = run.config.recipe
    if isinstance(recipe, Avatar):
        raise InputError(
            f"{run.folder} is a talking head: let it speak by `nerf3d avatar render {run.folder} --audio VOICE.wav`, and "
            f"measure it by `nerf3d avatar eval {run.folder}`"
        )
    made: FitTask | Scenery
    if isinstance(recipe, Fit):
        made = FitTask(recipe, _capture_from_plain(run.folder / CAPTURE), rng)
        restore({"task": made}, checkpoint)
    else:
        made = Scenery(recipe, rng)
        restore({"scenery": made}, checkpoint)
    made.requires_grad_(False).eval()
    return made.scene(), checkpoint.step


def load_person(run: Run) -> tuple[Person, int]:
    """The talking head as it is so far, and after how many steps. Needs no film. InputError for runs of other stories."""
    recipe = run.config.recipe
    if not isinstance(recipe, Avatar):
        raise InputError(f"{run.folder} is not a talking head; make one with: nerf3d avatar fit DATA --out RUN")
    checkpoint = load_latest(run.folder)
    if checkpoint is None:
        raise InputError(f"{run.folder} has no checkpoint yet; let it run longer, or go on with --resume")
    person = Person(recipe, read_likeness(run.folder / PORTRAIT), torch.Generator().manual_seed(run.config.seed))
    restore({"person": person}, checkpoint)
    person.requires_grad_(False).eval()
    return person, checkpoint.step


def held_out(run: Run) -> Photographs:
    """The photographs that the run did not see, read again from where they were."""
    folder = Path(run.config.source)
    capture = load_capture(folder)
    check_same(run, capture, folder)
    return capture.test


def check_same(run: Run, capture: Capture, folder: Path) -> None:
    """InputError where the capture, which is that of `folder`, is not the one that the run was made from."""
    kept = _capture_from_plain(run.folder / CAPTURE)
    if not (_same_views(capture.train, kept.train) and _same_views(capture.test, kept.test)):
        raise InputError(
            f"{run.folder} was made from other photographs or cameras than those of {folder}; give the scene that it "
            f"was made from ({run.config.source}, as it was then), or begin a new run with another --out"
        )


def _same_views(a: Photographs, b: Photographs) -> bool:
    """Whether names, sizes and cameras agree; cameras up to rounding, which differs from one machine to the next."""
    one, other = a.cameras, b.cameras
    if (a.names, one.width, one.height, one.lens) != (b.names, other.width, other.height, other.lens):
        return False
    tensors = [(c.world_from_camera, c.intrinsics, c.distortion) for c in (one, other)]
    alike = (torch.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in zip(*tensors))
    return a.images.shape[-1] == b.images.shape[-1] and all(alike)


def _write_whole(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(tensors: Iterable[Tensor]) -> list[Any]:
    return [tensor.tolist() for tensor in tensors]


def _capture_to_plain(capture: Capture) -> dict[str, Any]:
    def views(part: Photographs) -> dict[str, Any]:
        cameras = part.cameras
        return {
            "names": list(part.names),
            "channels": part.images.shape[-1],
            "width": cameras.width,
            "height": cameras.height,
            "lens": cameras.lens,
            "world_from_camera": cameras.world_from_camera.tolist(),
            "intrinsics": cameras.intrinsics.tolist(),
            "distortion": cameras.distortion.tolist(),
        }

    box = None if capture.box is None else _plain((capture.box.low, capture.box.high))
    points = None if capture.points is None else capture.points.tolist()
    return {
        "train": views(capture.train),
        "test": views(capture.test),
        "up": capture.up.tolist(),
        "box": box,
        "points": points,
    }


def _capture_from_plain(path: Path) -> Capture:
    """The capture without its pixels."""

    def views(data: dict[str, Any]) -> Photographs:
        count = len(data["names"])
        cameras = Cameras(
            torch.tensor(data["world_from_camera"]).reshape(count, 3, 4),
            torch.tensor(data["intrinsics"]).reshape(count, 4),
            torch.tensor(data["distortion"]).reshape(count, 5),
            data["width"],
            data["height"],
            data["lens"],
        )
        images = torch.zeros(count, 0, 0, data["channels"], dtype=torch.uint8)
        return Photographs(images, cameras, tuple(data["names"]))

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        box = None if data["box"] is None else Box(*(torch.tensor(corner) for corner in data["box"]))
        points = None if data.get("points") is None else torch.tensor(data["points"]).reshape(-1, 3)
        return Capture(views(data["train"]), views(data["test"]), torch.tensor(data["up"]), box, points)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}); it belongs to the run and cannot be made anew"
        ) from error
