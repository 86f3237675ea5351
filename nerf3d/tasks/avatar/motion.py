"""How the head is held while an avatar speaks a new sound: still, as in the film, naturally, in an orbit, from a file.

Poses are `camera_to_head`, AD-NeRF's transform_matrix: the head stands still, the camera moves and has OpenGL axes (y up, z
backward). What is blended is the opposite, how the head lies before the camera, because that is what really moved.

The film's poses are one long road. Natural motion walks along it, forward or backward, and takes short cuts to other places
of the film where the head was held nearly so; at both it starts and stops gently. Hence it is nowhere faster than the
film was, and never far from a pose that was learnt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from nerf3d.core.paths import nearest_rotation
from nerf3d.data.files import read_json
from nerf3d.data.frames import read_pose
from nerf3d.errors import InputError
from nerf3d.tasks.avatar.blinking import bridged, checked, read_npy

STRETCH = (50, 200)
"""Frames of the film that natural motion walks before it takes a short cut."""
TRIES = 8
"""So many ends of a walk are considered, for the short cut to what was shown longest ago; without any the walk goes on."""
EASE = 10
"""Frames in which a walk starts and stops, and those of a short cut."""
NEAR = 2.5
"""A short cut leads to poses that a head as fast as the film's reaches in so many frames."""
AWAY = 50
"""And they are so many frames away in the film."""
SMALL_GAP, LONGEST_GAP = 3, 25
"""Steps of film time: up to the first number they are no interruption; those beyond the second are shortened to it, unless
the head needs longer."""
LONGEST_BRIDGE = 75
"""A bridge over a cut lasts no longer, however far apart its ends are."""
CUT = 8.0
"""Steps beyond so many times the 90th percentile are cuts in the film."""


class Held(NamedTuple):
    """What a file says about every frame: the pose and, where it says so, how open the eyes are (0 shut to 1 open)."""

    poses: Float[Tensor, "n 4 4"]
    eyes: Float[Tensor, "n"] | None


def still(poses: Float[Tensor, "n 4 4"]) -> Float[Tensor, "4 4"]:
    """The training pose that is nearest to the mean, by angle and by place, each in units of its spread."""
    rotation, place = _heads(poses)
    angle = _turns(nearest_rotation(rotation.mean(0)).T @ rotation).norm(dim=-1)
    shift = (place - place.mean(0)).norm(dim=-1)
    squares = [x.square() / x.square().mean().clamp_min(1e-12) for x in (angle, shift)]
    return poses[int((squares[0] + squares[1]).argmin())]


def original(poses: Float[Tensor, "n 4 4"], times: Int64[Tensor, "n"], frames: int) -> Float[Tensor, "frames 4 4"]:
    """The training poses in order, then backward, and so on. `times` are the frames' numbers in the film: where frames are
    missing, or the film was cut, a gentle move leads from one pose to the next.
    """
    road = _road(poses, times)
    return road.poses(_to_and_fro(road, frames)).to(poses.dtype)


def beside_original(
    values: Float[Tensor, "n c"], poses: Float[Tensor, "n 4 4"], times: Int64[Tensor, "n"], frames: int
) -> Float[Tensor, "frames c"]:
    """What the film says of every training frame, in the order of `original`'s poses: where the torso stands, say."""
    if len(values) == 1:
        return values.expand(frames, -1)
    road = _road(poses, times)
    i, u = road.between(_to_and_fro(road, frames))
    return torch.lerp(values[i], values[i + 1], u.to(values))


def natural(
    poses: Float[Tensor, "n 4 4"], times: Int64[Tensor, "n"], frames: int, rng: torch.Generator | None
) -> Iterator[Float[Tensor, "4 4"]]:
    """Motion like the film's for as many frames as wanted, one after another: see above.

    From frame to frame it is never faster than the film, unless the film consists of shreds; its rotations are at most
    half a step of the film, or half a short cut, away from a training pose. `rng` is asked once, here; without it the
    motion is always the same.
    """
    seed = 0 if rng is None else int(torch.randint(2**31, (), generator=rng))
    walk = _wander(_road(poses, times), torch.Generator().manual_seed(seed))
    return (pose.to(poses.dtype) for pose in islice(walk, frames))


