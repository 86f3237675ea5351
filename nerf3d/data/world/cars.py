"""Cars without number: a body, a cabin, four wheels and lights, whose measures and paint are drawn by chance.

They stand on their wheels, the front towards -y, around the origin and within the ball of radius 1. What is drawn of a
car is its whole truth: a `Car` is rebuilt from the numbers that a collection keeps of it.
"""

import math
from colorsys import hsv_to_rgb, rgb_to_hsv
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Box
from nerf3d.data.world import distance as d
from nerf3d.data.world.captions import COLORS, article
from nerf3d.data.world.distance import Distance
from nerf3d.data.world.picture import Paint

GLASS, TYRE, RIM = (0.10, 0.13, 0.17), (0.07, 0.07, 0.08), (0.62, 0.63, 0.65)
HEADLIGHT, TAIL_LIGHT = (1.0, 0.97, 0.82), (0.62, 0.02, 0.04)
AXLE = 0.31
"""Where the axles are, in lengths of the car from its middle."""
WINDSCREEN, REAR_WINDOW, TUMBLEHOME = 0.30, 0.14, 0.07
"""How far the cabin's front and rear lean inwards, in lengths of the cabin, and its sides, in units."""
TYRE_HALF = 0.07
ACHROMATIC = 0.2
"""The share of cars between black and white."""
PALE = 0.2
"""Below this saturation a colour has no hue to speak of."""


@dataclass(frozen=True)
class Car:
    """The measures of a car in world units and the paint of its body, in [0, 1].

    `height` is the body's, without wheels and cabin. The cabin's middle stands `cabin_position` behind the car's; its
    length is taken at its foot. `clearance` is between the ground and the body.
    """

    r: float
    g: float
    b: float
    length: float
    width: float
    height: float
    cabin_position: float
    cabin_length: float
    cabin_height: float
    wheel_radius: float
    clearance: float

    @staticmethod
    def of(values: Float[Tensor, "k"]) -> "Car":
        """The car with these numbers, in the order of `NAMES`."""
        return Car(*values.tolist())

    @property
    def values(self) -> Float[Tensor, "k"]:
        return torch.tensor([getattr(self, name) for name in NAMES])

    @property
    def tall(self) -> float:
        """From the ground to the roof."""
        return self.clearance + self.height + self.cabin_height

    @property
    def box(self) -> Box:
        """Around all of it, with a little air."""
        high = torch.tensor([self.width / 2 + 0.04, self.length / 2 + 0.04, self.tall / 2 + 0.02])
        return Box(-high, high)

    @property
    def caption(self) -> str:
        name = color_name((self.r, self.g, self.b))
        return f"{article(name)} {name} car"


NAMES = tuple(field.name for field in fields(Car))


def random_car(rng: torch.Generator) -> Car:
    """A car between a hatchback and a van. Long bonnets are likelier than long boots."""
    u = torch.rand(8, generator=rng).tolist()
    length, width = 1.30 + 0.40 * u[0], 0.56 + 0.16 * u[1]
    cabin_length = length * (0.42 + 0.34 * u[2])
    room = length - cabin_length - 0.1
    bonnet = 0.05 + room * (0.45 + 0.5 * u[3])
    height, clearance = 0.22 + 0.11 * u[4], 0.05 + 0.06 * u[7]
    return Car(
        *random_color(rng),
        length=length,
        width=width,
        height=height,
        cabin_position=-length / 2 + bonnet + cabin_length / 2,
        cabin_length=cabin_length,
        cabin_height=0.19 + 0.15 * u[5],
        wheel_radius=(clearance + height) * (0.37 + 0.09 * u[6]),
        clearance=clearance,
    )


def random_color(rng: torch.Generator) -> tuple[float, float, float]:
    """Any hue, rather saturated; one car of five between black and white."""
    hue, saturation, value, kind = torch.rand(4, generator=rng).tolist()
    if kind < ACHROMATIC:
        grey = 0.05 + 0.9 * value
        return grey, grey, grey
    return hsv_to_rgb(hue, 0.6 + 0.35 * saturation, 0.45 + 0.5 * value)


def color_name(color: tuple[float, float, float]) -> str:
    """The word of the world for a colour: white, grey or black where it is hardly saturated, else the nearest hue.

    Nearness is in a cylinder of hue, saturation and value, in which the hue counts most.

    >>> color_name((0.8, 0.1, 0.2)), color_name((0.3, 0.3, 0.32))
    ('red', 'grey')
    """
    (_, saturation, value), here = rgb_to_hsv(*color), _place(color)
    if saturation < PALE:
        return "black" if value < 0.25 else "grey" if value < 0.75 else "white"
    names = [name for name, c in COLORS.items() if rgb_to_hsv(*c)[1] >= PALE]
    return min(names, key=lambda name: math.dist(_place(COLORS[name]), here))


