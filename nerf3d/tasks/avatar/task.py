"""The story of a talking head: one frame at a time, what is heard around it should show what the film shows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerf3d.core import Group, Rays, Update
from nerf3d.core.memory import learning_bytes, samples_bytes
from nerf3d.data.portrait.footage import Footage
from nerf3d.data.portrait.likeness import Likeness
from nerf3d.models.condition import Condition
from nerf3d.models.head import TalkingHead
from nerf3d.models.sound_encoder import BEFORE
from nerf3d.models.torso import over
from nerf3d.render.render import render
from nerf3d.tasks.avatar import losses, pixels
from nerf3d.tasks.avatar.recipe import Avatar
from nerf3d.tasks.avatar.scenery import Scenery, hull, in_frame

HUBER_DELTA = 0.1
LESSON = 32
"""Frames whose sound is asked about in a step."""
FIRST_SHARE, LEAST_SHARE = 0.1, 0.02
LEAST_SAMPLES = 2048
"""In a step; fewer teach nothing."""
AROUND, CHIN = 0.2, 0.75
"""By which share of their size the box of the face is grown for rays, and that of the lips to where the sound may go."""
LOOK = 0.6
"""Of the rays around the head, the share on the eyes where they are shut: a blink is a few pixels for a moment."""


@dataclass(frozen=True)
class Film:
    """What is learnt from: the training frames, and for each the sound around it."""

    footage: Footage
    sound: Float[Tensor, "n neighbours 16 c"]

    def to(self, device: torch.device | str) -> "Film":
        return Film(self.footage.to(device), self.sound.to(device))


@dataclass(frozen=True)
class Batch:
    """Pixels of one frame. The first `patch` squared of them are a square of the lips, row by row."""

    rays: Rays
    place: Float[Tensor, "n 2"]
    """Where the frame is -1 to 1."""
    pixel: Float[Tensor, "n 3"]
    person: Float[Tensor, "n 1"]
    head: Float[Tensor, "n 1"]
    """The person's share of the pixel, and the head's."""
    plate: Float[Tensor, "n 3"]
    elsewhere: Bool[Tensor, "n"]
    """Away from the lips and the chin."""
    patch: int

    def before(self, sky: Float[Tensor, "n 3"], share: Float[Tensor, "n 1"]) -> Float[Tensor, "n 3"]:
        """The part that has this share, taken off the film's background and set before another."""
        own = (self.pixel - (1 - share) * self.plate).clamp_min(0)
        return torch.where(share > 0, own, 0) + (1 - share) * sky

    def in_patch(self, colors: Float[Tensor, "n 3"]) -> Float[Tensor, "side side 3"]:
        return colors[: self.patch**2].reshape(self.patch, self.patch, 3)


