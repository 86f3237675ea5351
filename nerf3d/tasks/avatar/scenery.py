"""What an avatar is made of: a head and the space that it moves in, a torso, a background, and the camera that saw them.

Nothing of the film is needed to see it, except what a `Likeness` keeps.
"""

from collections.abc import Iterable, Iterator
from itertools import tee

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerf3d.core import Box, Cameras
from nerf3d.data.portrait.footage import Footage
from nerf3d.data.portrait.likeness import Likeness
from nerf3d.errors import InputError
from nerf3d.models.condition import Condition
from nerf3d.models.head import HeadConfig
from nerf3d.models.mouth_reader import MouthReader
from nerf3d.models.sound_encoder import MouthGuess
from nerf3d.models.torso import over
from nerf3d.render.render import render
from nerf3d.tasks.avatar.recipe import Avatar

AROUND = 0.03
"""By how much of the frame's side the head's outline is widened before it bounds the space."""
SHARE = 0.3
"""Of the frames that were asked: so many must have the head there."""
FRAMES_ASKED = 48
CHUNK = 8192


class Scenery(nn.Module):
    """Everything that learns, and what it needs to be seen. `hull` is where the head ever is, in the sampler's cells."""

    plate: Tensor
    hull: Tensor
    lean: Tensor

    def __init__(self, recipe: Avatar, likeness: Likeness, rng: torch.Generator) -> None:
        super().__init__()
        self.likeness = likeness
        channels = likeness.feature.channels
        self.head = recipe.head.build(likeness.box, channels, len(likeness.shots), rng)
        self.guess = MouthGuess(recipe.head.code, rng)
        told = recipe.head.mouth if isinstance(recipe.head, HeadConfig) else 0
        self.reader = MouthReader(channels, len(likeness.shots), told) if told else None
        shots = likeness.shots
        self.register_buffer("lean", usual_lean(pose_numbers(shots.camera_to_head), 2 * shots.torso))
        self.torso = recipe.torso.build(self.torso_numbers(shots.camera_to_head, shots.torso), rng)
        self.sampler = recipe.sampler.build(likeness.box)
        self.register_buffer("plate", likeness.plate.float() / 255)
        self.register_buffer("hull", torch.ones_like(self.sampler.clear, dtype=torch.bool))

    def condition(self, heard: Float[Tensor, "k"], eye: Float[Tensor, ""], frame: int | None = None) -> Condition:
        """What is heard is the code, and behind it, for heads that are told, how the mouth stands."""
        told = 0 if self.reader is None else self.reader.answers.shape[1]
        code, mouth = heard.split([len(heard) - told, told])
        return Condition(code, eye, self.head.appearance(frame), mouth)

    @torch.no_grad()
    def listen(self, portions: Iterable[Float[Tensor, "_ 16 c"]]) -> Iterator[Float[Tensor, "k"]]:
        """What is heard in every frame of a film, whose windows come in portions of any size."""
        first, second = tee(portions)
        codes = (code for portion in self.head.sound_encoder.along(first) for code in portion)
        if self.reader is None:
            yield from codes
            return
        mouths = (mouth for portion in second for mouth in self.reader(portion))
        yield from map(torch.cat, zip(codes, mouths))

    def torso_numbers(
        self, camera_to_head: Float[Tensor, "n 4 4"], torso: Float[Tensor, "n 2"]
    ) -> Float[Tensor, "n 8"]:
        """What the torso's picture is asked for. Where it stands is as likely as can be for the head, if that is NaN."""
        if not bool(self.lean.any()):  # it learnt from a film that said nothing of the torso
            torso = torch.full_like(torso, torch.nan)
        head = pose_numbers(camera_to_head)
        likely = torch.cat([head, torch.ones_like(head[:, :1])], -1) @ self.lean
        return torch.cat([head, torch.where(torso.isnan(), likely, 2 * torso)], -1)

    @torch.no_grad()
    def person(
        self,
        camera_to_head: Float[Tensor, "4 4"],
        heard: Float[Tensor, "k"],
        eye: Float[Tensor, ""],
        torso: Float[Tensor, "2"] | None = None,
    ) -> Float[Tensor, "h w 4"]:
        """Head before torso, premultiplied, at one moment. No chance is involved: the same picture every time."""
        cameras = self.likeness.cameras(camera_to_head[None])
        rays = cameras.rays(0)
        field = self.head(self.condition(heard, eye))
        stands = torch.full((2,), torch.nan).to(self.plate) if torso is None else torso
        shoulders = self.torso(self.torso_numbers(camera_to_head[None], stands[None])[0])
        height, width = cameras.height, cameras.width
        seen = []
        for begin in range(0, len(rays), CHUNK):
            part = torch.arange(begin, min(begin + CHUNK, len(rays)), device=self.plate.device)
            out = render(field, rays[part], self.sampler)
            behind = shoulders(in_frame(part % width, part // width, width, height))
            seen.append(torch.cat([out.color, out.opacity[:, None]], 1) + (1 - out.opacity)[:, None] * behind)
        return torch.cat(seen).reshape(height, width, 4).clamp(0, 1)

    def picture(
        self,
        camera_to_head: Float[Tensor, "4 4"],
        heard: Float[Tensor, "k"],
        eye: Float[Tensor, ""],
        background: Float[Tensor, "h w 3"] | None = None,
        torso: Float[Tensor, "2"] | None = None,
    ) -> Float[Tensor, "h w 3"]:
        """The person before a background, the film's own unless another is given."""
        person = self.person(camera_to_head, heard, eye, torso)
        behind = self.plate if background is None else background
        return over(person.flatten(0, 1), behind.reshape(-1, 3)).reshape(behind.shape)


def pose_numbers(camera_to_head: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n 6"]:
    """How the head is turned (a rotation vector) and where it is, in the camera's axes: what the torso follows."""
    turn = camera_to_head[:, :3, :3].transpose(1, 2)  # head to camera
    place = -(turn @ camera_to_head[:, :3, 3:])[..., 0]
    skew = turn - turn.transpose(1, 2)
    axis = 0.5 * torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1)  # sin(angle) times the axis
    return torch.cat([axis, place], -1)


def usual_lean(head: Float[Tensor, "n 6"], torso: Float[Tensor, "n 2"]) -> Float[Tensor, "7 2"]:
    """Where a torso stands, by and large, for a head's pose: factors of its numbers and a constant, by least squares over
    the frames that say so; zeros without enough of them.
    """
    known = ~torso.isnan().any(-1)
    if int(known.sum()) < 2 * (head.shape[1] + 1):
        return head.new_zeros(head.shape[1] + 1, 2)
    x, y = head[known].double(), torso[known].double()
    spread = x.std(0).clamp_min(1e-9)
    scaled = torch.cat([(x - x.mean(0)) / spread, x.new_ones(len(x), 1)], -1)
    ridge = 1e-3 * len(x) * torch.eye(scaled.shape[1], dtype=x.dtype, device=x.device)
    ridge[-1, -1] = 0
    found = torch.linalg.solve(scaled.T @ scaled + ridge, scaled.T @ y)
    factors = found[:-1] / spread[:, None]
    return torch.cat([factors, found[-1:] - x.mean(0) @ factors]).to(head)


def in_frame(x: Tensor, y: Tensor, width: int, height: int) -> Float[Tensor, "n 2"]:
    """Centres of pixels where the frame is -1 to 1."""
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1).float()


def head_box(cameras: Cameras, footage: Footage) -> Box:
    """A cube that holds all that is ever seen of the head, in the head's own frame.

    The films show it from the front only, so that its depth is taken to be its greatest width or height. Raises
    InputError where no frame shows a head.
    """
    some = _some(len(footage))
    shown = footage.head[some] >= 128
    low, high = [], []
    for axis in (1, 2):  # a head's outline, now and then with a hand: what nearly all frames agree on
        there = shown.any(axis)
        position = torch.arange(there.shape[1]).expand_as(there)
        low.append(position.where(there, there.shape[1]).amin(1))
        high.append(position.where(there, -1).amax(1) + 1)
    has = high[0] > 0
    if not bool(has.any()):
        raise InputError(
            "no frame has a head in its parsing (blue, as AD-NeRF's tools paint it); prepare the film again"
        )
    low_xy, high_xy = (torch.stack(side, -1)[has].float() for side in (low, high))
    own = cameras[some][has.to(cameras.center.device)]
    distance = own.center.norm(dim=-1)
    middle = 0.5 * (low_xy + high_xy)
    toward = own.rays_at(torch.arange(len(own)), middle)
    center = (toward.origin + distance[:, None] * toward.direction).median(0).values
    extent = (high_xy - low_xy).amax(-1) * distance / own.intrinsics[:, 0]
    half = 0.5 * 1.15 * float(extent.quantile(0.9))
    return Box(center - half, center + half)


def hull(box: Box, cells: int, cameras: Cameras, footage: Footage) -> Bool[Tensor, "x y z"]:
    """The cells that lie within the head's outline, somewhat widened, in enough of the frames."""
    device = box.low.device
    axis = (torch.arange(cells, device=device) + 0.5) / cells
    x = box.from_unit(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3))
    some = _some(len(footage))
    reach = max(round(AROUND * cameras.width), 1)
    wide = F.max_pool2d((footage.head[some] >= 128).float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0
    votes = torch.zeros(len(x), device=device)
    for row, frame in enumerate(some.tolist()):
        pixel, z = cameras.project(torch.full((len(x),), frame, device=device), x)
        column, line = pixel.floor().long().unbind(-1)
        inside = (column >= 0) & (column < cameras.width) & (line >= 0) & (line < cameras.height) & (z > 0)
        at = line.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)
        votes += (wide[row][at] & inside).float()
    return (votes >= SHARE * len(some)).reshape(cells, cells, cells)


def _some(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, FRAMES_ASKED)).round().long().unique()
