"""From a description to its shape: which parts there are, to whom they belong, and where they stand."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.world import distance as d
from nerf3d.data.world.captions import Description, Relation
from nerf3d.data.world.distance import Distance
from nerf3d.data.world.nouns import fitted
from nerf3d.data.world.picture import Paint, paints

PAIR_SIZE = 0.52
"""How large each object of a pair is, compared to one that stands alone."""


@dataclass(frozen=True)
class Place:
    """A noun as it stands in a scene: its own shape times `size`, moved to `origin`."""

    noun: str
    size: float
    origin: Float[Tensor, "3"]

    @property
    def parts(self) -> list[Distance]:
        x, y, z = self.origin.tolist()
        return [d.moved(d.scaled(part, self.size), x, y, z) for part in fitted(self.noun)]


def places(names: tuple[str, ...], relation: Relation | None) -> list[Place]:
    """Where the nouns of a scene stand. "on top of": the first above the second; "next to": the first at -x."""
    if relation is None:
        return [Place(names[0], 1.0, torch.zeros(3))]
    if relation == "next to":
        middles = [torch.tensor([x, 0.0, 0.0]) for x in (-0.46, 0.46)]
        return [Place(name, PAIR_SIZE, middle) for name, middle in zip(names, middles, strict=True)]
    (low_above, high_above), (low_below, high_below) = _heights(names[0]), _heights(names[1])
    total = high_below - low_below + high_above - low_above
    size = min(PAIR_SIZE, 1.75 / total)
    floor = -size * total / 2
    seam = floor + size * (high_below - low_below)
    sink = 0.02
    above = Place(names[0], size, torch.tensor([0.0, 0.0, seam - size * low_above - sink]))
    below = Place(names[1], size, torch.tensor([0.0, 0.0, floor - size * low_below]))
    return [above, below]


@cache
def _heights(name: str) -> tuple[float, float]:
    """The lowest and the highest point of a noun that stands alone."""
    line = torch.linspace(-1, 1, 65)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    z = grid[d.union(*fitted(name))(grid) < 0.015][:, 2]
    return float(z.min()), float(z.max())


def shape(description: Description) -> tuple[Distance, ...]:
    """All parts of a scene, in the order of `scheme`."""
    names = tuple(thing.noun for thing in description.things)
    return tuple(part for place in places(names, description.relation) for part in place.parts)


def scheme(description: Description) -> list[Paint]:
    """The paint of every part of a scene."""
    names = tuple(thing.noun for thing in description.things)
    standing = places(names, description.relation)
    pairs = zip(description.things, standing, strict=True)
    return [coat for thing, place in pairs for coat in paints(thing, len(place.parts), place.size, place.origin)]
