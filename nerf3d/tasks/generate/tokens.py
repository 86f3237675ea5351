"""The story of a collection by tokens: an object is a handful of small numbers, and a transformer learns their language.

First an autoencoder learns: a picture becomes tokens, one for each part of the box, and the field of the tokens is judged
by other pictures of the same object, so that they hold the object and not the view. Then it stays as it is, and a
transformer learns the tokens of all pictures (VQ-VAE, van den Oord et al. 2017; on shapes AutoSDF, Mittal et al. 2022). It
draws new objects, and completes any part of one.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from nerf3d.core import Box, Group, Update
from nerf3d.core.chance import here
from nerf3d.core.memory import learning_bytes
from nerf3d.data.collections.collection import Collection
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane
from nerf3d.models.codebook import perplexity, shares
from nerf3d.render.stratified import Stratified
from nerf3d.tasks.generate.completion import settle
from nerf3d.tasks.generate.kinds import kind_numbers, one_kind, told
from nerf3d.tasks.generate.looks import Gallery, difference, looks_bytes
from nerf3d.tasks.generate.recipe import VQAR, halved

ENCODED = 256
"""Pictures that are encoded at once."""


class TokenObjects(nn.Module):
    """A `Maker`: the autoencoder, and the transformer that draws and completes tokens.

    Codes are the tokens' vectors, so that they can be mixed and optimised; `places` says which part of the box each is for.
    Whoever asks for no kind gets all kinds, as often as the collection has them: the transformer, which is rarely left
    without a kind in training, is always told one.
    """

    shares: Tensor

    def __init__(self, recipe: VQAR, box: Box, kinds: tuple[str, ...], rng: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.kinds = recipe, kinds
        self.autoencoder = recipe.model.build(box, rng)
        entries = recipe.model.codebook.entries
        self.transformer = recipe.transformer.build(recipe.model.tokens, entries, len(kinds), rng)
        self.register_buffer("shares", torch.ones(1 + len(kinds)))  # of every kind, and last of objects of none

    @property
    def sampler(self) -> Stratified:
        """Wherever the weights are by now."""
        return Stratified(self.autoencoder.decoder.region.space, self.recipe.looks.samples)

    @property
    def places(self) -> Float[Tensor, "tokens 3"]:
        """Where in the world each token's part of the box has its middle."""
        return self.autoencoder.places

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n tokens d"]:
        any_kind = self.shares.to(rng.device).multinomial(count, replacement=True, generator=rng).to(self.shares.device)
        condition = told(any_kind, self.kinds) if kind is None else one_kind(self.kinds, kind, count)
        return self.autoencoder.latents(self.transformer.sample(count, rng, condition, temperature=truncation))

    def fields(self, codes: Float[Tensor, "n tokens d"]) -> list[TriPlane]:
        return self.autoencoder.fields(codes)

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n tokens d"]:
        return self.autoencoder.latents(self.autoencoder.tokens(pictures))

    def complete(
        self,
        codes: Float[Tensor, "n tokens d"],
        keep: Bool[Tensor, "k"] | Bool[Tensor, "b k"],
        rng: torch.Generator,
        truncation: float = 1.0,
        kind: str | None = None,
    ) -> Float[Tensor, "n tokens d"]:
        """The same codes where they are to be kept, and others, drawn to go with those, in the other places; these are moved
        a little off their tokens, so that what is kept looks as it did (see `completion`).

        Raises InputError for a mask or codes of another number of tokens.
        """
        if keep.shape[-1] != codes.shape[1]:
            raise InputError(
                f"the mask is for {keep.shape[-1]} tokens, but each code has {codes.shape[1]}; say of every token of a code "
                "whether it is to be kept"
            )
        keep = keep.expand(len(codes), -1)
        condition = None if kind is None else one_kind(self.kinds, kind, len(codes))
        given = self.autoencoder.nearest(codes.detach())
        found = self.transformer.complete(given, keep, rng, condition, temperature=truncation)
        drawn = torch.where(keep[..., None], codes, self.autoencoder.latents(found))
        each = zip(codes.detach(), drawn.detach(), keep, strict=True)
        return torch.stack([settle(self.autoencoder, before, after, kept, rng) for before, after, kept in each])