def orbit(
    pose: Float[Tensor, "4 4"], frames: int, yaw_degrees: float = 12.0, period: float = 200.0
) -> Float[Tensor, "frames 4 4"]:
    """The head of a pose slowly turned about its own vertical axis, first towards the viewer's right, by a sine.

    `yaw_degrees` is how far it turns to each side, `period` the frames from right to left and back. The head stands still
    in these poses, so that the camera goes round its origin the other way.

    >>> orbit(torch.eye(4), 51)[50, :3, 2]  # the direction from which it is seen: its nose turned right, we see its left
    tensor([-0.2079,  0.0000,  0.9781])
    """
    yaw = torch.deg2rad(torch.tensor(yaw_degrees)) * torch.sin(2 * torch.pi * torch.arange(frames) / period)
    around = torch.eye(4).repeat(frames, 1, 1)
    around[:, 0, 0] = around[:, 2, 2] = torch.cos(yaw)
    around[:, 0, 2], around[:, 2, 0] = -torch.sin(yaw), torch.sin(yaw)
    return around.to(pose) @ pose


def from_file(path: Path, frames: int) -> Held:
    """The poses that a file gives: a .npy of (n, 4, 4), or JSON with `frames`, each with `transform_matrix` and perhaps
    `eye`, as in a prepared folder. Frames without an eye get one between their neighbours'.

    Raises InputError for another number of poses, for a matrix that is not rigid or not finite, and for eyes not in 0..1.
    """
    if path.suffix.lower() not in (".json", ".npy"):
        raise InputError(f"{path} is no .json or .npy file; give poses as transforms with 'frames', or as (n, 4, 4)")
    poses, eyes = _from_npy(path) if path.suffix.lower() == ".npy" else _from_json(path)
    if len(poses) != frames:
        raise InputError(
            f"{path} holds {len(poses)} poses and the sound lasts {frames} frames; give one pose for each frame"
        )
    return Held(_rigid(path, poses), None if eyes is None else checked(path, eyes))


@dataclass(frozen=True)
class _Road:
    """The film's poses as a path, `turn` and `shift` from each to the next, at least one step.

    `at` is when each is passed, in frames from 0; `eased` says which steps are bridges; `walls`, which of these lead to a
    pose that is not near. `pace` is how far a quick head turns and moves in a frame: the film's 99th percentiles.
    """

    rotation: Float[Tensor, "n 3 3"]
    place: Float[Tensor, "n 3"]
    turn: Float[Tensor, "m 3"]
    shift: Float[Tensor, "m 3"]
    at: Int64[Tensor, "n"]
    eased: Bool[Tensor, "m"]
    walls: Bool[Tensor, "m"]
    pace: tuple[float, float]

    @property
    def length(self) -> int:
        return int(self.at[-1])

    def poses(self, clock: Tensor) -> Float[Tensor, "k 4 4"]:
        """camera_to_head at some moments."""
        rotation, place = self.heads(clock)
        return _cameras(rotation, place)

    def heads(self, clock: Tensor) -> tuple[Float[Tensor, "k 3 3"], Float[Tensor, "k 3"]]:
        """How the head lies before the camera at some moments."""
        i, u = self.between(clock)
        return self.rotation[i] @ _rotations(u * self.turn[i]), self.place[i] + u * self.shift[i]

    def between(self, clock: Tensor) -> tuple[Int64[Tensor, "k"], Float[Tensor, "k 1"]]:
        """The pose before each moment, and how far it is from there to the next."""
        i = (torch.searchsorted(self.at.double(), clock.double(), right=True) - 1).clamp(0, len(self.turn) - 1)
        u = (clock - self.at[i]).double() / (self.at[i + 1] - self.at[i])
        return i, torch.where(self.eased[i], _gently(u), u)[:, None]

    def near(self, moment: int) -> Bool[Tensor, "n"]:
        """The poses that a short cut leads to."""
        rotation, place = (x[0] for x in self.heads(torch.tensor([moment])))
        cosine = ((rotation * self.rotation).sum((1, 2)) - 1) / 2
        need = torch.maximum(
            torch.arccos(cosine.clamp(-1, 1)) / self.pace[0], (self.place - place).norm(dim=-1) / self.pace[1]
        )
        return (need <= NEAR) & ((self.at - moment).abs() >= AWAY)

    def short_cut(self, moment: int, i: int) -> Float[Tensor, "k 4 4"]:
        """A gentle move from a moment's pose to another, without the first."""
        rotation, place = self.heads(torch.tensor([moment]))
        turn, shift = _turns(rotation.transpose(1, 2) @ self.rotation[i]), self.place[i] - place
        u = _gently(torch.arange(1, EASE + 1).double() / EASE)[:, None]
        return _cameras(rotation @ _rotations(u * turn), place + u * shift)

    def pieces(self) -> list[tuple[int, int]]:
        """The parts between walls that are long enough to walk in, from when to when; all of it if there are none."""
        wall = self.walls.nonzero()[:, 0]
        begin, end = torch.cat([self.at[:1], self.at[wall + 1]]), torch.cat([self.at[wall], self.at[-1:]])
        wide = end - begin >= min(AWAY, self.length)
        return list(zip(begin[wide].tolist(), end[wide].tolist())) or [(0, self.length)]


