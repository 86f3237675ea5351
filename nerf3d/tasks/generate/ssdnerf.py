"""The story of a collection by planes of its own for every object, and a diffusion that learns them while they form.

SSDNeRF (Chen et al., "Single-Stage Diffusion NeRF", 2023). Over codes x_i, a decoder psi and a denoiser phi, in one stage:

    sum_i  L_rend(x_i, psi) + lambda_diff L_diff(x_i, phi)

so that the codes are drawn to what the denoiser can say of them, and it learns codes that look like their pictures. A step
looks at a few objects: the decoder's update, the denoiser's, and then several of these objects' codes, each by rays of its
own, all by the one gradient of the denoiser's loss (the paper's way to make the denoiser's part cheap). The codes are not
among the players: after both updates the task moves them itself, see `models.plane_codes`.

Not the paper's: codes begin as the mean of those that there are; and at the end codes and decoder stay as they are, while
the denoiser, without pictures to be rendered, has more lessons in the time that is left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core import Box, Group, Update
from nerf3d.core.chance import here
from nerf3d.core.memory import BACKWARD, kept_bytes, learning_bytes
from nerf3d.data.collections.collection import Collection
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane, TriPlaneDecoder
from nerf3d.models.plane_codes import bounded
from nerf3d.models.plane_diffusion import PlaneDiffusion
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.kinds import kind_numbers, one_kind, told
from nerf3d.tasks.generate.looks import Gallery, difference, looks_bytes
from nerf3d.tasks.generate.recipe import SSDNeRF, halved


class PlaneObjects(nn.Module):
    """A `Maker`: the decoder that all objects share, and the diffusion that draws their planes. Codes are the planes."""

    def __init__(self, recipe: SSDNeRF, box: Box, kinds: tuple[str, ...], rng: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.kinds = recipe, kinds
        self.decoder = TriPlaneDecoder(box, recipe.planes.features, recipe.decoder_width, 3, rng)
        self.diffusion = PlaneDiffusion(recipe.denoiser, recipe.planes, len(kinds), rng)

    @property
    def sampler(self) -> Stratified:
        """Wherever the weights are by now."""
        return Stratified(self.decoder.region.space, self.recipe.looks.samples)

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n 3 c r r"]:
        condition = None if kind is None else one_kind(self.kinds, kind, count)
        return self.diffusion.sample(count, rng, condition, truncation=truncation)

    def fields(self, codes: Float[Tensor, "n 3 c r r"]) -> list[TriPlane]:
        if codes.shape[1:] != self.recipe.planes.shape:
            given, own = (" x ".join(map(str, shape)) for shape in (codes.shape[1:], self.recipe.planes.shape))
            raise InputError(f"a code is {given} numbers, but this model takes {own}; use codes made with this model")
        return [self.decoder(planes) for planes in codes]

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n 3 c r r"]:
        return self.diffusion.mean.expand(len(pictures), -1, -1, -1, -1).clone()


class SSDNeRFTask(nn.Module):
    """A `core.Task` with two players, the decoder and the denoiser, and a table of codes that it moves itself.

    The table is among the helpers, so that checkpoints hold it with the codes' moments.
    """

    kind: Tensor

    def __init__(self, recipe: SSDNeRF, collection: Collection, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.gallery = Gallery(collection)
        self.maker = PlaneObjects(recipe, box, collection.kinds, rng)
        self.register_buffer("kind", kind_numbers(collection), persistent=False)  # the collection's
        self.codes = recipe.planes.build(collection.scenes)
        self.helpers = nn.ModuleDict({"codes": self.codes})
        self.last: list[int] = []

    def players(self) -> dict[str, list[Group]]:
        return {
            "decoder": [Group(list(self.maker.decoder.parameters()), self.recipe.rate)],
            "denoiser": [Group(list(self.maker.diffusion.parameters()), self.recipe.denoiser_rate)],
        }

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        """Whoever applies the updates does so before asking for the next, as the training loop does: the codes are moved
        by what the two backward passes leave in them, once both are done.
        """
        recipe = self.recipe
        self.last = []
        if progress >= recipe.settled and (seen := self.codes.seen()):
            yield self._lesson(seen, rng)
            return
        scenes = list(dict.fromkeys(self.gallery.objects(recipe.looks.objects, here(rng))))
        self.last = scenes
        self.codes.begin(scenes, self.maker.diffusion.mean)
        raw = self.codes.raw_of(scenes)
        losses = self._rendering(raw, scenes, rng)
        yield Update("decoder", losses, {"psnr": -10 * losses["color"].detach().clamp_min(1e-10).log10()})
        self.maker.diffusion.track(self.codes(scenes))
        again = self.codes.raw_of(scenes)
        condition = told(self.kind[scenes], self.maker.kinds)
        prior = self.maker.diffusion.loss(bounded(again, recipe.planes.bound), condition, rng)
        yield Update("denoiser", {"prior": prior})
        if raw.grad is None or again.grad is None:
            return  # nobody asked for gradients
        weight, rate = recipe.prior_weight(progress), recipe.code_rate(progress)
        self.codes.step(scenes, raw.grad + weight * again.grad, rate)
        for _ in range(recipe.code_steps - 1):
            raw = self.codes.raw_of(scenes)
            (slope,) = torch.autograd.grad(torch.stack(list(self._rendering(raw, scenes, rng).values())).sum(), raw)
            self.codes.step(scenes, slope + weight * again.grad, rate)

    def tracked(self) -> Iterator[Tensor]:
        return self.maker.diffusion.buffers()

    def moved(self) -> tuple[Int64[Tensor, "k"], Sequence[Tensor]]:
        return torch.tensor(self.last, dtype=torch.int64), list(self.codes.buffers())

    def budget(self) -> str:
        return f"looks.objects={self.recipe.looks.objects} and batch={self.recipe.batch}"

    def halve(self) -> bool:
        looks = halved(self.recipe.looks)
        if looks is not None:
            self.recipe = replace(self.recipe, looks=looks, batch=max(self.recipe.batch // 2, 1))
        return looks is not None

    def step_bytes(self, rng: torch.Generator) -> float:
        """Of looking at objects, and of the denoiser's lessons with their codes: one comes after the other."""
        decoder, planes = self.maker.decoder, self.codes([0])
        made = planes.clone().requires_grad_()
        seen = looks_bytes(lambda: decoder(made[0]), decoder.region.space, self.recipe.looks)
        condition = told(self.kind[[0]], self.maker.kinds)
        lesson = BACKWARD * kept_bytes(lambda: self.maker.diffusion.loss(planes, condition, rng))
        codes = max(self.recipe.batch, self.recipe.looks.objects)
        return max(seen, float(codes * lesson)) + learning_bytes(self.maker.parameters())

    def _rendering(self, raw: Tensor, scenes: Sequence[int], rng: torch.Generator) -> dict[str, Tensor]:
        return losses_of(self.maker, bounded(raw, self.recipe.planes.bound), self.gallery, scenes, rng)

    def _lesson(self, seen: Sequence[int], rng: torch.Generator) -> Update:
        """The denoiser's alone, from codes that stay as they are."""
        pick = [seen[i] for i in torch.randint(len(seen), (self.recipe.batch,), generator=here(rng)).tolist()]
        condition = told(self.kind[pick], self.maker.kinds)
        return Update("denoiser", {"prior": self.maker.diffusion.loss(self.codes(pick), condition, rng)})


def losses_of(
    maker: PlaneObjects,
    codes: Float[Tensor, "n 3 c r r"],
    gallery: Gallery,
    scenes: Sequence[int],
    rng: torch.Generator,
) -> dict[str, Tensor]:
    """How far objects are from their pictures along some rays: mean squares, of colours over a random sky and of opacity."""
    looks = maker.recipe.looks
    chance = here(rng)
    views = (gallery.views(scene, looks.views, chance) for scene in scenes)
    color, opacity = difference(maker.fields(codes), views, gallery, looks, maker.sampler, rng)
    return {"color": color, "opacity": maker.recipe.opacity_weight * opacity}
