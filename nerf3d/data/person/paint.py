"""Colours of the person, and the light: what turns surfaces into a picture. Colours are sRGB in [0, 1]."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core.numerics import normalize
from nerf3d.data.person import anatomy as a
from nerf3d.data.person.anatomy import Expression
from nerf3d.data.person.trace import Scene, local, marks

SKIN, BLUSH = (0.97, 0.78, 0.66), (0.95, 0.56, 0.48)
LIPS, CAVITY = (0.84, 0.36, 0.38), (0.24, 0.05, 0.07)
TEETH, TONGUE = (0.97, 0.95, 0.91), (0.78, 0.36, 0.38)
HAIR, BROW, LASH = (0.36, 0.21, 0.12), (0.30, 0.19, 0.13), (0.17, 0.11, 0.09)
WHITE, IRIS, RIM, PUPIL = (0.96, 0.96, 0.95), (0.25, 0.52, 0.62), (0.10, 0.24, 0.32), (0.03, 0.03, 0.04)
CLOTHES, KNIT = (0.17, 0.45, 0.42), (0.22, 0.54, 0.50)
BACKDROP = ((0.80, 0.83, 0.86), (0.62, 0.67, 0.73))
"""The quiet background: its colour in the middle and in the corners."""

KEY, FILL = (-0.45, -0.75, 0.60), (0.75, -0.6, 0.05)
"""Where the lights stand, seen from the person: a main light and a weak one from the other side."""
BROWS = ((0.040, 0.078), (0.075, 0.097), (0.120, 0.095), (0.158, 0.073))
"""The line of the brow at positive x: x and z."""

Color = tuple[float, float, float]


def own_color(scene: Scene, x: Float[Tensor, "n 3"], part: Int64[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """Colours of points (in the world) on the person's surface; `part` counts as in `shape_numba`."""
    color = torch.zeros(len(x), 3)
    for index, painter in enumerate((_skin, _eyes, _teeth, _tongue, _hair, _neck, _clothes)):
        on = torch.nonzero(part == index)[:, 0]
        pose = scene.world_from_head if index < 5 else scene.world_from_torso
        if on.numel():
            color[on] = painter(local(x[on], pose), scene.face)
    return color


def lit(
    color: Float[Tensor, "n 3"],
    normal: Float[Tensor, "n 3"],
    look: Float[Tensor, "n 3"],
    openness: Float[Tensor, "n"],
    gloss: Float[Tensor, "n"],
) -> Float[Tensor, "n 3"]:
    """Two soft lights and a sky that is dimmed where the surroundings are near (`openness`, 1 in the open), and a highlight
    where there is gloss (Blinn-Phong). `look` is the way the rays travel.
    """
    key, fill = (normalize(color.new_tensor(light)) for light in (KEY, FILL))
    # "Half Lambert" wraps the light around what it touches, as light that passes through skin does.
    wrapped = (0.5 + 0.5 * (normal @ key)).square()
    other = (0.5 + 0.5 * (normal @ fill)).square()
    sky = 0.5 + 0.5 * normal[:, 2]
    shade = (0.2 + 0.8 * openness) * (0.36 + 0.1 * sky) + (0.4 + 0.6 * openness) * (0.52 * wrapped + 0.2 * other)
    highlight = (normal * normalize(key - look)).sum(-1).clamp_min(0) ** 150
    return (color * shade[:, None] + (gloss * highlight)[:, None]).clamp(0, 1)