class TokenTask(nn.Module):
    """A `core.Task` with two players, one after the other."""

    tokens: Tensor
    kind: Tensor

    def __init__(self, recipe: VQAR, collection: Collection, box: Box, rng: torch.Generator) -> None:
        super().__init__()
        self.recipe = recipe
        self.gallery = Gallery(collection)
        self.maker = TokenObjects(recipe, box, collection.kinds, rng)
        self.register_buffer("kind", kind_numbers(collection), persistent=False)  # the collection's
        self.maker.shares.copy_(shares(self.kind, 1 + len(collection.kinds)))
        self.helpers = nn.Module()  # none
        # Not kept by checkpoints: the autoencoder stays as it is once there are tokens, so that they can be read anew.
        nothing = torch.zeros(0, recipe.model.tokens, dtype=torch.int64)
        self.register_buffer("tokens", nothing, persistent=False)

    def players(self) -> dict[str, list[Group]]:
        autoencoder, transformer = self.maker.autoencoder, self.maker.transformer
        return {
            "autoencoder": [Group(list(autoencoder.parameters()), self.recipe.rate)],
            "transformer": [Group(list(transformer.parameters()), self.recipe.transformer_rate)],
        }

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        if progress < self.recipe.settled:
            yield self._reconstruct(progress, rng)
            return
        if len(self.tokens) == 0:
            self.tokens = self.read_all()
        pick = torch.randint(len(self.tokens), (self.recipe.batch,), generator=here(rng))  # it picks pictures here
        condition = told(self.kind[self.gallery.collection.scene[pick]], self.maker.kinds)
        loss = self.maker.transformer.loss(self.tokens[pick], condition, rng)
        yield Update("transformer", {"tokens": loss}, self.usage())

    def tracked(self) -> Iterator[Tensor]:
        return self.maker.autoencoder.buffers()

    def budget(self) -> str:
        return f"looks.objects={self.recipe.looks.objects} and batch={self.recipe.batch}"

    def halve(self) -> bool:
        looks = halved(self.recipe.looks)
        if looks is not None:
            self.recipe = replace(self.recipe, looks=looks, batch=max(self.recipe.batch // 2, 1))
        return looks is not None

    def step_bytes(self, rng: torch.Generator) -> float:
        """Of the first part of the run; the transformer's lessons are small."""
        model, one = self.maker.autoencoder, self.gallery.pictures(torch.zeros(1, dtype=torch.int64))
        picture = one.to(self.tokens.device)
        seen = looks_bytes(lambda: model.fields(model.said(picture))[0], model.decoder.region.space, self.recipe.looks)
        return seen + learning_bytes(self.maker.parameters())

    def _reconstruct(self, progress: float, rng: torch.Generator) -> Update:
        looks, model = self.recipe.looks, self.maker.autoencoder
        chance = here(rng)
        chosen = self.gallery.objects(looks.objects, chance)
        views = [self.gallery.views(scene, 1 + looks.views, chance) for scene in chosen]
        codes = model.learn(self.gallery.pictures(torch.stack([v[0] for v in views])).to(rng.device), progress, rng)
        others = (seen[1:] if len(seen) > 1 else seen for seen in views)
        color, opacity = difference(model.fields(codes.values), others, self.gallery, looks, self.maker.sampler, rng)
        found = {"color": color, "opacity": self.recipe.opacity_weight * opacity, "codebook": codes.loss}
        psnr = -10 * color.detach().clamp_min(1e-10).log10()
        return Update("autoencoder", found, {"psnr": psnr, **model.codebook.usage.figures()})

    @torch.no_grad()
    def read_all(self) -> Int64[Tensor, "n tokens"]:
        """The tokens of every picture of the collection."""
        everything = torch.arange(len(self.gallery.collection)).split(ENCODED)
        pictures = (self.gallery.pictures(part).to(self.tokens.device) for part in everything)
        return torch.cat([self.maker.autoencoder.tokens(some) for some in pictures])

    def usage(self) -> dict[str, float]:
        """The share of the codebook that the collection's tokens use, and their perplexity."""
        share = shares(self.tokens, self.recipe.model.codebook.entries)
        return {"used": float((share > 0).float().mean()), "perplexity": perplexity(share)}
