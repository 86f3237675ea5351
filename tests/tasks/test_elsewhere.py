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

from nerf3d.commands.teaching import guidance_of
from nerf3d.config import find_recipe, from_plain, load_yaml, override
from nerf3d.core import Task
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.data.portrait.folder import read_portrait
from nerf3d.kernels.adam import Adam
from nerf3d.models.sound_encoder import neighbours
from nerf3d.tasks.avatar import Avatar, AvatarTask
from nerf3d.tasks.avatar.task import Film
from nerf3d.tasks.fit import Fit, FitTask
from nerf3d.tasks.generate import Generate
from nerf3d.tasks.generate.build import task_of
from nerf3d.tasks.text import Text, TextTask
from nerf3d.train import Budget, begin, train

STEPS = 2
"""Recipes of two parts are in their second one after half of them."""
STORIES = ("train.py", "tasks/")


def read(kind: Any, story: str, preset: str, *settings: str) -> Any:
    return from_plain(kind, override(load_yaml(find_recipe(preset, story)), settings), preset)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trained(elsewhere: Elsewhere, task: Task, weights: Mapping[str, Any]) -> dict[str, int]:
    """Called where the device works. How often loop and task wait for it, by line."""
    state = begin(task, Generator(), Adam)
    elsewhere.waits = Counter()
    assert len(list(train(task, state, Budget(STEPS), weights))) == STEPS
    assert all(p.device == DEVICE for groups in task.players().values() for g in groups for p in g.parameters)
    return {line: count for line, count in elsewhere.waits.items() if line.startswith(STORIES)}


def total(waits: dict[str, int], start: str) -> int:
    return sum(count for line, count in waits.items() if line.startswith(start))


@pytest.mark.parametrize("preset", ["ngp_blender", "ngp_capture", "neus", "nerf2020", "tensorf"])
def test_photographs(preset: str) -> None:
    settings: tuple[str, ...] = ("rays=16",)
    if preset == "tensorf":
        settings = ("rays=16", "field.resolution=12", "field.final_resolution=16", "sampler.resolution=16")
    elif preset != "nerf2020":
        settings = (tiny.SMALL[0], *tiny.SMALL[4:8], "appearance=true", "poses=true")
    plan = read(Fit, "fit", preset, *settings)
    with Elsewhere() as elsewhere:
        task = FitTask(plan, tiny.capture(4).to(DEVICE), rng()).to(DEVICE)
        waits = trained(elsewhere, task, vars(plan.weights))
    assert total(waits, "train.py") == STEPS
    assert total(waits, "tasks/") == 0


@pytest.mark.parametrize("background", ["random", "learned", "white"])
def test_a_prompt(background: str) -> None:
    settings = ("views.count=2", "views.sizes=[16]", "views.jitter=0.1", "shading={begin: 0.0, lit: 1.0}")
    recipe = read(Text, "text", "builtin", tiny.SMALL[0], *settings, f"background={background}")
    with Elsewhere() as elsewhere:
        task = TextTask(recipe, guidance_of("a red mug", recipe, DEVICE, rng()), rng()).to(DEVICE)
        waits = trained(elsewhere, task, vars(recipe.weights))
    print(waits)


@pytest.mark.parametrize("preset", ["ernerf", "adnerf"])
def test_a_talking_head(preset: str, tmp_path: Path) -> None:
    folder = talker.write(tmp_path / "data", 33)
    likeness, footage = talker.known(folder)
    windows = read_portrait(folder).windows(likeness.shots)
    film = Film(footage, neighbours(windows, torch.arange(len(windows))))
    small = talker.SMALL if preset == "ernerf" else talker.SMALL[5:11]
    recipe = read(Avatar, "avatar", preset, *small, "polish=0.5")
    with Elsewhere() as elsewhere:
        task = AvatarTask(recipe, likeness.to(DEVICE), film.to(DEVICE), rng()).to(DEVICE)
        waits = trained(elsewhere, task, vars(recipe.weights))
    print(waits)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 3, 4, 32)


LOOKS = "looks={objects: 2, views: 2, rays: 32, samples: 6}"


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("diffae", (LOOKS, "settled=0.5")),
        ("vqar", (LOOKS, "settled=0.5", "batch=2")),
        ("ssdnerf", (LOOKS, "settled=0.5", "batch=2", "code_steps=2")),
        ("eg3d", ("batch=2", "samples=4")),
        ("pigan", ("batch=2", "samples=4")),
        ("graf", ("batch=2", "samples=4")),
    ],
)
def test_a_collection(preset: str, settings: tuple[str, ...], cars: Collection) -> None:
    recipe = read(Generate, "gen", preset, *settings)
    with Elsewhere() as elsewhere:
        task = task_of(recipe, cars, tight_box(cars), rng()).to(DEVICE)  # type: ignore[attr-defined]
        waits = trained(elsewhere, task, {})
    print(waits)
