"""Recipes that make no sense, refused with the key's name before anything is computed or written."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from nerf3d.core.schedules import Decay, Schedule
from nerf3d.errors import InputError

COUNTS = {"batch": 4096, "samples": 4096, "objects": 4096, "views": 1000, "rays": 2**18}
"""Keys of all recipes that count something, and the most that can be meant."""


def check_recipe(recipe: object, where: str) -> None:
    """InputError for numbers out of range. `where` is what the recipe is called."""
    for trouble in _troubles(recipe, ""):
        raise InputError(f"{where}: {trouble}")


def _troubles(part: object, key: str) -> Iterator[str]:
    """Of all keys at whatever depth: numbers are finite, counts positive, shares of the run shares, rates positive."""
    assert is_dataclass(part)
    for field in fields(part):
        name, value = f"{key}{field.name}", getattr(part, field.name)
        if isinstance(value, Schedule):
            if isinstance(value, Decay) and not (value.start > 0 and value.stop > 0):
                yield f"{name} decays from {value.start:g} to {value.stop:g}, and both must be above 0"
            elif min(value(0.0), value(1.0)) < 0:
                yield f"{name} is below 0"
        elif is_dataclass(value):
            yield from _troubles(value, f"{name}.")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            continue
        elif not math.isfinite(value):
            yield f"{name} is {value}, and a finite number is needed"
        elif field.name in COUNTS and not 1 <= value <= COUNTS[field.name]:
            yield f"{name} is {value:g}, and a number from 1 to {COUNTS[field.name]} is needed"
        elif value < 0:
            yield f"{name} is {value:g}, and it cannot be below 0"
