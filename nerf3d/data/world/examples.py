"""Captioned pictures of the world without end: what a prior and its evaluator learn from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.core import Cameras, Rays
from nerf3d.core.paths import standing
from nerf3d.data.world.captions import COLORS, PAIRED, Description, Pattern, Relation, Thing, held_out
from nerf3d.data.world.model import scheme, shape
from nerf3d.data.world.nouns import named, nouns
from nerf3d.data.world.picture import backdrop, light, paint
from nerf3d.data.world.trace import Surface, trace

SIZE = 64
OVERSAMPLING = 2
PAIRS = 0.25
"""The share of pictures that show two objects."""


@dataclass(frozen=True)
class Example:
    """One picture and what it shows. Angles in degrees: azimuth 0 looks at the front, elevation 90 down from above."""

    picture: UInt8[Tensor, "h w 3"]
    description: Description
    azimuth: float
    elevation: float


def examples(rng: torch.Generator, views: int = 8, dresses: int = 4, unseen: bool = False) -> Iterator[Example]:
    """Random scenes, each seen by several random cameras, each view in several dresses of colours and light.

    `unseen` draws the pairs of noun and colour that are held out from training, and nothing else.
    """
    while True:
        bare = _bare(rng)
        azimuth, elevation = random_directions(views, rng)
        cameras = random_cameras(azimuth, elevation, rng)
        everywhere = [cameras.rays(i) for i in range(views)]
        rays = Rays(*(torch.cat([getattr(r, f.name) for r in everywhere]) for f in fields(Rays)))
        surface = trace(shape(bare), rays)
        pixels = cameras.width**2
        for i in range(views):
            part = slice(i * pixels, (i + 1) * pixels)
            seen = Surface(surface.part[part], surface.position[part], surface.normal[part])
            for _ in range(dresses):
                dressed = _dressed(bare, rng, unseen)
                drawn = picture(dressed, seen, everywhere[i].direction, rng)
                yield Example(drawn, dressed, float(azimuth[i]), float(elevation[i]))


def random_directions(count: int, rng: torch.Generator) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Azimuths and elevations in degrees, even as on a sphere from a little below the horizon to almost overhead."""
    low, high = math.sin(math.radians(-12)), math.sin(math.radians(85))
    a, e = torch.rand(2, count, generator=rng)
    return 360 * a, torch.rad2deg(torch.asin(low + (high - low) * e))


def random_cameras(azimuth: Float[Tensor, "n"], elevation: Float[Tensor, "n"], rng: torch.Generator) -> Cameras:
    """Cameras that see the ball of radius 0.8 around the origin with some air around it, now more and now less."""
    angle, air = torch.rand(2, len(azimuth), generator=rng)
    fov = 35 + 15 * angle
    distance = 0.85 / torch.sin(torch.deg2rad(fov / 2)) * (1 + 0.35 * air)
    return standing(azimuth, elevation, distance, fov, SIZE * OVERSAMPLING)


def picture(
    description: Description, surface: Surface, look: Float[Tensor, "n 3"], rng: torch.Generator
) -> UInt8[Tensor, "h w 3"]:
    """The surface in the description's colours before a random background, half as wide and high as it was traced.

    The light comes from above, and more from the side of the camera than from behind.
    """
    coats = scheme(description)
    color = paint(surface, coats)
    shine = [thing.pattern == "shiny" for thing in description.things for _ in named(thing.noun).parts]
    shiny = torch.tensor([*shine, False]).float()[surface.part.long()]
    above = torch.tensor([0.0, 0.0, 1.0])
    toward = F.normalize(0.8 * torch.randn(3, generator=rng) + 0.8 * above - 1.2 * look.mean(0), dim=0)
    lit = light(surface, color, shiny, look, toward)
    side = SIZE * OVERSAMPLING
    behind = backdrop(side, torch.stack([coat.color for coat in coats]), rng).reshape(-1, 3)
    whole = torch.where((surface.part >= 0)[:, None], lit, behind).reshape(1, side, side, 3)
    small = F.avg_pool2d(whole.permute(0, 3, 1, 2), OVERSAMPLING)[0].permute(1, 2, 0)
    return (small * 255 + 0.5).to(torch.uint8)


def _bare(rng: torch.Generator) -> Description:
    """A scene without colours."""
    if float(torch.rand((), generator=rng)) > PAIRS:
        return Description(Thing(_one_of([n.name for n in nouns()], rng), "grey"))
    relation = cast(Relation, _one_of(["on top of", "next to"], rng))
    return Description(Thing(_one_of(PAIRED, rng), "grey"), relation, Thing(_one_of(PAIRED, rng), "grey"))


def _dressed(bare: Description, rng: torch.Generator, unseen: bool) -> Description:
    if bare.second is None:
        pattern = cast(Pattern, _one_of(["plain"] * 4 + ["striped", "checkered", "shiny"], rng))
        thing = replace(bare.first, color=_color(bare.first.noun, rng, unseen), pattern=pattern)
        two_colored = (
            len(named(thing.noun).parts) > 1 and pattern == "plain" and float(torch.rand((), generator=rng)) < 0.4
        )
        if two_colored:
            thing = replace(thing, accent_color=_one_of([c for c in COLORS if c != thing.color], rng))
        return Description(thing)
    first, second = (replace(t, color=_color(t.noun, rng, unseen)) for t in bare.things)
    return Description(first, bare.relation, second)


def _color(noun: str, rng: torch.Generator, unseen: bool) -> str:
    return _one_of([color for color in COLORS if held_out(noun, color) == unseen], rng)


def _one_of(choices, rng: torch.Generator) -> str:
    return choices[int(torch.randint(len(choices), (), generator=rng))]
