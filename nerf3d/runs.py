"""Runs: folders that hold all that a story left behind. `nerf3d.scenes` leads from them back to what can be seen.

RUN/config.yaml        what was run, complete and reloadable
RUN/capture.json       of photographs: cameras, box and up direction; the run can be watched without them
RUN/collection.json    of a generative model: the box, the kinds and some cameras of its collection
RUN/latent.safetensors of an object that a generative model made: its code
RUN/portrait.safetensors  of a talking head: how it moved, what was behind; it can speak without its film
RUN/checkpoints/       see `nerf3d.checkpoint`
RUN/metrics.jsonl      one line every so often in training; also as TensorBoard events in RUN/tensorboard
RUN/media/             pictures and films
RUN/metrics.json       the last evaluation
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nerf3d.config import dump_yaml, from_plain, load_yaml, to_plain
from nerf3d.data.capture import Capture
from nerf3d.data.capture_file import write_capture
from nerf3d.data.collections.about import About, write_about
from nerf3d.data.portrait.likeness import Likeness, write_likeness
from nerf3d.errors import InputError
from nerf3d.ranks import leads
from nerf3d.tasks.avatar import Avatar
from nerf3d.tasks.fit import Fit
from nerf3d.tasks.generate import Generate, Made
from nerf3d.tasks.generate.latent import Latent, write_latent
from nerf3d.tasks.text import Text

CONFIG, CAPTURE, PORTRAIT = "config.yaml", "capture.json", "portrait.safetensors"
COLLECTION, LATENT = "collection.json", "latent.safetensors"
Recipe = Fit | Text | Avatar | Generate | Made
Found = Capture | Likeness | About | Latent
"""What a run keeps of what it was made from."""


@dataclass(frozen=True)
class RunConfig:
    """What config.yaml says."""

    source: str
    """The folder with the photographs, the prepared film or the collection, or the prompt; of a generated object, the
    generative model's run.
    """
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
    """InputError unless the folder is empty or does not exist yet. Of several processes, the one that writes asks."""
    if not leads():
        return
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


def begin_run(folder: Path, config: RunConfig, found: Found | None = None) -> Run:
    """Make the folder of a new run; what was found in photographs, in a film or in a collection goes along.

    InputError where there is a run already, or where the folder cannot be written.
    """
    check_new(folder)
    if not leads():
        return Run(folder, config)
    there = folder.exists()
    try:
        (folder / "media").mkdir(parents=True)
        if isinstance(found, Capture):
            write_capture(found, folder / CAPTURE)
        elif isinstance(found, Likeness):
            write_likeness(found, folder / PORTRAIT)
        elif isinstance(found, About):
            write_about(found, folder / COLLECTION)
        elif found is not None:
            write_latent(found, folder / LATENT)
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
        raise InputError(
            f"{folder} is not a run ({reason}); give the folder that `nerf3d fit`, `text`, `avatar fit` or `gen fit` wrote"
        )
    return Run(folder, from_plain(RunConfig, load_yaml(folder / CONFIG), str(folder / CONFIG)))


def change_recipe(run: Run, recipe: Recipe) -> Run:
    """The same run with another recipe in its configuration, on disk too."""
    config = replace(run.config, recipe=recipe)
    if not leads():
        return Run(run.folder, config)
    dump_yaml(to_plain(config), run.folder / CONFIG)
    return Run(run.folder, config)
