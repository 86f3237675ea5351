"""Recipes that make no sense, refused with the key's name before anything is computed or written."""

import math
from collections.abc import Iterator
from typing import Any

from nerf3d.core.schedules import Decay, Ramp
from nerf3d.errors import InputError
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.fields.sdf import SignedDistance
from nerf3d.fields.tensorf import VectorMatrix
from nerf3d.plain import to_plain
from nerf3d.tasks.fit.recipe import CoarseToFine, Fit, Proposals

# Numbers are positive. These may be 0 as well, by the last part of their dotted key; or negative.
MAY_BE_ZERO = {"warmup", "growth", "threshold", "stop", "near", "begin", "start", "skip", "color_layers", "padding"}
MAY_BE_ZERO |= {"density_layers", "position_octaves", "direction_octaves", "octaves", "slope", "levels_until"}
MAY_BE_NEGATIVE = {"density_shift"}
AT_MOST = {
    "levels_until": 1,
    "log2_table_size": 28,
    "levels": 32,
    "rays": 2**20,
    "sampler.resolution": 1024,
    "sampler.stop": 0.99,
}


def check_recipe(recipe: Fit, where: str) -> None:
    """InputError for numbers out of range and for parts that do not fit each other. `where` is what the recipe is called."""
    for key, value in _numbers(to_plain(recipe), ""):
        name = key.split(".")[-1].split("[")[0]
        zero = name in MAY_BE_ZERO or key.startswith("weights.")
        if not math.isfinite(value) or ((value < 0 or (value == 0 and not zero)) and name not in MAY_BE_NEGATIVE):
            raise InputError(
                f"{where}: {key} is {value:g}, and a number {'from 0 on' if zero else 'above 0'} is needed"
            )
        most = AT_MOST.get(key, AT_MOST.get(name, math.inf))
        if value > most:
            raise InputError(f"{where}: {key} is {value:g}, and {most:g} is the most that is of use")
    for trouble in _misfits(recipe):
        raise InputError(f"{where}: {trouble}")


def _numbers(plain: Any, key: str) -> Iterator[tuple[str, float]]:
    """All numbers of plain data with their dotted keys."""
    if isinstance(plain, dict):
        for name, value in plain.items():
            yield from _numbers(value, f"{key}.{name}" if key else name)
    elif isinstance(plain, list):
        for index, value in enumerate(plain):
            yield from _numbers(value, f"{key}[{index}]")
    elif isinstance(plain, int | float) and not isinstance(plain, bool):
        yield key, plain


def _misfits(recipe: Fit) -> Iterator[str]:
    """What is wrong with numbers that are in range one by one."""
    field, sampler, weights = recipe.field, recipe.sampler, recipe.weights
    for key, schedule in (("rate", recipe.rate), ("network_rate", recipe.network_rate)):
        if isinstance(schedule, Ramp | Decay) and not schedule.begin < schedule.until:
            yield f"{key}.until is {schedule.until:g}, which is not after {key}.begin"
        if isinstance(schedule, Decay) and (schedule.start == 0 or schedule.stop == 0):
            yield f"{key} decays from {schedule.start:g} to {schedule.stop:g}, and both must be above 0"
    if isinstance(field, HashGrid | SignedDistance) and field.layout.finest < field.layout.coarsest:
        yield f"field.layout.finest is {field.layout.finest}, less than field.layout.coarsest"
    if isinstance(field, SignedDistance) and field.beta <= field.least_beta:
        yield f"field.beta is {field.beta:g}, and a number above field.least_beta is needed"
    if not isinstance(field, SignedDistance) and (weights.eikonal or recipe.levels_until):
        yield f"{'weights.eikonal' if weights.eikonal else 'levels_until'} needs the field SignedDistance"
    if isinstance(field, VectorMatrix) and not 2 <= field.resolution <= field.final_resolution:
        yield f"field.resolution is {field.resolution}, and a number from 2 to field.final_resolution is needed"
    if any(at >= 1 for at in recipe.upsample_at):
        yield "upsample_at has shares of the run, which are below 1"
    near_far = sampler.sampling if isinstance(sampler, Proposals) else sampler
    if not near_far.near < near_far.far:
        yield f"the sampler's near is {near_far.near:g}, which is not before its far, {near_far.far:g}"
    if isinstance(sampler, Proposals) and len(sampler.finest) != len(sampler.sampling.counts):
        yield "sampler.finest and sampler.sampling.counts have one entry for each round, so the same number of them"
    if weights.coarse and not isinstance(sampler, CoarseToFine):
        yield "weights.coarse needs the sampler CoarseToFine"
    if isinstance(sampler, CoarseToFine) and not weights.coarse:
        yield "the sampler CoarseToFine needs weights.coarse, or its coarse field is never trained"
    if isinstance(sampler, Proposals) and not weights.interlevel:
        yield "the sampler Proposals needs weights.interlevel, or its fields are never trained"
    if weights.interlevel and not isinstance(sampler, Proposals):
        yield "weights.interlevel needs the sampler Proposals"