def _place(color: tuple[float, float, float]) -> tuple[float, float, float, float]:
    hue, saturation, value = rgb_to_hsv(*color)
    return math.cos(2 * math.pi * hue), math.sin(2 * math.pi * hue), 0.5 * saturation, 0.6 * value


def paints(car: Car) -> list[Paint]:
    """The paint of every part, in the order of `parts`."""
    colors = ((car.r, car.g, car.b), GLASS, TYRE, RIM, HEADLIGHT, TAIL_LIGHT)
    return [Paint(torch.tensor(c), torch.tensor(c), "plain", 1.0, torch.zeros(3)) for c in colors]


def parts(car: Car) -> tuple[Distance, ...]:
    """Body, windows, tyres, rims, headlights, tail-lights."""
    ground = -car.tall / 2
    middle = ground + car.clearance + car.height / 2
    ends, side = car.length / 2, car.width / 2
    block = d.moved(d.block(side, ends, car.height / 2, 0.05), 0, 0, middle)
    cabin = _Cabin(car)
    lamps = d.mirrored(d.moved(d.block(0.065, 0.03, 0.034), side - 0.1, -ends, middle + 0.03), "x")
    tail = d.mirrored(d.moved(d.block(0.05, 0.03, 0.045), side - 0.075, ends, middle + 0.03), "x")
    return (
        d.union(block, cabin.frame),
        cabin.glass,
        _wheels(car, ground, car.wheel_radius, TYRE_HALF),
        _wheels(car, ground, 0.55 * car.wheel_radius, TYRE_HALF + 0.008),
        lamps,
        tail,
    )


def _wheels(car: Car, ground: float, radius: float, half: float) -> Distance:
    """Four cylinders about the axles; their outer sides stand a little out of the body."""
    x, y, z = car.width / 2 - TYRE_HALF + 0.02, AXLE * car.length, ground + car.wheel_radius

    def distance(p: Tensor) -> Tensor:
        round_axle = ((p[:, 1].abs() - y).square() + (p[:, 2] - z).square()).sqrt() - radius
        along = (p[:, 0].abs() - x).abs() - half
        outside = (round_axle.clamp_min(0).square() + along.clamp_min(0).square()).sqrt()
        return outside + torch.maximum(round_axle, along).clamp_max(0)

    return distance


class _Cabin:
    """What stands on the body: a block whose four sides lean inwards, of glass within a frame of the body's colour.

    Distances are the largest of those to its planes: never more than the true one.
    """

    def __init__(self, car: Car) -> None:
        self.foot = -car.tall / 2 + car.clearance + car.height - 0.02
        self.roof = car.tall / 2
        self.rise = self.roof - self.foot
        self.front = car.cabin_position - car.cabin_length / 2
        self.rear = car.cabin_position + car.cabin_length / 2
        self.side = car.width / 2 - 0.03
        self.lean_front, self.lean_rear = WINDSCREEN * car.cabin_length, REAR_WINDOW * car.cabin_length
        self.pillar = car.cabin_position + 0.04

    def _planes(self, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distances to the sides, to front and rear, to all planes."""
        up = p[:, 2] - self.foot

        def leaning(out: Tensor, lean: float) -> Tensor:
            size = (self.rise**2 + lean**2) ** 0.5
            return (self.rise / size) * out + (lean / size) * up

        sides = leaning(p[:, 0].abs() - self.side, TUMBLEHOME)
        ends = torch.maximum(
            leaning(self.front - p[:, 1], self.lean_front), leaning(p[:, 1] - self.rear, self.lean_rear)
        )
        level = torch.maximum(up - self.rise, -0.03 - up)
        return sides, ends, torch.maximum(torch.maximum(sides, ends), level)

    def glass(self, p: Tensor) -> Tensor:
        return self._planes(p)[2]

    def frame(self, p: Tensor) -> Tensor:
        """A shell of the cabin, less the openings of its windows: the roof, the corners, a pillar between the doors."""
        sides, ends, whole = self._planes(p)
        roof = self.roof - 0.045 - p[:, 2]
        corners = -0.035 - torch.minimum(sides, ends)
        door = (p[:, 1] - self.pillar).abs() - 0.02
        kept = torch.minimum(torch.minimum(roof, corners), torch.maximum(door, -0.06 - sides))
        return torch.maximum(whole - 0.01, kept)
