"""The story of a collection by an autoencoder: a picture's code is a field that looks like the object from all sides.

First the autoencoder learns from pairs of views: a code made of one picture is judged by others of the same object, so that
it holds the object and not the view. Then it stays as it is, and a flow learns how its codes are distributed.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Box, Group, Update
from nerf3d.core.chance import here
from nerf3d.core.memory import learning_bytes
from nerf3d.data.collections.collection import Collection
from nerf3d.fields.triplane import TriPlane
from nerf3d.models.latent_flow import LatentFlow
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.kinds import kind_numbers, one_kind, told
from nerf3d.tasks.generate.looks import Gallery, difference, looks_bytes
from nerf3d.tasks.generate.recipe import DiffAE, halved

ENCODED = 256
"""Pictures that are encoded at once."""
USUAL = 256
"""Codes that say what is usual of a kind."""


class Objects(nn.Module):
    """A `Maker`: the autoencoder, and the flow that draws codes."""

    def __init__(self, recipe: DiffAE, box: Box, kinds: tuple[str, ...], rng: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.kinds = recipe, kinds
        self.autoencoder = recipe.model.build(box, rng)
        self.flow = LatentFlow(recipe.model.encoder.code, recipe.flow.width, recipe.flow.blocks, len(kinds), rng)

    @property
    def sampler(self) -> Stratified:
        """Wherever the weights are by now."""
        return Stratified(self.autoencoder.decoder.region.space, self.recipe.looks.samples)

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n code"]:
        condition = None if kind is None else one_kind(self.kinds, kind, count)
        codes = self.flow.sample(count, rng, condition)
        if truncation == 1:
            return codes
        # What is drawn is moved, not the noise that it is drawn from: a flow makes distinct codes of weak noise too.
        usual = self.flow.mean if kind is None else self._usual(kind)
        return usual + truncation * (codes - usual)

    def _usual(self, kind: str) -> Float[Tensor, "code"]:
        """The mean of one kind's codes, the same for whatever is drawn."""
        some = self.flow.sample(USUAL, torch.Generator().manual_seed(0), one_kind(self.kinds, kind, USUAL))
        return some.mean(0)

    def fields(self, codes: Float[Tensor, "n code"]) -> list[TriPlane]:
        return self.autoencoder.fields(codes)

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n code"]:
        return self.autoencoder.encoder(pictures)


class AutoencoderTask(nn.Module):
    """A `core.Task` with two players, one after the other."""

    codes: Tensor
    kind: Tensor

    def __init__(self, recipe: DiffAE, collection: Collection, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.gallery = Gallery(collection)
        self.maker = Objects(recipe, box, collection.kinds, rng)
        self.register_buffer("kind", kind_numbers(collection), persistent=False)  # the collection's
        self.helpers = nn.Module()  # none
        # Not kept by checkpoints: the encoder stays as it is once there are codes, so that they can be read anew.
        self.register_buffer("codes", torch.zeros(0, recipe.model.encoder.code), persistent=False)

    def players(self) -> dict[str, list[Group]]:
        autoencoder, flow = self.maker.autoencoder, self.maker.flow
        return {
            "autoencoder": [Group(list(autoencoder.parameters()), self.recipe.rate)],
            "flow": [Group(list(flow.parameters()), self.recipe.flow.rate)],
        }

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        if progress < self.recipe.settled:
            yield self._reconstruct(rng)
            return
        if len(self.codes) == 0:
            self.codes = self.encode_all()
            self.maker.flow.learn_scale(self.codes)
        pick = torch.randint(len(self.codes), (self.recipe.flow.batch,), generator=here(rng))  # it picks pictures here
        condition = told(self.kind[self.gallery.collection.scene[pick]], self.maker.kinds)
        yield Update("flow", {"flow": self.maker.flow.loss(self.codes[pick], condition, rng)})

    def budget(self) -> str:
        return f"looks.objects={self.recipe.looks.objects}"

    def halve(self) -> bool:
        looks = halved(self.recipe.looks)
        if looks is not None:
            self.recipe = replace(self.recipe, looks=looks)
        return looks is not None

    def step_bytes(self, rng: torch.Generator) -> float:
        """Of the first part of the run; the flow's lessons are small."""
        model, one = self.maker.autoencoder, self.gallery.pictures(torch.zeros(1, dtype=torch.int64))
        picture = one.to(self.codes.device)
        seen = looks_bytes(
            lambda: model.fields(model.encoder(picture))[0], model.decoder.region.space, self.recipe.looks
        )
        return seen + learning_bytes(self.maker.parameters())

    def _reconstruct(self, rng: torch.Generator) -> Update:
        looks, model = self.recipe.looks, self.maker.autoencoder
        chance = here(rng)
        chosen = self.gallery.objects(looks.objects, chance)
        views = [self.gallery.views(scene, 1 + looks.views, chance) for scene in chosen]
        codes = model.encoder(self.gallery.pictures(torch.stack([v[0] for v in views])).to(rng.device))
        others = (seen[1:] if len(seen) > 1 else seen for seen in views)
        color, opacity = difference(model.fields(codes), others, self.gallery, looks, self.maker.sampler, rng)
        found = {"color": color, "opacity": self.recipe.opacity_weight * opacity}
        found["code"] = self.recipe.code_weight * codes.square().mean()
        return Update("autoencoder", found, {"psnr": -10 * color.detach().clamp_min(1e-10).log10()})

    @torch.no_grad()
    def encode_all(self) -> Float[Tensor, "n code"]:
        """A code for every picture of the collection."""
        everything = torch.arange(len(self.gallery.collection)).split(ENCODED)
        pictures = (self.gallery.pictures(part).to(self.codes.device) for part in everything)
        return torch.cat([self.maker.autoencoder.encoder(some) for some in pictures])
