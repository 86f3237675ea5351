"""Recipes that make no sense, refused with the key's name before anything is computed or written."""

import math
from collections.abc import Iterator
from dataclasses import fields

from nerf3d.core.schedules import Decay
from nerf3d.errors import InputError
from nerf3d.models.head import HeadConfig
from nerf3d.tasks.avatar.recipe import Avatar

FEWEST_RAYS, MOST_RAYS = 64, 2**18
PATCHES = (8, 64)
GRIDS = (16, 512)
MOUTHS = (0, 2)
FINER = (0.25, 16)


def check_recipe(recipe: Avatar, where: str) -> None:
    """InputError for numbers out of range. `where` is what the recipe is called."""
    for trouble in _troubles(recipe):
        raise InputError(f"{where}: {trouble}")


def _troubles(recipe: Avatar) -> Iterator[str]:
    rays, weights = recipe.rays, recipe.weights
    yield from _outside("rays.count", rays.count, FEWEST_RAYS, MOST_RAYS)
    yield from _outside("rays.samples", rays.samples, 1024, 2**24)
    yield from _outside("rays.lips", rays.lips, 0, 1)
    yield from _outside("rays.anywhere", rays.anywhere, 0, 1)
    if rays.lips + rays.anywhere > 1:
        yield f"rays.lips and rays.anywhere are {rays.lips + rays.anywhere:g} together, more than all rays"
    yield from _outside("rays.patch", rays.patch, *PATCHES)
    yield from _outside("sampler.resolution", recipe.sampler.resolution, *GRIDS)
    yield from _outside("sampler.steps_per_side", recipe.sampler.steps_per_side, 8, 4096)
    yield from _outside("sampler.finer", recipe.sampler.finer, *FINER)
    yield from _outside("polish", recipe.polish, 0, 1)
    yield from _outside("warmup", recipe.warmup, 0, math.inf)
    for field in fields(weights):
        value = getattr(weights, field.name)
        yield from _outside(
            f"weights.{field.name}", value if isinstance(value, int | float) else value(0.0), 0, math.inf
        )
    for name, rate in (
        ("rate", recipe.rate),
        ("network_rate", recipe.network_rate),
        ("sound_rate", recipe.sound_rate),
    ):
        if isinstance(rate, Decay) and not (rate.start > 0 and rate.stop > 0):
            yield f"{name} decays from {rate.start:g} to {rate.stop:g}, and both must be above 0"
        elif min(rate(0.0), rate(1.0)) < 0:
            yield f"{name} is below 0"
    if isinstance(recipe.head, HeadConfig):
        if recipe.head.mouth not in MOUTHS:
            yield f"head.mouth is {recipe.head.mouth}; 2 is for opening and width, 0 for the sound's code alone"
        if recipe.head.layout.finest < recipe.head.layout.coarsest:
            yield f"head.layout.finest is {recipe.head.layout.finest}, less than head.layout.coarsest"


def _outside(key: str, value: float | int, least: float | int, most: float | int) -> Iterator[str]:
    if not least <= value <= most:
        border = f" to {most:g}" if most < math.inf else " on"
        yield f"{key} is {value:g}, and a number from {least:g}{border} is needed"