def gloss(part: Int64[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How strong the highlight is on each part."""
    return torch.tensor([0.05, 0.85, 0.25, 0.15, 0.10, 0.03, 0.02])[part]


def _skin(p: Tensor, face: Expression) -> Tensor:
    to_lips, to_slit, to_hole = marks(face, p).unbind(-1)
    side = torch.cat([p[:, :1].abs(), p[:, 1:]], -1)
    in_front = (p[:, 1] < 0).float()
    color = _flat(SKIN, p)
    color = _mix(color, BLUSH, 0.5 * torch.exp(-_from(side, (0.125, -0.2, -0.11)).square() / 0.055**2))
    color = _mix(color, BLUSH, 0.22 * torch.exp(-_from(p, (0.0, -0.32, -0.1)).square() / 0.04**2))
    color = _mix(color, BROW, 0.92 * _soft(0.004, 0.0105 - _to_line(side[:, [0, 2]], BROWS)) * in_front)
    color = _mix(color, CAVITY, 0.7 * _soft(0.004, 0.008 - _from(side, (0.017, -0.28, -0.131))))
    color = _mix(color, LIPS, _soft(0.0035, 0.0015 - to_lips) * in_front)
    color = _mix(color, CAVITY, 0.55 * _soft(0.0022, 0.0015 - to_hole) * in_front)  # the line between closed lips
    upper = side[:, 2] - a.EYE[2] - a.EYE_TILT * (side[:, 0] - a.EYE[0]) > a.CLOSED_LID
    color = _mix(color, LASH, _soft(0.0025, torch.where(upper, 0.0055, 0.0012) - to_slit))
    return _mix(color, CAVITY, _soft(0.002, 0.0015 - to_hole) * (p[:, 1] > a.MOUTH[1] + 0.006))


def _eyes(p: Tensor, face: Expression) -> Tensor:
    from_axis = ((p[:, 0].abs() - a.EYE[0]).square() + (p[:, 2] - a.EYE[2]).square()).sqrt()
    color = _mix(_flat(WHITE, p), RIM, _soft(0.0025, a.IRIS_RADIUS - from_axis))
    color = _mix(color, IRIS, _soft(0.005, a.IRIS_RADIUS - 0.004 - from_axis))
    return _mix(color, PUPIL, _soft(0.002, a.PUPIL_RADIUS - from_axis))


def _teeth(p: Tensor, face: Expression) -> Tensor:
    gaps = torch.cos(p[:, 0] * (2 * torch.pi / 0.017)).clamp_min(0) ** 12
    return _flat(TEETH, p) * (1 - 0.14 * gaps[:, None])


def _tongue(p: Tensor, face: Expression) -> Tensor:
    return _flat(TONGUE, p)


def _hair(p: Tensor, face: Expression) -> Tensor:
    turn = torch.atan2(p[:, 0] - 0.07, p[:, 1] - 0.05)
    strands = 0.5 + 0.3 * torch.sin(61 * turn + 14 * p[:, 2]) + 0.2 * torch.sin(143 * turn - 9 * p[:, 2])
    return _flat(HAIR, p) * (0.85 + 0.4 * strands[:, None])


def _neck(p: Tensor, face: Expression) -> Tensor:
    return _flat(SKIN, p)


def _clothes(p: Tensor, face: Expression) -> Tensor:
    rows = 0.5 + 0.5 * torch.sin(120 * (p[:, 2] + 0.25 * p[:, 0].abs()))
    return _mix(_flat(CLOTHES, p), KNIT, rows)


def _from(p: Tensor, point: Color) -> Tensor:
    return (p - p.new_tensor(point)).square().sum(-1).sqrt()


def _flat(color: Color, p: Tensor) -> Tensor:
    return p.new_tensor(color).expand(len(p), 3)


def _mix(color: Tensor, other: Color, share: Tensor) -> Tensor:
    return color + share[:, None] * (color.new_tensor(other) - color)


def _soft(width: float, x: Tensor) -> Tensor:
    """0 below -width, 1 above width, smooth between."""
    t = (0.5 + x / (2 * width)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _to_line(point: Float[Tensor, "n 2"], line: tuple[tuple[float, float], ...]) -> Float[Tensor, "n"]:
    """The distance to a broken line."""
    squared = torch.full_like(point[:, 0], torch.inf)
    for start, end in zip(line, line[1:]):
        origin, along = point.new_tensor(start), point.new_tensor(end) - point.new_tensor(start)
        share = (((point - origin) @ along) / along.square().sum()).clamp(0, 1)
        squared = torch.minimum(squared, (point - origin - share[:, None] * along).square().sum(-1))
    return squared.sqrt()