def _road(poses: Float[Tensor, "n 4 4"], times: Int64[Tensor, "n"]) -> _Road:
    if len(poses) == 1:
        poses, times = poses.repeat(2, 1, 1), torch.arange(2)
    rotation, place = _heads(poses)
    turn, shift, gap = _turns(rotation[:-1].transpose(1, 2) @ rotation[1:]), place.diff(dim=0), times.diff()
    sizes = torch.stack([turn.norm(dim=-1), shift.norm(dim=-1)])
    rates = sizes / gap.clamp_min(1)
    plain = (gap >= 1) & (gap <= SMALL_GAP)
    if bool(plain.any()):
        usual = torch.quantile(rates[:, plain], 0.9, dim=1, keepdim=True)
        plain &= (rates <= CUT * usual.clamp_min(1e-6)).all(0)
    known = rates[:, plain] if bool(plain.any()) else rates
    pace = torch.quantile(known, 0.99, dim=1).clamp_min(1e-6)
    need = (sizes / pace[:, None]).amax(0)
    bridge = torch.maximum(_frames(need).clamp_max(LONGEST_BRIDGE), gap.clamp(1, LONGEST_GAP))
    at = torch.cat([torch.zeros(1, dtype=torch.int64), torch.where(plain, gap, bridge).cumsum(0)])
    return _Road(rotation, place, turn, shift, at, ~plain, ~plain & (need > NEAR), (float(pace[0]), float(pace[1])))


def _to_and_fro(road: _Road, frames: int) -> Int64[Tensor, "frames"]:
    clock = torch.arange(frames) % (2 * (road.length + 1))
    return torch.minimum(clock, 2 * road.length + 1 - clock)


def _wander(road: _Road, rng: torch.Generator) -> Iterator[Float[Tensor, "4 4"]]:
    """Poses without end: a walk, a short cut to what was shown longest ago, on towards what was, and so on."""
    pieces = road.pieces()
    allowed = torch.stack([(road.at >= low) & (road.at <= high) for low, high in pieces]).any(0)
    seen = torch.zeros_like(road.at)  # at which visit a pose was passed last
    here = _any(road.at[allowed], rng)
    forward = 2 * here < road.length
    yield from road.poses(torch.tensor([here]))
    for visit in count(1):
        low, high = next((low, high) for low, high in pieces if low <= here <= high)
        if (high - here if forward else here - low) < STRETCH[0]:
            forward = high - here > here - low
        ways = torch.randint(STRETCH[0], STRETCH[1] + 1, (TRIES,), generator=rng)
        ends = (here + (ways if forward else -ways)).clamp(low, high)
        age = torch.stack([torch.where(allowed & road.near(int(end)), seen, visit) for end in ends])
        best = int(age.amin(1).argmin())
        end = int(ends[best])
        yield from road.poses(_walk(here, end))
        seen[(road.at >= min(here, end)) & (road.at <= max(here, end))] = visit
        here = end
        if int(age[best].min()) < visit:
            i = _any((age[best] == age[best].min()).nonzero()[:, 0], rng)
            yield from road.short_cut(here, i)
            here = int(road.at[i])
            behind, ahead = ((x > 0) & (x <= STRETCH[1]) for x in (here - road.at, road.at - here))
            forward = bool(seen[ahead].double().sum() * behind.sum() < seen[behind].double().sum() * ahead.sum())


