"""The story of a collection by two networks that play against each other: one makes objects of random codes, the other says
of pictures, and of the poses they were taken from, whether they are real.

EG3D's training (Chan et al., 2022) in small: the non-saturating loss, R1 on real pictures every few steps, a running mean
of the generator's weights, poses told to the critic. Beside it what keeps a small generator from ignoring its code: a third
network reads the code back from the picture (InfoGAN, Chen et al. 2016), and generator and reader learn together.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Box, Cameras, Group, Update
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.eg3d import to_numbers
from nerf3d.fields.triplane import TriPlane
from nerf3d.models.critic import r1_penalty
from nerf3d.models.generator import TriPlaneGenerator
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.kinds import one_kind
from nerf3d.tasks.generate.looks import picture, premultiplied
from nerf3d.tasks.generate.recipe import EG3D

NEAR = 0.02
"""How far apart two points are whose densities should be alike, as a share of the box's longest side."""


class Makers(nn.Module):
    """A `Maker` by the running mean of the generator's weights, beside the generator as it is on the way.

    Codes are w+: one for each of the generator's layers, all the same where they are drawn.
    """

    kinds: tuple[str, ...] = ()

    def __init__(self, recipe: EG3D, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.generator = recipe.generator.build(box, rng)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.sampler = Stratified(box, recipe.samples)

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n layers w"]:
        if kind is not None:
            one_kind(self.kinds, kind, count)  # which refuses
        z = torch.randn(count, self.average.config.z, generator=rng, device=rng.device)
        return self._plus(self.average.mapping.truncate(self.average.mapping(z), truncation))

    def fields(self, codes: Float[Tensor, "n layers w"]) -> list[TriPlane]:
        return [self.average.decoder(planes) for planes in self.average.planes(codes)]

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n layers w"]:
        return self._plus(self.average.mapping.mean.expand(len(pictures), -1))

    def _plus(self, w: Float[Tensor, "n w"]) -> Float[Tensor, "n layers w"]:
        return w[:, None].expand(-1, self.average.layers, -1)

    @torch.no_grad()
    def follow(self, keep: float) -> None:
        """Let the running mean come nearer to the generator: mean = keep mean + (1 - keep) generator."""
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for kept, there in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(there)


class AdversarialTask(nn.Module):
    """A `core.Task` with two players, who take turns in every step."""

    def __init__(self, recipe: EG3D, collection: Collection, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.collection = recipe, collection
        self.maker = Makers(recipe, box, rng)
        self.critic = recipe.critic.build(rng)
        self.reader = recipe.reader.build(rng)
        self.helpers = nn.ModuleDict({"critic": self.critic, "reader": self.reader})
        self.poses = to_numbers(collection.cameras)

    def players(self) -> dict[str, list[Group]]:
        makers = [*self.maker.generator.parameters(), *self.reader.parameters()]
        return {
            "critic": [Group(list(self.critic.parameters()), self.recipe.critic_rate)],
            "generator": [Group(makers, self.recipe.rate)],
        }

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        recipe, generator = self.recipe, self.maker.generator
        self.maker.follow(recipe.keep)
        blur = 1 if progress >= recipe.sharp else 2
        real_at, fake_at = torch.randint(len(self.collection), (2, recipe.batch), generator=rng)
        z = torch.randn(recipe.batch, generator.config.z, generator=rng)
        w = generator.mapping(z)
        generator.mapping.track(w)
        fake = self._made(w, self.collection.cameras[fake_at], blur, rng)
        real = blurred(premultiplied(self.collection.pictures[real_at].float() / 255), blur)
        scores = self.critic(real, self.poses[real_at]), self.critic(fake.detach(), self.poses[fake_at])
        found = {"critic": F.softplus(-scores[0]).mean() + F.softplus(scores[1]).mean()}
        if step % recipe.r1_every == 0:
            found["r1"] = 0.5 * recipe.r1 * recipe.r1_every * r1_penalty(self.critic, real, self.poses[real_at])
        figures = {"real": float(scores[0].detach().mean()), "fake": float(scores[1].detach().mean())}
        yield Update("critic", found, figures)
        read = (self.reader(fake) - z).square().mean()
        told = F.softplus(-self.critic(fake, self.poses[fake_at])).mean()
        smooth = recipe.smooth * self._roughness(w, rng)
        yield Update("generator", {"generator": told, "read": recipe.read * read, "smooth": smooth})

    def _made(self, w: Tensor, cameras: Cameras, blur: int, rng: torch.Generator) -> Float[Tensor, "b h w 4"]:
        """Pictures of the scenes of some codes; where they are to be blurred, rendered that much smaller."""
        generator = self.maker.generator
        small = cameras.scaled_to(cameras.width // blur, cameras.height // blur)
        fields = [generator.decoder(planes) for planes in generator.planes(w, rng)]
        seen = [picture(field, small, i, self.maker.sampler, rng) for i, field in enumerate(fields)]
        return _resized(torch.stack(seen), cameras.height)

    def _roughness(self, w: Tensor, rng: torch.Generator) -> Float[Tensor, ""]:
        """How much the density differs, on average, between points and others near them (EG3D's density regularisation)."""
        generator: TriPlaneGenerator = self.maker.generator
        box = self.maker.sampler.space
        assert isinstance(box, Box)
        x = box.from_unit(torch.rand(self.recipe.smooth_points, 3, generator=rng))
        beside = x + NEAR * float(box.size.max()) * torch.randn(x.shape, generator=rng)
        each = []
        for planes in generator.planes(w[: self.recipe.smooth_scenes], rng):
            field = generator.decoder(planes)
            each.append((field.density(x) - field.density(beside)).abs().mean())
        return torch.stack(each).mean()


def blurred(pictures: Float[Tensor, "b h w c"], factor: int) -> Float[Tensor, "b h w c"]:
    """Pictures averaged over squares of `factor` pixels and enlarged again."""
    if factor == 1:
        return pictures
    small = F.avg_pool2d(pictures.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    return _resized(small, pictures.shape[1])


def _resized(pictures: Float[Tensor, "b h w c"], side: int) -> Float[Tensor, "b side side c"]:
    if pictures.shape[1] == side:
        return pictures
    planes = F.interpolate(pictures.permute(0, 3, 1, 2), size=(side, side), mode="bilinear", align_corners=False)
    return planes.permute(0, 2, 3, 1)
