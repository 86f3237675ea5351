"""The story of a collection by two networks that play against each other: one makes objects of random codes, the other
says of pictures, and of the poses they were taken from, whether they are real.

One loop trains EG3D (Chan et al. 2022), pi-GAN (Chan et al. 2021) and GRAF (Schwarz et al. 2020). Generators differ in
how a code becomes a field (`makers`), the games in what of the pictures is compared (`sights`) and in some rules
(`Rules`). Common to all is the non-saturating loss, R1 on real pictures every few steps, and a running mean of the
generator's weights, which is kept:

    critic      softplus(-D(real)) + softplus(D(made)) + r1 / 2 |dD / d real|^2
    generator   softplus(-D(made)) + what the rules ask for

Beside it what keeps a small generator from ignoring its code: a third network reads the code back from the picture
(InfoGAN, Chen et al. 2016), and generator and reader learn together. pi-GAN's critic tells the camera of made pictures;
here the reader does.

The papers' optimisers are Adam without momentum (EG3D, pi-GAN) and RMSprop (GRAF); Adam without momentum does for all
three.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core import Box, Cameras, Field, Group, Update
from nerf3d.core.memory import BACKWARD, kept_bytes, learning_bytes, made_bytes, samples_bytes
from nerf3d.core.schedules import Constant, Schedule
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.eg3d import to_numbers
from nerf3d.models.codebook import shares
from nerf3d.models.critic import CriticConfig, r1_penalty
from nerf3d.models.generator import swap_poses
from nerf3d.tasks.generate.kinds import kind_numbers, told
from nerf3d.tasks.generate.makers import Makers as Makers
from nerf3d.tasks.generate.makers import conditions, upsampler_of
from nerf3d.tasks.generate.recipe import EG3D, GRAF, PiGAN
from nerf3d.tasks.generate.sights import Parts, seen, shown, sight_of, together
from nerf3d.tasks.generate.sights import blurred as blurred

LEAST_BATCH = 2
"""Pictures of a step, of which some are told another one's pose."""
DIRECTION = 3
"""Numbers of a camera's direction."""


@dataclass(frozen=True)
class Rules:
    """What not all recipes have: the defaults are those of a recipe without it."""

    noise: Schedule = Constant(0.0)
    best: Schedule = Constant(1.0)
    place: float = 0.0
    swap: Schedule = Constant(0.0)
    pose_noise: float = 0.0
    blur: Schedule = Constant(0.0)
    smooth: float = 0.0
    smooth_every: int = 1


def rules_of(recipe: EG3D | PiGAN | GRAF) -> Rules:
    match recipe:
        case EG3D():
            return Rules(
                swap=recipe.swap,
                pose_noise=recipe.pose_noise,
                blur=recipe.blur,
                smooth=recipe.smooth,
                smooth_every=recipe.smooth_every,
            )
        case PiGAN():
            return Rules(noise=recipe.noise, best=recipe.best, place=recipe.place)
        case GRAF():
            return Rules(noise=recipe.noise)


