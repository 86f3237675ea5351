"""From runs back to what can be seen: a scene, a person, a maker of objects. Needs what lies in the run alone."""

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from nerf3d.checkpoint import Checkpoint, load_latest, restore
from nerf3d.config import to_plain
from nerf3d.core import Field, Scene
from nerf3d.core.paths import mean_up
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.capture_file import read_capture
from nerf3d.data.collections.about import About, read_about
from nerf3d.data.load import load_capture
from nerf3d.data.portrait.likeness import read_likeness
from nerf3d.errors import InputError
from nerf3d.render.stratified import Stratified
from nerf3d.runs import CAPTURE, COLLECTION, LATENT, PORTRAIT, Run, open_run
from nerf3d.tasks.avatar import Avatar
from nerf3d.tasks.avatar.scenery import Scenery as Person
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.generate import Generate, Latent, Made, Maker
from nerf3d.tasks.generate.build import maker_of
from nerf3d.tasks.generate.latent import read_latent
from nerf3d.tasks.text.scenery import Scenery

LOOK = 48
"""Samples on each ray through a generated object."""


def load_scene(run: Run) -> tuple[Scene, int]:
    """What the run has learnt so far, and after how many steps. Needs neither photographs nor a teacher.

    An object that a generative model made needs that model's run. InputError for runs that are no single scene.
    """
    recipe = run.config.recipe
    if isinstance(recipe, Made):
        return _load_made(run)
    if isinstance(recipe, Generate):
        raise InputError(
            f"{run.folder} is a model of many objects: draw some by `nerf3d gen sample {run.folder}`, each of which is a "
            "run that can be rendered, exported and measured"
        )
    if isinstance(recipe, Avatar):
        raise InputError(
            f"{run.folder} is a talking head: let it speak by `nerf3d avatar render {run.folder} --audio VOICE.wav`, and "
            f"measure it by `nerf3d avatar eval {run.folder}`"
        )
    checkpoint, rng = _newest(run), torch.Generator().manual_seed(run.config.seed)
    made: FitTask | Scenery
    if isinstance(recipe, Fit):
        made = FitTask(recipe, read_capture(run.folder / CAPTURE), rng)
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
    checkpoint = _newest(run)
    person = Person(recipe, read_likeness(run.folder / PORTRAIT), torch.Generator().manual_seed(run.config.seed))
    restore({"person": person}, checkpoint)
    person.requires_grad_(False).eval()
    return person, checkpoint.step


@dataclass(frozen=True)
class Model:
    """A generative model of a run, ready to make objects. `maker` is a `tasks.generate.Maker`, `name` tells it from other
    models, and from itself after more or fewer steps.
    """

    run: Run
    maker: nn.Module
    about: About
    step: int
    name: str

    @property
    def makes(self) -> Maker:
        assert isinstance(self.maker, Maker)
        return self.maker

    def scene(self, field: Field) -> Scene:
        """One of its objects before white, seen by the cameras of the collection."""
        cameras = self.about.cameras
        sampler = Stratified(self.about.box, LOOK)
        return Scene(field, sampler, torch.ones(3), cameras, self.about.box, mean_up(cameras))


def load_model(run: Run) -> Model:
    """The generative model as it is so far. Needs no pictures. InputError for runs of other stories."""
    recipe = run.config.recipe
    if not isinstance(recipe, Generate):
        raise InputError(f"{run.folder} is not a generative model; make one with: nerf3d gen fit COLLECTION --out RUN")
    checkpoint = _newest(run)
    about = read_about(run.folder / COLLECTION)
    maker = maker_of(recipe, about, torch.Generator().manual_seed(run.config.seed))
    restore({"maker": maker}, checkpoint)
    maker.requires_grad_(False).eval()
    plain = json.dumps(to_plain(replace(run.config, recipe=replace(recipe, steps=None, minutes=None))), sort_keys=True)
    name = f"{hashlib.sha256(plain.encode()).hexdigest()[:16]}-{checkpoint.step}"
    return Model(run, maker, about, checkpoint.step, name)


def untrained(model: Model) -> Model:
    """The same as its training began with."""
    recipe = model.run.config.recipe
    assert isinstance(recipe, Generate)
    maker = maker_of(recipe, model.about, torch.Generator().manual_seed(model.run.config.seed))
    return replace(model, maker=maker.requires_grad_(False).eval(), step=0)


def _load_made(run: Run) -> tuple[Scene, int]:
    latent = read_latent(run.folder / LATENT)
    model = _model_of(run, latent)
    return model.scene(field_of(model, latent)), model.step


def _model_of(run: Run, latent: Latent) -> Model:
    """The model that made an object: the one that the object names, or, where models were moved or trained on since, one
    whose folder holds the object.
    """
    other = None
    for folder in (Path(run.config.source), *run.folder.resolve().parents):
        if (folder / COLLECTION).is_file():
            model = load_model(open_run(folder))
            if model.name == latent.model:
                return model
            other = other or model
    if other is not None:
        latent.require(other.name, run.folder)
    raise InputError(
        f"{run.folder} is an object of the model in {run.config.source}, which is not there; put it back, or the object "
        "into the model's folder"
    )


def field_of(model: Model, latent: Latent) -> Field:
    """The object of a latent, by the model's weights or by those that were tuned for it. InputError for other models'."""
    return as_tuned(model, latent).makes.fields(latent.code[None])[0]


def as_tuned(model: Model, latent: Latent) -> Model:
    """The model with the weights that were tuned for a latent, if any were. InputError for other models' latents."""
    latent.require(model.name, "the latent")
    if not latent.tuned:
        return model
    maker = copy.deepcopy(model.maker)
    maker.load_state_dict(maker.state_dict() | latent.tuned)
    return replace(model, maker=maker)


def _newest(run: Run) -> Checkpoint:
    checkpoint = load_latest(run.folder)
    if checkpoint is None:
        raise InputError(f"{run.folder} has no checkpoint yet; let it run longer, or go on with --resume")
    return checkpoint


def held_out(run: Run) -> Photographs:
    """The photographs that the run did not see, read again from where they were."""
    folder = Path(run.config.source)
    capture = load_capture(folder)
    check_same(run, capture, folder)
    return capture.test


def check_same(run: Run, capture: Capture, folder: Path) -> None:
    """InputError where the capture, which is that of `folder`, is not the one that the run was made from."""
    kept = read_capture(run.folder / CAPTURE)
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