class Pace(nn.Module):
    """How many rays a step may have, so that it has as many samples as it should: few in the fog of the beginning."""

    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.tensor(FIRST_SHARE, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pace":
        """It stays on the CPU: asked for in every step, a GPU would have to be waited for."""
        return self

    def follow(self, samples: int, wanted: int, step: int) -> None:
        """`share` of the recipe's rays comes nearer to what would have given the wanted number of samples."""
        better = float(self.share) * wanted / max(samples, 1)
        quick = 1.0 if step < 20 else 0.1
        self.share.fill_(min(max((1 - quick) * float(self.share) + quick * better, LEAST_SHARE), 1.0))


class AvatarTask(nn.Module):
    """A `core.Task`. The scenery is a module of its own: it can be seen without the film."""

    def __init__(self, recipe: Avatar, likeness: Likeness, film: Film, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.film = film
        self.scenery = Scenery(recipe, likeness, rng).to(film.sound.device)
        self.pace = Pace()
        self.samples = recipe.rays.samples
        self.cameras = likeness.cameras(likeness.shots.camera_to_head)
        self.poses = self.scenery.torso_numbers(likeness.shots.camera_to_head, likeness.shots.torso)
        self.mouth = losses.standardised(likeness.shots.mouth)
        self.often = losses.often(likeness.shots.eye, self.mouth)
        self.spread = film.sound.flatten(0, 2).std(0)
        if self.scenery.reader is not None:
            windows = film.sound[:, BEFORE]
            self.scenery.reader.learn(windows, self.mouth)
            self.mouth = torch.where(self.mouth.isnan(), self.scenery.reader.expected(windows), self.mouth)
        self.scenery.hull.copy_(hull(likeness.box, recipe.sampler.resolution, self.cameras, film.footage))

    def players(self) -> dict[str, list[Group]]:
        scenery, recipe = self.scenery, self.recipe
        sound = [*scenery.head.sound_encoder.parameters(), *scenery.guess.parameters()]
        networks = [*scenery.head.networks(), *scenery.torso.networks()]
        others = {id(p) for p in (*sound, *networks)}
        grids = [p for p in scenery.parameters() if id(p) not in others]
        groups = [Group(grids, recipe.rate), Group(networks, recipe.network_rate), Group(sound, recipe.sound_rate)]
        return {"person": [group for group in groups if group.parameters]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        frame = int(torch.multinomial(self.often, 1, generator=rng))
        condition = self.condition(frame)
        head, sampler = self.scenery.head(condition), self.scenery.sampler
        if step % 16 == 0:
            sampler.update(head, step, rng, self.scenery.hull)
        batch = self._draw(frame, progress >= self.recipe.polish and self.recipe.weights.structure > 0, rng)
        out = render(head, batch.rays, sampler, rng=rng)
        self.pace.follow(len(out.samples), self.samples, step)
        sky = torch.rand(batch.pixel.shape, generator=rng, device=rng.device)
        shown, alone = out.color + (1 - out.opacity)[:, None] * sky, batch.before(sky, batch.head)
        behind = over(self.scenery.torso(self.poses[frame])(batch.place), sky)
        whole = out.color.detach() + (1 - out.opacity.detach())[:, None] * behind
        both = batch.before(sky, batch.person)
        found = {
            "head": F.huber_loss(shown, alone, delta=HUBER_DELTA),
            "whole": F.huber_loss(whole, both, delta=HUBER_DELTA),
            "mouth": self._lesson(rng),
            "compact": losses.compact(out, float(self.scenery.likeness.box.size.max())),
        }
        if batch.patch:
            found["structure"] = losses.edges(*(batch.in_patch(colors) for colors in (shown, alone)))
        if isinstance(head, TalkingHead) and self.recipe.weights.ambient:
            found["ambient"] = losses.ambient(head, batch.rays, out, batch.elsewhere)
        error = (whole.detach() - both).square().mean()
        counts = {"samples": float(len(out.samples)), "rays": float(len(batch.rays))}
        yield Update("person", found, {"psnr": -10 * error.clamp_min(1e-10).log10(), **counts})

    def budget(self) -> str:
        return f"rays.samples={self.samples}"

    def halve(self) -> bool:
        if self.samples < 2 * LEAST_SAMPLES:
            return False
        self.samples //= 2
        self.pace.share.mul_(0.5).clamp_min_(LEAST_SHARE)
        return True

    def step_bytes(self, rng: torch.Generator) -> float:
        head = self.scenery.head(self.condition(0))
        return samples_bytes(head, self.scenery.likeness.box, self.samples) + learning_bytes(self.parameters())

    def condition(self, frame: int) -> Condition:
        """A training frame as it was: its sound, its eyes, its look, and, for heads that are told, its mouth."""
        heard = self.scenery.head.sound_encoder(self.film.sound[frame][None])[0]
        if self.scenery.reader is not None:
            heard = torch.cat([heard, self.mouth[frame]])
        return self.scenery.condition(heard, self.scenery.likeness.shots.eye[frame].nan_to_num(1.0), frame)

    def _lesson(self, rng: torch.Generator) -> Float[Tensor, ""]:
        """How well codes tell the mouth, over more frames than the one that is rendered, from sound that is disturbed: a
        minute of it would be learnt by heart.
        """
        frames = torch.randint(len(self.film.sound), (LESSON,), generator=rng, device=rng.device)
        sound = losses.disturbed(self.film.sound[frames], self.spread, rng)
        return losses.mouth(self.scenery.guess(self.scenery.head.sound_encoder(sound)), self.mouth[frames])

    def _draw(self, frame: int, polishing: bool, rng: torch.Generator) -> Batch:
        """Pixels on the lips, around the head, and anywhere; polishing, a square of the lips first."""
        shots, wanted, footage = self.scenery.likeness.shots, self.recipe.rays, self.film.footage
        width, height = self.cameras.width, self.cameras.height
        whole = shots.face.new_tensor([0, 0, width, height])
        face = pixels.grown(pixels.or_else(shots.face[frame], whole), whole, AROUND)
        lips = pixels.or_else(shots.lips[frame], face)
        count = round(wanted.count * float(self.pace.share))
        patch = wanted.patch if polishing else 0
        on_lips, anywhere = round(wanted.lips * count), round(wanted.anywhere * count)
        on_face = max(count - on_lips - anywhere, 1)
        blinking = float(shots.eye[frame]) < 0.5 and int(shots.face[frame, 2]) > 0
        on_eyes = round(LOOK * on_face) if blinking else 0
        on_face -= on_eyes
        boxes = (lips, face, pixels.eyes(shots.face[frame], whole), whole)
        counts = (max(on_lips - patch**2, 0), on_face, on_eyes, anywhere)
        drawn = [pixels.within(box, n, rng) for box, n in zip(boxes, counts) if n]
        x, y = torch.cat([pixels.square(lips, patch, whole, rng), *drawn]).unbind(-1)
        return Batch(
            rays=self.cameras.rays_at(torch.full_like(x, frame), torch.stack([x, y], -1) + 0.5),
            place=in_frame(x, y, width, height),
            pixel=footage.images[frame, y, x].float() / 255,
            person=footage.person[frame, y, x].float()[:, None] / 255,
            head=footage.head[frame, y, x].float()[:, None] / 255,
            plate=self.scenery.plate[y, x],
            elsewhere=~pixels.inside(pixels.grown(lips, whole, CHIN), x, y),
            patch=patch,
        )