def _walk(begin: int, end: int) -> Float[Tensor, "k"]:
    """When to be where on the way, from rest to rest, at most one frame of the film per frame; without the beginning.

    The first and the last EASE frames are those of even acceleration.

    >>> _walk(20, 0)[[0, 9, 10, 19, 28, 29]].tolist()
    [19.95, 15.0, 14.0, 5.0, 0.05000000000000071, 0.0]
    """
    way = abs(end - begin)
    ease = max(min(EASE, way), 1)
    t = torch.arange(1, way + ease + 1).double()
    gone = t - ease / 2 + ((ease - t).clamp_min(0).square() - (t - way).clamp_min(0).square()) / (2 * ease)
    return begin + (gone if end > begin else -gone)


def _frames(need: Tensor) -> Int64[Tensor, "*b"]:
    """The frames of a gentle move, whose fastest moment is one and a half times its mean."""
    return (1.5 * need).ceil().clamp_max(1e9).long()


def _gently(u: Tensor) -> Tensor:
    """0..1 from rest to rest."""
    return u.square() * (3 - 2 * u)


def _any(values: Int64[Tensor, "n"], rng: torch.Generator) -> int:
    return int(values[int(torch.randint(len(values), (), generator=rng))])


def _heads(poses: Float[Tensor, "n 4 4"]) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
    """How the head lies before the camera: the poses' inverses, in double precision."""
    rotation = nearest_rotation(poses[:, :3, :3].double().transpose(1, 2))
    return rotation, -(rotation @ poses[:, :3, 3:].double())[..., 0]


def _cameras(rotation: Float[Tensor, "n 3 3"], place: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4 4"]:
    """And back."""
    pose = torch.eye(4, dtype=rotation.dtype).repeat(len(rotation), 1, 1)
    pose[:, :3, :3] = rotation.transpose(1, 2)
    pose[:, :3, 3:] = -(rotation.transpose(1, 2) @ place[..., None])
    return pose


def _turns(rotation: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_matrix(rotation.numpy()).as_rotvec())


def _rotations(turn: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_rotvec(turn.numpy()).as_matrix())


def _from_npy(path: Path) -> tuple[Tensor, Tensor | None]:
    array = read_npy(path)
    if array.ndim != 3 or array.shape[1:] != (4, 4):
        raise InputError(f"{path} has the shape {array.shape}, and (frames, 4, 4) is needed; save camera_to_head")
    return torch.from_numpy(np.array(array, dtype=np.float32)), None


def _from_json(path: Path) -> tuple[Tensor, Tensor | None]:
    tables = read_json(path).get("frames")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} has no list 'frames'; each frame needs an entry with transform_matrix")
    gl, last = torch.tensor([1.0, -1.0, -1.0, 1.0]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    poses, eyes = torch.zeros(len(tables), 4, 4), torch.full((len(tables),), float("nan"))
    for i, table in enumerate(tables):
        poses[i] = torch.cat([read_pose(f"{path}, frame {i}", table.get("transform_matrix")) * gl, last])
        eye = table.get("eye")
        if eye is not None:
            if not isinstance(eye, int | float) or isinstance(eye, bool):
                raise InputError(f"{path}, frame {i}: eye is {eye!r}; write a number from 0 (shut) to 1 (open)")
            eyes[i] = eye
    return poses, None if bool(eyes.isnan().all()) else bridged(eyes)


def _rigid(path: Path, poses: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n 4 4"]:
    """The same poses with exact rotations."""
    rotation, last = poses[:, :3, :3], torch.tensor([0.0, 0.0, 0.0, 1.0])
    error = (rotation.transpose(1, 2) @ rotation - torch.eye(3)).abs().amax((1, 2)) + (poses[:, 3] - last).abs().amax(1)
    good = poses.isfinite().flatten(1).all(1) & (error < 1e-3) & (torch.det(rotation) > 0)
    if not bool(good.all()):
        raise InputError(
            f"{path}: the matrix of frame {int((~good).int().argmax())} is not a rotation with a place (it is scaled, "
            "mirrored, sheared or not finite); correct it"
        )
    exact = poses.clone()
    exact[:, :3, :3] = nearest_rotation(rotation)
    return exact
