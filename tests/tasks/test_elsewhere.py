"""Every story on a device that is not the CPU: nothing is left behind here, and little is waited for."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import talker
import tiny
import torch
from elsewhere import DEVICE, Elsewhere, Generator

from nerf3d.commands import fit, fit_avatar, fit_generator, text
from nerf3d.commands.teaching import guidance_of
from nerf3d.config import find_recipe, from_plain, load_yaml, override
from nerf3d.core import Task
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.data.portrait.folder import read_portrait
from nerf3d.data.portrait.footage import load_footage
from nerf3d.kernels.adam import Adam
from nerf3d.models.sound_encoder import neighbours
from nerf3d.runs import Run, RunConfig
from nerf3d.tasks.avatar import Avatar, AvatarTask
from nerf3d.tasks.avatar.task import Film
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.generate import Generate
from nerf3d.tasks.generate.build import task_of
from nerf3d.tasks.text import Text, TextTask
from nerf3d.train import Budget, begin, train

STEPS = 2
"""Recipes of two parts are in their second one after half of them."""


def read(kind: Any, story: str, preset: str, *settings: str) -> Any:
    return from_plain(kind, override(load_yaml(find_recipe(preset, story)), settings), preset)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trained(elsewhere: Elsewhere, task: Task, weights: Mapping[str, Any]) -> dict[str, int]:
    """Called where the device works. How often it is waited for: by the loop, for chance on the CPU, and by the task."""
    state = begin(task, Generator(), Adam)
    elsewhere.waits = Counter()
    assert len(list(train(task, state, Budget(STEPS), weights))) == STEPS
    assert all(p.device == DEVICE for groups in task.players().values() for g in groups for p in g.parameters)
    starts = {"loop": "train.py", "chance": "core/chance.py", "task": "tasks/"}
    return {
        name: sum(count for line, count in elsewhere.waits.items() if line.startswith(start))
        for name, start in starts.items()
    }


def made_by(recipe: Any, folder: Path) -> Run:
    (folder / "media").mkdir()
    return Run(folder, RunConfig("", 0, recipe))


@pytest.mark.parametrize("preset", ["ngp_blender", "ngp_capture", "neus", "nerf2020", "tensorf"])
def test_photographs(preset: str, tmp_path: Path) -> None:
    settings: tuple[str, ...] = ("rays=16",)
    if preset == "tensorf":
        settings = ("rays=16", "field.resolution=12", "field.final_resolution=16", "sampler.resolution=16")
    elif preset != "nerf2020":
        settings = (tiny.SMALL[0], *tiny.SMALL[4:8], "appearance=true", "poses=true")
    plan = read(Fit, "fit", preset, *settings)
    with Elsewhere() as elsewhere:
        capture = tiny.capture(4, 1).to(DEVICE)
        task = FitTask(plan, capture, rng()).to(DEVICE)
        waits = trained(elsewhere, task, vars(plan.weights))
        assert task.step_bytes(Generator()) > 0
        if preset == "ngp_blender":
            fit._preview(made_by(plan, tmp_path), task.scene(), capture.test, STEPS)
            fit._say_how_it_went(
                made_by(plan, tmp_path / "media"), task.scene(), capture.test, begin(task, rng(), Adam)
            )
    assert waits == {"loop": STEPS, "chance": 0, "task": 0}


@pytest.mark.parametrize(
    ("background", "judge"),
    [("random", "SDS"), ("learned", "VSD"), ("white", "CSD"), ("random", "SDI"), ("random", "ISM")],
)
def test_a_prompt(background: str, judge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PREVIEW_SIZE", 8)
    settings = ("views.count=2", "views.sizes=[16]", "views.jitter=0.1", "shading={begin: 0.0, lit: 1.0}")
    changed = (f"background={background}", f"guidance={{kind: {judge}}}")
    recipe = read(Text, "text", "builtin", tiny.SMALL[0], *settings, *changed)
    with Elsewhere() as elsewhere:
        task = TextTask(recipe, guidance_of("a red mug", recipe, DEVICE, rng()), rng(), DEVICE).to(DEVICE)
        waits = trained(elsewhere, task, vars(recipe.weights))
        text._preview(made_by(recipe, tmp_path), task, STEPS)
    assert waits == {"loop": len(task.players()) * STEPS, "chance": STEPS, "task": 0}


@pytest.mark.parametrize("preset", ["ernerf", "adnerf"])
def test_a_talking_head(preset: str, tmp_path: Path) -> None:
    folder = talker.write(tmp_path / "data", 33)
    likeness, footage = talker.known(folder)
    portrait = read_portrait(folder)
    windows = portrait.windows(likeness.shots)
    film = Film(footage, neighbours(windows, torch.arange(len(windows))))
    small = talker.SMALL if preset == "ernerf" else talker.SMALL[5:11]
    recipe = read(Avatar, "avatar", preset, *small, "polish=0.5")
    with Elsewhere() as elsewhere:
        task = AvatarTask(recipe, likeness.to(DEVICE), film.to(DEVICE), rng()).to(DEVICE)
        waits = trained(elsewhere, task, vars(recipe.weights))
        assert task.step_bytes(Generator()) > 0
        held_out = load_footage(portrait, fit_avatar._previewed(portrait), talker.SIZE)
        preview = fit_avatar._Preview(made_by(recipe, tmp_path), task.scenery, portrait, held_out)
        preview(STEPS)
        if preset == "ernerf":
            preview.film()
    assert (waits["loop"], waits["chance"]) == (STEPS, 0)
    assert waits["task"] <= 8 * STEPS  # which frame it is, and where its face is, decide how many pixels are drawn


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 3, 4, 32)


LOOKS = "looks={objects: 2, views: 2, rays: 32, samples: 6}"


@pytest.mark.parametrize(
    ("preset", "settings", "loop", "chance"),
    [
        ("diffae", (LOOKS, "settled=0.5"), 2, 3),
        ("vqar", (LOOKS, "settled=0.5", "batch=2"), 2, 3),
        ("ssdnerf", (LOOKS, "settled=0.5", "batch=2", "code_steps=2"), 3, 6),
        ("eg3d", ("batch=2", "samples=4", "kinds=true"), 4, 0),
        ("pigan", ("batch=2", "samples=4"), 4, 0),
        ("graf", ("batch=2", "samples=4"), 4, 0),
    ],
)
def test_a_collection(
    preset: str,
    settings: tuple[str, ...],
    loop: int,
    chance: int,
    cars: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In both halves of the run together; a number of chance is asked for once or twice a look."""
    monkeypatch.setattr(fit_generator, "PREVIEW_OBJECTS", 2)
    recipe = read(Generate, "gen", preset, *settings)
    with Elsewhere() as elsewhere:
        task = task_of(recipe, cars, tight_box(cars), rng()).to(DEVICE)  # type: ignore[attr-defined]
        assert task.step_bytes(Generator()) > 0
        waits = trained(elsewhere, task, {})
        fit_generator._preview(made_by(recipe, tmp_path), task, cars, STEPS)
    assert (waits["loop"], waits["chance"]) == (loop, chance)
    assert waits["task"] <= STEPS
