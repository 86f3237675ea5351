"""How the person moves: the head wanders a little, the torso less, and the eyes blink; the mouth follows the sound."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.person.anatomy import Expression
from nerf3d.data.person.mouth import mouth
from nerf3d.data.person.trace import Scene

PIVOT = (0.0, 0.06, -0.28)
"""What the head turns about: the top of the neck."""
YAW, PITCH, ROLL, SHIFT = 5.0, 3.0, 2.5, 0.01
"""Typical (root mean square) turns of the head in degrees and shifts along each axis."""
SWAY = 0.25
"""The torso goes along with this share of the head's shifts, and with a tenth of that of its turns."""
BLINK = 0.2
"""Seconds from open to open."""
GAP = (1.8, 4.2)
"""Seconds between the beginnings of two blinks: anything between these."""


@dataclass(frozen=True)
class Performance:
    """What the person does, frame by frame. Poses are rotations and origins; the rest is in 0..1."""

    world_from_head: Float[Tensor, "f 3 4"]
    world_from_torso: Float[Tensor, "f 3 4"]
    opening: Float[Tensor, "f"]
    rounding: Float[Tensor, "f"]
    blink: Float[Tensor, "f"]

    def __len__(self) -> int:
        return len(self.opening)

    def face(self, frame: int) -> Expression:
        return Expression(float(self.opening[frame]), float(self.rounding[frame]), float(self.blink[frame]))

    def scene(self, frame: int) -> Scene:
        return Scene(self.face(frame), self.world_from_head[frame], self.world_from_torso[frame])


def perform(sound: Float[Tensor, "n"], frames: int, rng: torch.Generator | None, fps: float = 25.0) -> Performance:
    """Speak a sound (16 kHz). Head and blinks come from `rng` and know nothing of the sound; without one the person looks
    straight ahead and never blinks.
    """
    spoken = mouth(sound, frames, fps)
    turns = torch.stack([size * _wander(frames, fps, rng) for size in (YAW, PITCH, ROLL)], -1)
    shifts = SHIFT * torch.stack([_wander(frames, fps, rng) for _ in range(3)], -1)
    head = pose(turns, shifts)
    body = pose(0.1 * SWAY * turns, SWAY * shifts)
    return Performance(head, body, spoken.opening, spoken.rounding, _blinks(frames, fps, rng))


def pose(turns: Float[Tensor, "*f 3"], shifts: Float[Tensor, "*f 3"]) -> Float[Tensor, "*f 3 4"]:
    """world_from_head after it was turned by yaw (to the picture's right), pitch (downwards) and roll (clockwise in the
    picture) about the neck, in degrees, and shifted.

    >>> looks = pose(torch.tensor([90.0, 0, 0]), torch.zeros(3))[:, :3] @ torch.tensor([0.0, -1, 0])
    >>> looks.round().tolist()
    [1.0, 0.0, 0.0]
    """
    yaw, pitch, roll = torch.deg2rad(turns).unbind(-1)
    rotation = _about(2, yaw) @ _about(0, pitch) @ _about(1, roll)
    pivot = torch.tensor(PIVOT)
    origin = pivot + shifts - rotation @ pivot
    return torch.cat([rotation, origin[..., None]], -1)


def _about(axis: int, angle: Float[Tensor, "*f"]) -> Float[Tensor, "*f 3 3"]:
    j, k = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3).repeat(*angle.shape, 1, 1)
    matrix[..., j, j] = matrix[..., k, k] = torch.cos(angle)
    matrix[..., k, j] = torch.sin(angle)
    matrix[..., j, k] = -torch.sin(angle)
    return matrix


def _wander(frames: int, fps: float, rng: torch.Generator | None) -> Float[Tensor, "f"]:
    """A smooth signal of root mean square 1 or so: three slow waves."""
    if rng is None:
        return torch.zeros(frames)
    period = torch.tensor([2.7, 4.6, 7.9]) * (0.85 + 0.3 * torch.rand(3, generator=rng))
    phase = torch.rand(3, generator=rng)
    height = torch.tensor([0.35, 0.85, 1.0])
    turn = torch.arange(frames)[:, None] / fps / period + phase
    return (height * torch.sin(2 * math.pi * turn)).sum(-1) / float(height.square().sum() / 2) ** 0.5


def _blinks(frames: int, fps: float, rng: torch.Generator | None) -> Float[Tensor, "f"]:
    shut = torch.zeros(frames)
    if rng is None:
        return shut
    time = torch.arange(frames) / fps
    begin = GAP[1] * float(torch.rand((), generator=rng)) / 2
    while begin < frames / fps:
        through = ((time - begin) / BLINK).clamp(0, 1)
        lid = (1.2 * torch.sin(math.pi * through).square()).clamp(max=1)
        shut = torch.maximum(shut, torch.where(through < 1, lid, 0.0))
        begin += GAP[0] + (GAP[1] - GAP[0]) * float(torch.rand((), generator=rng))
    return shut
