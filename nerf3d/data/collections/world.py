"""Collections of the built-in world, whose truth is known: cars, or any of its objects, each seen from all around.

Paint is dull and the light does not move: a point has one colour from wherever it is seen. The light comes from above and a
little from the front, as much from the left as from the right, so that a collection's mirror image is lit the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.core import Box, Cameras, Rays
from nerf3d.core.numerics import normalize
from nerf3d.data.collections.collection import Attributes, Collection, joined
from nerf3d.data.collections.poses import EvenElevation, PosePrior
from nerf3d.data.world import cars
from nerf3d.data.world.captions import COLORS, Description, Thing, understand
from nerf3d.data.world.cars import Car, random_car
from nerf3d.data.world.distance import Distance, union
from nerf3d.data.world.examples import OVERSAMPLING
from nerf3d.data.world.model import scheme, shape
from nerf3d.data.world.nouns import fitted, named, nouns
from nerf3d.data.world.picture import Paint, light, paint
from nerf3d.data.world.trace import Surface, trace
from nerf3d.errors import InputError

Kind = Literal["cars", "objects"]
SIZES = (32, 64, 128)
BOX = Box.cube(1.0)
AROUND = PosePrior((0.0, 360.0), EvenElevation(0.0, 45.0), distance=2.9238, fov=40.0)
"""Cameras in whose pictures the ball of radius 1 just fits: distance = 1 / sin(fov / 2)."""
LIGHT = normalize(torch.tensor([0.0, -0.5, 1.0]))
EMPTY = 255
"""Colour of pixels that show nothing, for programs that do not read alpha."""
CHUNK = 2**15
"""Rays that are traced at once: they fit into a processor's cache."""
COLOR = ("r", "g", "b")


@dataclass(frozen=True)
class WorldObject:
    """One object with all that is known of it. `box` is as tight as is known; `values` are named by `names`."""

    parts: tuple[Distance, ...]
    paints: list[Paint]
    box: Box
    caption: str
    names: tuple[str, ...]
    values: Float[Tensor, "k"]