class AdversarialTask(nn.Module):
    """A `core.Task` with two players, who take turns in every step."""

    poses: Tensor
    kind: Tensor

    def __init__(self, recipe: EG3D | PiGAN | GRAF, collection: Collection, box: Box, rng: torch.Generator) -> None:
        """Raises InputError for a recipe whose sizes do not fit together."""
        super().__init__()
        self.recipe, self.rules, self.sight = recipe, rules_of(recipe), sight_of(recipe)
        self.collection = collection
        self.maker = Makers(recipe, box, rng, collection.kinds)
        kinds = len(self.maker.kinds)
        if kinds:
            self.maker.shares.copy_(shares(kind_numbers(collection), 1 + kinds))
        judge = recipe.critic
        if kinds and isinstance(judge, CriticConfig):
            judge = replace(judge, condition=judge.condition + kinds)
        self.critic = judge.build(rng)
        self.reader: nn.Module | None = None
        if recipe.reader is not None:
            code = self.maker.generator.z + (DIRECTION if self.rules.place else 0)
            self.reader = replace(recipe.reader, code=code).build(rng)
        self.helpers = nn.ModuleDict({"critic": self.critic} | ({"reader": self.reader} if self.reader else {}))
        # Not kept by checkpoints: they are the collection's.
        self.register_buffer("poses", to_numbers(collection.cameras), persistent=False)
        self.register_buffer("kind", kind_numbers(collection)[collection.scene], persistent=False)
        self.maker.pose.copy_(usual_pose(self.poses))

    def players(self) -> dict[str, list[Group]]:
        makers = [*self.maker.generator.parameters(), *(self.reader.parameters() if self.reader else [])]
        return {
            "critic": [Group(list(self.critic.parameters()), self.recipe.critic_rate, momentum=0.0)],
            "generator": [Group(makers, self.recipe.rate, momentum=0.0)],
        }

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        recipe, rules, generator = self.recipe, self.rules, self.maker.generator
        self.maker.follow(recipe.keep)
        at = torch.randint(len(self.collection), (2, recipe.batch), generator=rng, device=rng.device)
        (real_at, made_at), (real_here, made_here) = at, at.cpu()  # the collection stays on the CPU
        grids = self.sight.grids(progress, recipe.batch, rng)
        blur = rules.blur(progress)
        z = torch.randn(recipe.batch, generator.z, generator=rng, device=rng.device)
        codes = generator.codes(z, self.told(made_at, progress, rng))
        generator.track(codes)
        fields = generator.fields(codes, rng, rules.noise(progress))
        cameras = self.collection.cameras[made_here].to(rng.device)
        features = seen(fields, cameras, grids, self.maker.sampler, recipe.background, rng)
        made = self.sight.made(features, codes, upsampler_of(generator))
        pictures = self.collection.pictures[real_here].to(rng.device)
        real = self.sight.real(shown(pictures, recipe.background), grids)

        judged = self._score(real, real_at, blur, rng), self._score(_detached(made), made_at, blur, rng)
        found = {"critic": F.softplus(-judged[0]).mean() + F.softplus(judged[1]).mean()}
        if step % recipe.r1_every == 0:
            found["r1"] = 0.5 * recipe.r1 * recipe.r1_every * self._steepness(real, real_at, blur, rng)
        figures = {"real": judged[0].detach().mean(), "fake": judged[1].detach().mean()}
        yield Update("critic", found, figures)

        # The critic only passes the gradient on, which costs a third less where its own weights ask for none.
        self.critic.requires_grad_(False)
        try:
            scores = self._score(made, made_at, blur, rng)
        finally:
            self.critic.requires_grad_(True)
        best = scores.topk(max(1, math.ceil(rules.best(progress) * recipe.batch))).values
        found = {"generator": F.softplus(-best).mean()} | self._read(made[0], z, cameras)
        if rules.smooth and step % rules.smooth_every == 0:
            found["smooth"] = rules.smooth * rules.smooth_every * self._roughness(fields, rng)
        yield Update("generator", found)

    def budget(self) -> str:
        return f"batch={self.recipe.batch}"

    def halve(self) -> bool:
        if self.recipe.batch < 2 * LEAST_BATCH:
            return False
        self.recipe = replace(self.recipe, batch=self.recipe.batch // 2)
        return True

    def step_bytes(self, rng: torch.Generator) -> float:
        """Of the largest pictures of the run, by one that is made and one that is judged, which is done three times."""
        device, recipe, generator = self.poses.device, self.recipe, self.maker.generator
        first = torch.zeros(1, dtype=torch.int64, device=device)
        grid, box = self.sight.grids(1.0, 1, rng), self.maker.region.space
        assert isinstance(box, Box)
        codes = generator.codes(torch.zeros(1, generator.z, device=device), self.told(first, 1.0, rng)).detach()
        samples = grid[..., 0].numel() * (recipe.samples + recipe.fine)
        each = made_bytes(lambda: generator.fields(codes, rng)[0], box)
        each += samples_bytes(generator.fields(codes, rng)[0], box, samples)
        real = self.sight.real(shown(self.collection.pictures[:1].to(device), recipe.background), grid)
        self.critic.eval()  # its spectral norms are estimated while it learns
        try:
            each += 3 * BACKWARD * kept_bytes(lambda: self._score(real, first, 0.0, rng).sum())
        finally:  # where memory does not suffice for this, the run goes on with less
            self.critic.train()
        if isinstance(recipe, EG3D) and (upsampler := upsampler_of(generator)) is not None:
            raw = torch.zeros(*grid.shape[:3], recipe.generator.color_channels, device=device)
            each += BACKWARD * kept_bytes(lambda: upsampler(raw, codes[:, -1]).sum())
        return recipe.batch * each + learning_bytes(self.parameters())

    def told(self, at: Int64[Tensor, "b"], progress: float, rng: torch.Generator) -> Float[Tensor, "b n"] | None:
        """What the generator is told of the cameras that will see its objects, some of another one's of the batch, and of
        the objects' kinds.
        """
        poses = swap_poses(self.poses[at], self.rules.swap(progress), rng) if self.maker.generator.pose else None
        return conditions(poses, told(self.kind[at], self.maker.kinds))

    def heard(self, at: Int64[Tensor, "b"], rng: torch.Generator) -> Float[Tensor, "b n"] | None:
        """What the critic is told of the cameras, exactly or about, and of kinds."""
        return conditions(self._poses_about(at, rng), told(self.kind[at], self.maker.kinds))

    def _poses_about(self, at: Int64[Tensor, "b"], rng: torch.Generator) -> Float[Tensor, "b 25"] | None:
        if not self.recipe.critic.condition:
            return None
        poses, share = self.poses[at], self.rules.pose_noise
        if share:
            noise = torch.randn(poses.shape, generator=rng, device=rng.device)
            poses = poses + share * self.poses.std(0, correction=0) * noise
        return poses

    def _score(self, parts: Parts, at: Tensor, blur: float, rng: torch.Generator) -> Float[Tensor, "b"]:
        return self.critic(together(parts, blur), self.heard(at, rng))

    def _steepness(self, parts: Parts, at: Tensor, blur: float, rng: torch.Generator) -> Float[Tensor, ""]:
        """R1 of each part of the pictures, summed: EG3D's on the finished and on the raw picture."""
        heard = self.heard(at, rng)
        total = torch.zeros((), device=rng.device)
        for index, part in enumerate(parts):

            def critique(pictures: Tensor, condition: Tensor | None, index: int = index) -> Tensor:
                return self.critic(together((*parts[:index], pictures, *parts[index + 1 :]), blur), condition)

            total = total + r1_penalty(critique, part, heard)
        return total

    def _read(self, pictures: Float[Tensor, "b h w c"], z: Tensor, cameras: Cameras) -> dict[str, Tensor]:
        """How far what the reader sees in pictures is from the code, and from the camera's direction."""
        if self.reader is None:
            return {}
        code, direction = self.reader(pictures).tensor_split([z.shape[1]], 1)
        found = {"read": self.recipe.read * (code - z).square().mean()}
        if self.rules.place:
            found["place"] = self.rules.place * (direction - cameras.forward).square().mean()
        return found

    def _roughness(self, fields: Sequence[Field], rng: torch.Generator) -> Float[Tensor, ""]:
        """How much the density differs, on average, between points and others near them (EG3D's density regularisation)."""
        recipe, box = self.recipe, self.maker.region.space
        assert isinstance(recipe, EG3D)
        assert isinstance(box, Box)
        chance = torch.randn(recipe.smooth_points, 3, generator=rng, device=rng.device)
        x = box.from_unit(torch.rand(chance.shape, generator=rng, device=rng.device))
        beside = x + recipe.smooth_near * box.size.max() * chance
        each = [(field.density(x) - field.density(beside)).abs().mean() for field in fields[: recipe.smooth_scenes]]
        return torch.stack(each).mean()


def usual_pose(poses: Float[Tensor, "n 25"]) -> Float[Tensor, "25"]:
    """The pose that is nearest to the mean of all: of faces the frontal one. (The mean of rotations would be none.)"""
    return poses[(poses - poses.mean(0)).square().sum(1).argmin()]


def _detached(parts: Parts) -> Parts:
    return tuple(part.detach() for part in parts)
