"""The story of a collection by an autoencoder: a picture's code is a field that looks like the object from all sides.

First the autoencoder learns from pairs of views: a code made of one picture is judged by others of the same object, so that
it holds the object and not the view. Then it stays as it is, and a flow learns how its codes are distributed.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Box, Group, Update
from nerf3d.data.collections.collection import Collection
from nerf3d.models.latent_flow import LatentFlow
from nerf3d.render.render import render
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.looks import Gallery
from nerf3d.tasks.generate.recipe import DiffAE

ENCODED = 256
"""Pictures that are encoded at once."""


class Objects(nn.Module):
    """What a run keeps: the autoencoder, and the flow that draws codes. `captions` are the kinds that it can be told."""

    def __init__(self, recipe: DiffAE, box: Box, captions: tuple[str, ...], rng: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.captions = recipe, captions
        self.autoencoder = recipe.model.build(box, rng)
        self.flow = LatentFlow(recipe.model.encoder.code, recipe.flow.width, recipe.flow.blocks, len(captions), rng)
        self.sampler = Stratified(box, recipe.looks.samples)


class AutoencoderTask(nn.Module):
    """A `core.Task` with two players, one after the other."""

    codes: Tensor

    def __init__(self, recipe: DiffAE, collection: Collection, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.gallery = Gallery(collection)
        kinds = tuple(sorted({caption for caption in collection.captions if caption}))
        self.objects = Objects(recipe, box, kinds, rng)
        self.kind = torch.tensor([kinds.index(c) if c else -1 for c in collection.captions])
        self.register_buffer("codes", torch.zeros(0, recipe.model.encoder.code))

    def players(self) -> dict[str, list[Group]]:
        autoencoder, flow = self.objects.autoencoder, self.objects.flow
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
            self.objects.flow.learn_scale(self.codes)
        pick = torch.randint(len(self.codes), (self.recipe.flow.batch,), generator=rng)
        yield Update("flow", {"flow": self.objects.flow.loss(self.codes[pick], self._told(pick), rng)})

    def _reconstruct(self, rng: torch.Generator) -> Update:
        looks, model = self.recipe.looks, self.objects.autoencoder
        chosen = self.gallery.objects(looks.objects, rng)
        views = [self.gallery.views(scene, 1 + looks.views, rng) for scene in chosen]
        codes = model.encoder(self.gallery.pictures(torch.stack([v[0] for v in views])))
        color, opacity = codes.new_zeros(()), codes.new_zeros(())
        for field, seen in zip(model.fields(codes), views, strict=True):
            glance = self.gallery.glance(seen[1:] if len(seen) > 1 else seen, looks, rng)
            sky = torch.rand(3, generator=rng)
            out = render(field, glance.rays, self.objects.sampler, sky, rng)
            truth, alpha = glance.truth[:, :3] + (1 - glance.truth[:, 3:]) * sky, glance.truth[:, 3]
            color = color + (out.color - truth).square().mean() / looks.objects
            opacity = opacity + (out.opacity - alpha).square().mean() / looks.objects
        found = {"color": color, "opacity": self.recipe.opacity_weight * opacity}
        found["code"] = self.recipe.code_weight * codes.square().mean()
        return Update("autoencoder", found, {"psnr": -10 * float(color.detach().clamp_min(1e-10).log10())})

    @torch.no_grad()
    def encode_all(self) -> Float[Tensor, "n code"]:
        """A code for every picture of the collection."""
        everything = torch.arange(len(self.gallery.collection))
        return torch.cat(
            [self.objects.autoencoder.encoder(self.gallery.pictures(p)) for p in everything.split(ENCODED)]
        )

    def _told(self, pictures: Tensor) -> Float[Tensor, "b kinds"] | None:
        """Which kind each picture's object is, as one 1 among zeros; NaN where nobody said."""
        if not self.objects.captions:
            return None
        kind = self.kind[self.gallery.collection.scene[pictures]]
        told = torch.nn.functional.one_hot(kind.clamp_min(0), len(self.objects.captions)).float()
        return torch.where((kind >= 0)[:, None], told, torch.nan)