@dataclass(frozen=True)
class Truth:
    """What a camera sees of an object at its pixels' centres: depth along the ray and world normal, 0 where nothing is."""

    covered: Bool[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    normal: Float[Tensor, "h w 3"]


def render_collection(kind: Kind, count: int, views: int, size: int, seed: int = 0) -> Collection:
    """So many objects, each in so many square pictures from cameras all around, between level and 45 degrees above.

    A seed says all; the first objects of a larger collection are those of a smaller one with as many views. Captions name
    the object; attributes are the body's colour (r, g, b) and, of cars, all measures. Raises InputError for sizes other
    than 32, 64 and 128 and for no objects or views.
    """
    return joined(list(rendered(kind, count, views, size, seed)))


def rendered(kind: Kind, count: int, views: int, size: int, seed: int = 0) -> Iterator[Collection]:
    """The same, object by object."""
    if kind not in get_args(Kind):
        raise InputError(f"there is no collection of {kind!r}; choose {' or '.join(get_args(Kind))}")
    if size not in SIZES:
        raise InputError(f"pictures of {size} pixels are not drawn; choose one of {', '.join(map(str, SIZES))}")
    if count < 1 or views < 1:
        raise InputError(f"{count} objects in {views} views make no collection; ask for at least one of each")
    return (_views(kind, views, size, seed, index) for index in range(count))


def _views(kind: Kind, views: int, size: int, seed: int, index: int) -> Collection:
    rng = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
    thing = car_object(random_car(rng)) if kind == "cars" else noun_object(random_thing(rng))
    cameras = AROUND.cameras(views, size, rng)
    attributes = Attributes(thing.names, thing.values[None])
    pictures, scene = picture_of(thing, cameras), torch.zeros(views, dtype=torch.int64)
    return Collection(pictures, cameras, scene, (thing.caption,), BOX, True, attributes)


def object_of(collection: Collection, scene: int) -> WorldObject:
    """The object itself, from what a collection of the world says of it. Raises InputError for other collections."""
    if collection.attributes.names == cars.NAMES:
        return car_object(Car.of(collection.attributes.values[scene]))
    known = understand(collection.captions[scene])
    if known is None:
        raise InputError(f"object {scene} of the collection is not of the built-in world, so its shape is not known")
    return noun_object(known.first)


def car_object(car: Car) -> WorldObject:
    return WorldObject(cars.parts(car), cars.paints(car), car.box, car.caption, cars.NAMES, car.values)


def noun_object(thing: Thing) -> WorldObject:
    description = Description(thing)
    body = torch.tensor(COLORS[thing.color])
    return WorldObject(shape(description), scheme(description), _box(thing.noun), str(thing), COLOR, body)


def random_thing(rng: torch.Generator) -> Thing:
    """Any noun in any colour; of those with two parts, every other one has them in two colours."""
    noun, color, other, two = torch.rand(4, generator=rng).tolist()
    name = nouns()[int(noun * len(nouns()))].name
    first = list(COLORS)[int(color * len(COLORS))]
    rest = [c for c in COLORS if c != first]
    second = rest[int(other * len(rest))] if two < 0.5 and named(name).accent is not None else None
    return Thing(name, first, accent_color=second)


@cache
def _box(noun: str) -> Box:
    """Around a noun that stands alone, to a cell of a grid."""
    line = torch.linspace(-1, 1, 65)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    cell = float(line[1] - line[0])
    inside = grid[union(*fitted(noun))(grid) < cell]
    return Box(inside.amin(0) - cell, inside.amax(0) + cell)


def picture_of(thing: WorldObject, cameras: Cameras) -> UInt8[Tensor, "n h w 4"]:
    """What undistorted cameras see of an object: colour, and as alpha the share of each pixel that it covers."""
    k = OVERSAMPLING
    fine = cameras.scaled_to(cameras.width * k, cameras.height * k)
    rays = _rays(fine)
    surface = _traced(thing, rays)
    met = surface.part >= 0
    color = light(surface, paint(surface, thing.paints), torch.zeros(len(rays)), rays.direction, LIGHT)
    weighted = torch.cat([color * met[:, None], met[:, None].float()], -1)
    mean = F.avg_pool2d(weighted.reshape(len(cameras), fine.height, fine.width, 4).permute(0, 3, 1, 2), k)
    alpha = mean[:, 3:]
    straight = torch.where(alpha > 0, mean[:, :3] / alpha.clamp_min(1e-6), EMPTY / 255)
    return (255 * torch.cat([straight, alpha], 1) + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def truth_of(thing: WorldObject, cameras: Cameras, index: int) -> Truth:
    """True depth (to some thousandths) and normals of an object, as one of some cameras sees it."""
    rays = cameras.rays(index)
    surface = _traced(thing, rays)
    met = surface.part >= 0
    depth = torch.where(met, ((surface.position - rays.origin) * rays.direction).sum(-1), 0.0)
    size = (cameras.height, cameras.width)
    return Truth(met.reshape(size), depth.reshape(size), surface.normal.reshape(*size, 3))


def _rays(cameras: Cameras) -> Rays:
    """The rays through all pixels of all cameras, one camera after another."""
    if not cameras.share_a_lens:
        parts = [cameras.rays(i) for i in range(len(cameras))]
        return Rays(*(torch.cat(each) for each in zip(*((r.origin, r.direction, r.near, r.far) for r in parts))))
    pixels = cameras.width * cameras.height
    index = torch.arange(pixels)
    pixel = torch.stack([index % cameras.width, index // cameras.width], -1) + 0.5
    look = cameras.looks(torch.zeros_like(index), pixel)
    pose = cameras.world_from_camera
    direction = torch.einsum("bij,nj->bni", pose[:, :, :3], look).reshape(-1, 3)
    origin = pose[:, None, :, 3].expand(-1, pixels, 3).reshape(-1, 3)
    near = torch.zeros(len(direction))
    return Rays(origin, direction, near, torch.full_like(near, torch.inf))


def _traced(thing: WorldObject, rays: Rays) -> Surface:
    """What the rays meet of an object. Only those that pass its box are followed, from where they enter it."""
    enter, leave = thing.box.clip(rays)
    chosen = torch.nonzero(enter < leave)[:, 0]
    part = torch.full((len(rays),), -1, dtype=torch.int8)
    position, normal = torch.zeros(len(rays), 3), torch.zeros(len(rays), 3)
    for some in chosen.split(CHUNK):
        near = rays[some]
        moved = Rays(near.at(enter[some]), near.direction, near.near, near.far)
        surface = trace(thing.parts, moved)
        part[some], position[some], normal[some] = surface.part, surface.position, surface.normal
    return Surface(part, position, normal)
