"""Surfaces become pictures: colours, patterns, soft light from one side and the sky, no shadows."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.world.captions import COLORS, Thing
from nerf3d.data.world.trace import Surface

AMBIENT = 0.6
SKY, GROUND, MIRROR = 1.0, 0.1, 0.35  # of what is shiny: what it mirrors, and how much of that at least
STRIPES = 2.7
"""Pairs of stripes, and of squares of a chequer, per unit of length."""


@dataclass(frozen=True)
class Paint:
    """The colours of one part of a scene. `second` is what stripes and squares alternate with."""

    color: Float[Tensor, "3"]
    second: Float[Tensor, "3"]
    pattern: str
    frequency: float
    origin: Float[Tensor, "3"]


def paints(thing: Thing, parts: int, size: float, origin: Float[Tensor, "3"]) -> list[Paint]:
    """One paint for each part of a thing that is drawn `size` times as large as a single object, around `origin`."""
    color = torch.tensor(COLORS[thing.color])
    other = torch.tensor(COLORS[_beside(thing.color)])
    accent = torch.tensor(COLORS[thing.accent_color or thing.color])
    each = [(color, thing.pattern), (accent, thing.pattern if thing.accent_color is None else "plain")]
    return [Paint(c, other, pattern, STRIPES / size, origin) for c, pattern in each[:parts]]


def _beside(color: str) -> str:
    """What stripes and squares of a colour alternate with. No two colours alternate with each other: that would be one
    picture with two names.
    """
    if color == "black":
        return "grey"
    return "black" if color in ("white", "yellow", "turquoise", "pink") else "white"


def paint(surface: Surface, scheme: list[Paint]) -> Float[Tensor, "n 3"]:
    """The surface's own colour (albedo); black where there is none."""
    color = torch.zeros(len(surface.part), 3)
    for index, coat in enumerate(scheme):
        on = torch.nonzero(surface.part == index)[:, 0]
        local = (surface.position[on] - coat.origin) * coat.frequency
        if coat.pattern == "striped":
            odd = torch.floor(2 * local[:, 2] + 0.5).long() % 2 == 1
        elif coat.pattern == "checkered":  # shifted off the middle, where flat faces would flicker
            odd = torch.floor(2 * local + 0.23).long().sum(-1) % 2 == 1
        else:
            odd = torch.zeros(len(on), dtype=torch.bool)
        color[on] = torch.where(odd[:, None], coat.second, coat.color)
    return color


def light(
    surface: Surface, color: Float[Tensor, "n 3"], shiny: Tensor, look: Float[Tensor, "n 3"], toward: Float[Tensor, "3"]
) -> Float[Tensor, "n 3"]:
    """Lambert's law with a sky of constant light. What is shiny has a highlight besides (Blinn-Phong) and mirrors a bright
    sky over a dark ground, the more the flatter one looks at it (Schlick 1994): seen from wherever, it looks shiny.

    `look` are the directions in which the rays travel, `toward` is where the light comes from.
    """
    diffuse = (surface.normal @ toward).clamp_min(0)
    lit = color * (AMBIENT + (1 - AMBIENT) * diffuse[:, None])
    half = torch.nn.functional.normalize(toward - look, dim=-1)
    highlight = 0.9 * (surface.normal * half).sum(-1).clamp_min(0) ** 40
    against = (surface.normal * look).sum(-1, keepdim=True)
    above = (look - 2 * against * surface.normal)[:, 2]
    sky = GROUND + (SKY - GROUND) * torch.sigmoid(12 * (above - 0.1))
    mirrored = MIRROR + (1 - MIRROR) * (1 + against[:, 0].clamp(-1, 0)) ** 5
    gloss = lit + mirrored[:, None] * (sky[:, None] - lit) + highlight[:, None]
    return (lit + shiny[:, None] * (gloss - lit)).clamp(0, 1)


def backdrop(size: int, in_front: Float[Tensor, "k 3"], rng: torch.Generator) -> Float[Tensor, "h w 3"]:
    """What is behind: mostly one quiet colour, now and then a gradient or soft clouds; none of the colours in front."""
    while True:
        grey, tint, kind = torch.rand(3, generator=rng).tolist()
        color = grey + 0.5 * tint * (torch.rand(3, generator=rng) - 0.5)
        if float((in_front - color).norm(dim=-1).amin()) > 0.35:
            break
    corners = color[None, :, None, None]
    if kind > 0.6:
        cells = 2 if kind < 0.9 else 5
        corners = corners + 0.4 * (torch.rand(1, 3, cells, cells, generator=rng) - 0.5)
    grown = torch.nn.functional.interpolate(corners, size=(size, size), mode="bilinear", align_corners=True)
    return grown[0].permute(1, 2, 0).clamp(0, 1)
