"""The nouns of the world and what they look like. Each is two parts: the body and what a caption may colour apart."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.assets import MESHES
from nerf3d.data.world import distance as d
from nerf3d.data.world.distance import Distance
from nerf3d.data.world.solid import solid


@dataclass(frozen=True)
class Noun:
    """`accent` names the second part ("legs", "a roof"). Without one the object is all of one piece."""

    name: str
    body: Distance
    accent: str | None = None
    accent_shape: Distance | None = None
    has_front: bool = False
    """Whether the front (towards -y) and the back are told apart at a glance: what a second face is looked for on."""

    @property
    def parts(self) -> tuple[Distance, ...]:
        return (self.body,) if self.accent_shape is None else (self.body, self.accent_shape)

    def distance(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return d.union(*self.parts)(x)


@cache
def fitted(name: str, radius: float = 0.8) -> tuple[Distance, ...]:
    """The parts of a noun, its middle moved to the origin and as large as a ball of that radius allows."""
    noun = named(name)
    line = torch.linspace(-1.6, 1.6, 65)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    inside = grid[noun.distance(grid) < 0.02]
    low, high = inside.amin(0), inside.amax(0)
    middle = (low + high) / 2
    factor = radius / float((inside - middle).norm(dim=-1).amax())
    place = [-float(m) * factor for m in middle]
    return tuple(d.moved(d.scaled(part, factor), *place) for part in noun.parts)


def _simple() -> list[Noun]:
    """Bodies of one piece; two of them also stand on and beside one another."""
    radii = [(0.9, 0.4)[i % 2] for i in range(10)]
    star = [(r * math.sin(math.pi / 5 * i), r * math.cos(math.pi / 5 * i)) for i, r in enumerate(radii)]
    heart = [(0, -0.8), (0.5, -0.3), (0.8, 0.15), (0.75, 0.45), (0.55, 0.62), (0.3, 0.6), (0.1, 0.45), (0, 0.3)]
    heart += [(-x, z) for x, z in heart[-2:0:-1]]
    return [
        Noun("sphere", d.ball(0.8)),
        Noun("cube", d.block(0.5, 0.5, 0.5, 0.03)),
        Noun("cone", d.cone(0.55, 0.01, 0.65)),
        Noun("cylinder", d.cylinder(0.4, 0.6)),
        Noun("torus", d.ring(0.6, 0.22)),
        Noun("pyramid", d.pyramid(0.62, 0.5)),
        Noun("egg", d.melted(0.4, d.ellipsoid(0.5, 0.5, 0.55), d.moved(d.ellipsoid(0.36, 0.36, 0.5), 0, 0, 0.3))),
        Noun("star", d.prism(star, 0.18)),
        Noun("heart", d.prism(heart, 0.22)),
        Noun("cross", d.union(d.block(0.2, 0.2, 0.75), d.moved(d.block(0.5, 0.2, 0.2), 0, 0, 0.15))),
    ]


def _furniture() -> list[Noun]:
    stove_legs = d.moved(d.mirrored(d.moved(d.block(0.06, 0.06, 0.4), 0.5, 0.35, 0), "xy"), 0, 0, -0.4)
    chair_legs = d.moved(d.mirrored(d.moved(d.block(0.06, 0.06, 0.35), 0.36, 0.36, 0), "xy"), 0, 0, -0.35)
    seat = d.block(0.45, 0.45, 0.07)
    sofa_seat = d.union(
        d.moved(d.block(0.85, 0.4, 0.2, 0.05), 0, 0, -0.1),
        d.moved(d.block(0.85, 0.14, 0.45, 0.05), 0, 0.4, 0.15),
        d.mirrored(d.moved(d.block(0.13, 0.45, 0.3, 0.05), 0.8, 0.05, 0), "x"),
    )
    bed_head = d.union(
        d.moved(d.block(0.55, 0.06, 0.4), 0, 0.9, 0.1), d.moved(d.block(0.55, 0.06, 0.22), 0, -0.9, -0.05)
    )
    shade = d.moved(d.cone(0.5, 0.25, 0.28), 0, 0, 0.6)
    rungs = [d.rod((-0.3, 0, z), (0.3, 0, z), 0.05) for z in (-0.7, -0.35, 0.0, 0.35, 0.7)]
    return [
        Noun("table", d.block(0.75, 0.55, 0.06), "legs", stove_legs),
        Noun(
            "chair", d.union(seat, d.moved(d.block(0.45, 0.06, 0.45), 0, 0.39, 0.5)), "legs", chair_legs, has_front=True
        ),
        Noun(
            "sofa",
            sofa_seat,
            "feet",
            d.mirrored(d.moved(d.block(0.07, 0.07, 0.12), 0.75, 0.35, -0.4), "xy"),
            has_front=True,
        ),
        Noun("bed", d.moved(d.block(0.52, 0.9, 0.14, 0.05), 0, 0, 0.02), "boards", bed_head),
        Noun(
            "lamp",
            shade,
            "a foot",
            d.union(d.rod((0, 0, -0.7), (0, 0, 0.6), 0.06), d.moved(d.cylinder(0.3, 0.05), 0, 0, -0.7)),
        ),
        Noun("ladder", d.mirrored(d.moved(d.block(0.06, 0.06, 0.95), 0.34, 0, 0), "x"), "rungs", d.union(*rungs)),
    ]


def _kitchen() -> list[Noun]:
    cup = d.cut(d.cylinder(0.45, 0.5), d.moved(d.cylinder(0.37, 0.5), 0, 0, 0.1))
    handle = d.common(
        d.moved(d.turned(d.ring(0.27, 0.075), "x", 90), 0.47, 0, 0), d.moved(d.block(0.5, 1, 1), 0.94, 0, 0)
    )
    bottle = d.melted(0.15, d.moved(d.cylinder(0.3, 0.5), 0, 0, -0.4), d.moved(d.cylinder(0.11, 0.45), 0, 0, 0.3))
    glass = d.cut(
        d.moved(d.ellipsoid(0.42, 0.42, 0.5), 0, 0, 0.45),
        d.moved(d.block(1, 1, 0.5), 0, 0, 1.1),
        d.moved(d.ellipsoid(0.35, 0.35, 0.43), 0, 0, 0.5),
    )
    stand = d.union(d.rod((0, 0, -0.75), (0, 0, 0.0), 0.05), d.moved(d.cone(0.36, 0.06, 0.05), 0, 0, -0.75))
    return [
        Noun("mug", cup, "a handle", handle, has_front=True),
        Noun("bottle", bottle, "a cap", d.moved(d.cylinder(0.15, 0.11), 0, 0, 0.8)),
        Noun("goblet", glass, "a stem", stand),
        Noun(
            "mushroom",
            d.cut(d.moved(d.ellipsoid(0.75, 0.75, 0.5), 0, 0, 0.2), d.moved(d.block(1, 1, 0.5), 0, 0, -0.4)),
            "a stem",
            d.moved(d.cone(0.28, 0.2, 0.42), 0, 0, -0.3),
        ),
        Noun(
            "apple",
            d.cut(d.ellipsoid(0.62, 0.62, 0.55), d.moved(d.cone(0.02, 0.25, 0.13), 0, 0, 0.5)),
            "a stalk",
            d.rod((0, 0, 0.35), (0.08, 0, 0.75), 0.05),
        ),
        Noun(
            "carrot",
            d.moved(d.cone(0.04, 0.26, 0.65), 0, 0, -0.15),
            "leaves",
            d.union(
                *[d.rod((0, 0, 0.45), (x, y, 0.85), 0.07) for x, y in ((0.2, 0.1), (-0.2, 0.1), (0, -0.22), (0, 0))]
            ),
        ),
    ]


def _outdoors() -> list[Noun]:
    walls, roof = d.moved(d.block(0.5, 0.6, 0.35), 0, 0, -0.3), d.prism([(-0.65, 0.0), (0.65, 0.0), (0, 0.6)], 0.68)
    door = d.moved(d.block(0.13, 0.05, 0.22), 0, -0.6, -0.43)
    chimney = d.moved(d.block(0.09, 0.09, 0.25), 0.3, 0.35, 0.5)
    crown = d.union(
        d.moved(d.cone(0.55, 0.02, 0.3), 0, 0, 0.0),
        d.moved(d.cone(0.45, 0.02, 0.3), 0, 0, 0.35),
        d.moved(d.cone(0.32, 0.01, 0.28), 0, 0, 0.68),
    )
    cactus = d.union(
        d.rod((0, 0, -0.7), (0, 0, 0.7), 0.18),
        d.rod((0, 0, -0.15), (0.42, 0, -0.15), 0.12),
        d.rod((0.42, 0, -0.15), (0.42, 0, 0.3), 0.12),
        d.rod((0, 0, 0.1), (-0.42, 0, 0.1), 0.12),
        d.rod((-0.42, 0, 0.1), (-0.42, 0, 0.5), 0.12),
    )
    tower = d.cut(
        d.union(d.cylinder(0.4, 0.7), d.moved(d.cylinder(0.5, 0.16), 0, 0, 0.62)),
        d.moved(d.cylinder(0.36, 0.2), 0, 0, 0.75),
        d.moved(d.block(1, 0.1, 0.13), 0, 0, 0.75),
        d.moved(d.block(0.1, 1, 0.13), 0, 0, 0.75),
    )
    snowballs = d.union(
        d.moved(d.ball(0.5), 0, 0, -0.5), d.moved(d.ball(0.36), 0, 0, 0.18), d.moved(d.ball(0.25), 0, 0, 0.68)
    )
    nose = d.moved(d.turned(d.cone(0.08, 0.01, 0.17), "x", 90), 0, -0.38, 0.68)
    hat = d.union(d.moved(d.cylinder(0.27, 0.03), 0, 0, 0.88), d.moved(d.cylinder(0.18, 0.15), 0, 0, 1.02))
    return [
        Noun("house", d.union(walls, chimney), "a roof", d.union(d.moved(roof, 0, 0, 0.03), door), has_front=True),
        Noun("tree", crown, "a trunk", d.moved(d.cylinder(0.13, 0.3), 0, 0, -0.5)),
        Noun("cactus", cactus, "a pot", d.moved(d.cone(0.26, 0.38, 0.2), 0, 0, -0.75)),
        Noun("tower", tower, "a door", d.moved(d.block(0.14, 0.07, 0.22), 0, -0.4, -0.48)),
        Noun("snowman", snowballs, "a hat", d.union(hat, nose)),
    ]


def _vehicles() -> list[Noun]:
    wheel = d.turned(d.cylinder(0.19, 0.08), "y", 90)
    wheels = d.moved(d.mirrored(d.moved(wheel, 0.4, 0.5, 0), "xy"), 0, 0, -0.25)
    car = d.union(
        d.moved(d.block(0.4, 0.9, 0.2, 0.06), 0, 0, -0.08), d.moved(d.block(0.34, 0.42, 0.2, 0.06), 0, 0.25, 0.25)
    )
    rocket = d.union(d.cylinder(0.27, 0.55), d.moved(d.cone(0.27, 0.01, 0.25), 0, 0, 0.8))
    fins = d.union(
        *[
            d.turned(d.prism([(0.2, -0.1), (0.55, -0.6), (0.55, -0.85), (0.2, -0.6)], 0.04), "z", a)
            for a in (0, 90, 180, 270)
        ]
    )
    fuselage = d.turned(d.ellipsoid(0.17, 0.95, 0.17), "z", 0)
    wings = d.union(
        d.moved(d.block(0.95, 0.2, 0.035), 0, -0.1, 0),
        d.moved(d.block(0.35, 0.12, 0.03), 0, 0.8, 0.05),
        d.moved(d.block(0.03, 0.13, 0.2), 0, 0.8, 0.2),
    )
    hull = d.cut(d.moved(d.ellipsoid(0.4, 0.9, 0.4), 0, 0, 0), d.moved(d.block(2, 2, 0.5), 0, 0, 0.5))
    sail = d.union(
        d.rod((0, 0, -0.2), (0, 0, 1.1), 0.04),
        d.turned(d.prism([(0.06, 0.15), (0.7, 0.15), (0.06, 1.05)], 0.03), "z", 90),
    )
    return [
        Noun("car", car, "wheels", wheels, has_front=True),
        Noun("rocket", rocket, "fins", fins),
        Noun("airplane", fuselage, "wings", wings, has_front=True),
        Noun("boat", hull, "a sail", sail),
    ]


def _things() -> list[Noun]:
    robot = d.union(
        d.block(0.35, 0.22, 0.38, 0.03),
        d.mirrored(d.moved(d.block(0.11, 0.13, 0.3), 0.2, 0, -0.65), "x"),
        d.mirrored(d.moved(d.block(0.09, 0.1, 0.33), 0.47, 0, 0), "x"),
    )
    head = d.cut(
        d.moved(d.block(0.24, 0.22, 0.2, 0.03), 0, 0, 0.6), d.mirrored(d.moved(d.ball(0.09), 0.11, -0.24, 0.64), "x")
    )
    dumbbell = d.turned(d.cylinder(0.09, 0.6), "y", 90)
    weights = d.mirrored(d.moved(d.turned(d.cylinder(0.36, 0.16), "y", 90), 0.62, 0, 0), "x")
    canopy = d.cut(d.moved(d.ball(0.8), 0, 0, 0), d.ball(0.74), d.moved(d.block(1, 1, 1), 0, 0, -0.78))
    crook = d.union(
        d.rod((0, 0, 0.75), (0, 0, -0.75), 0.05),
        d.moved(
            d.common(d.turned(d.ring(0.15, 0.05), "x", 90), d.moved(d.block(1, 1, 0.5), 0, 0, -0.5)), 0.15, 0, -0.75
        ),
    )
    duck = d.melted(
        0.15,
        d.ellipsoid(0.42, 0.65, 0.38),
        d.moved(d.ball(0.3), 0, -0.42, 0.5),
        d.moved(d.ellipsoid(0.15, 0.25, 0.12), 0, 0.62, 0.22),
    )
    beak = d.moved(d.ellipsoid(0.16, 0.2, 0.06), 0, -0.78, 0.45)
    fish = d.melted(
        0.1, d.ellipsoid(0.2, 0.7, 0.38), d.turned(d.prism([(0.55, 0), (0.95, 0.35), (0.95, -0.35)], 0.05), "z", 90)
    )
    fins = d.turned(d.prism([(-0.2, 0.3), (0.3, 0.3), (0.25, 0.6)], 0.04), "z", 90)
    return [
        Noun("robot", robot, "a head", head),
        Noun(
            "hammer",
            d.moved(d.cylinder(0.085, 0.65), 0, 0, -0.2),
            "a head",
            d.moved(d.turned(d.cylinder(0.19, 0.42), "y", 90), 0, 0, 0.5),
        ),
        Noun("dumbbell", dumbbell, "weights", weights),
        Noun("umbrella", canopy, "a handle", crook),
        Noun(
            "hat",
            d.union(d.moved(d.cylinder(0.45, 0.45), 0, 0, 0.1), d.moved(d.cylinder(0.78, 0.05), 0, 0, -0.35)),
            "a band",
            d.moved(d.cylinder(0.47, 0.1), 0, 0, -0.18),
        ),
        Noun("duck", duck, "a beak", beak, has_front=True),
        Noun("fish", fish, "a fin", fins, has_front=True),
    ]


def _meshes() -> list[Noun]:
    """Keenan Crane's cow, which looks along -z in its file, and the teapot of Utah, its spout along x; y is up in both."""
    spot, teapot = MESHES / "spot.obj", MESHES / "teapot.obj"
    return [
        Noun("cow", solid(spot, ((-1, 0, 0), (0, 0, 1), (0, 1, 0))), has_front=True),
        Noun("teapot", solid(teapot, ((0, 0, -1), (-1, 0, 0), (0, 1, 0))), has_front=True),
    ]


@cache
def nouns() -> tuple[Noun, ...]:
    """All of them, in an order that never changes: which pairs of noun and colour are held out depends on it."""
    groups = (_simple(), _furniture(), _kitchen(), _outdoors(), _vehicles(), _things(), _meshes())
    return tuple(noun for group in groups for noun in group)


def named(name: str) -> Noun:
    return next(noun for noun in nouns() if noun.name == name)
