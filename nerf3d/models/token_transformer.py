"""What sequences of tokens are like: a small transformer, in one of two orders.

Raster order: p(t) = product over i of p(t_i | t_1 ... t_(i-1)). A token sees only those before it, and they are drawn one
after another (as in VQ-VAE-2's prior, Razavi et al. 2019, and AutoSDF's transformer, Mittal et al. 2022, which knows any
order). Only what is given before a token can tell it anything.

Masked: Chang et al., "MaskGIT" (2022). Some tokens of a lesson are hidden and guessed from all the others; of N tokens

    n(r) = ceil(N cos(pi r / 2)),        r even in [0, 1]                            (section 3.1)

are hidden. Drawing begins with all N unknown and takes R rounds. In round i all unknown ones are drawn at once; the least
sure ones, N cos(pi i / 2 R) of them, become unknown again. What is given from the beginning stays, so that any tokens can
be completed. Sure is a place where the entropy is low. The paper takes log p of what was drawn, with noise, which prefers
the usual: sequences come out more alike than they should, where with one token a round those by entropy are exact.

Both may be told a condition through a linear layer: a class, as one 1 among zeros, so that each has a learnt vector of its
own, or a caption's embedding. It is left out in a tenth of the lessons, for guidance without a classifier (Ho and Salimans
2022): logits = free + scale (told - free). Attention is written out: torch's fused one is slow backwards on a CPU.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.fields.common import linear
from nerf3d.models.classifier_free import guided, sometimes
from nerf3d.models.codebook import gumbel
from nerf3d.models.style import check_condition

BEGINNING = 0.5
"""How large embeddings are at first."""


@dataclass(frozen=True)
class Raster:
    """A transformer of one token after another."""

    width: int = 128
    layers: int = 4
    heads: int = 4

    def build(self, length: int, entries: int, condition: int, rng: torch.Generator) -> "RasterTransformer":
        """For sequences of so many tokens out of `entries`; `condition` numbers, 0 for none. Raises InputError for a
        network without layers, and for a width that cannot be divided among the heads.
        """
        return RasterTransformer(self, length, entries, condition, rng)


@dataclass(frozen=True)
class Masked:
    """A transformer of any tokens from any others."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    rounds: int = 12
    """In which a sequence is drawn."""

    def build(self, length: int, entries: int, condition: int, rng: torch.Generator) -> "MaskedTransformer":
        """For sequences of so many tokens out of `entries`; `condition` numbers, 0 for none. Raises InputError for a
        network without layers, no rounds, and for a width that cannot be divided among the heads.
        """
        if self.rounds < 1:
            raise InputError(f"tokens cannot be drawn in {self.rounds} rounds; give at least 1")
        return MaskedTransformer(self, length, entries, condition, rng)


TokenTransformerConfig = Raster | Masked
"""Each has `build(length, entries, condition, rng)`; what they build is used alike: `loss`, `sample`, `complete`."""


class RasterTransformer(nn.Module):
    """`transformer(tokens)` are each token's logits, told those before it."""

    def __init__(self, config: Raster, length: int, entries: int, condition: int, rng: torch.Generator) -> None:
        super().__init__()
        self.length = length
        self.start = nn.Parameter(BEGINNING * torch.randn(1, config.width, generator=rng))
        self.embedding = nn.Parameter(BEGINNING * torch.randn(entries, config.width, generator=rng))
        self.body = _Body(config.width, config.layers, config.heads, length, entries, condition, True, rng)

    def forward(
        self, tokens: Int64[Tensor, "b t"], condition: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b t e"]:
        """Of sequences, or of their beginnings. The last token is not looked at, nor any condition that is NaN."""
        before = torch.cat([self.start.expand(len(tokens), 1, -1), self.embedding[tokens[:, :-1]]], 1)
        return self.body(before, condition)

    def loss(
        self, tokens: Int64[Tensor, "b t"], condition: Float[Tensor, "b k"] | None, rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of a token."""
        logits = self(tokens, sometimes(condition, rng))
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    def sample(
        self,
        count: int,
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        temperature: float = 1.0,
    ) -> Int64[Tensor, "b t"]:
        """So many sequences. With a lower temperature more usual ones; at 0 always the likeliest token."""
        nothing = torch.zeros(count, self.length, dtype=torch.int64, device=self.start.device)
        return self.complete(nothing, nothing > 0, rng, condition, scale, temperature)

    @torch.no_grad()
    def complete(
        self,
        tokens: Int64[Tensor, "b t"],
        keep: Bool[Tensor, "b t"],
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        temperature: float = 1.0,
    ) -> Int64[Tensor, "b t"]:
        """Other tokens where they are not to be kept, each drawn from what stands before it."""
        _check_length(tokens, self.length)
        tokens = tokens.clone()
        for i in range(self.length):
            logits = guided(partial(self, tokens[:, : i + 1]), condition, scale)[:, -1]
            drawn = (logits + temperature * gumbel(logits.shape, rng).to(logits)).argmax(-1)
            tokens[:, i] = torch.where(keep[:, i], tokens[:, i], drawn)
        return tokens


class MaskedTransformer(nn.Module):
    """`transformer(tokens)` are every token's logits, told all tokens but those that are `transformer.hidden`."""

    def __init__(self, config: Masked, length: int, entries: int, condition: int, rng: torch.Generator) -> None:
        super().__init__()
        self.length, self.rounds = length, config.rounds
        self.hidden = entries
        self.embedding = nn.Parameter(BEGINNING * torch.randn(entries + 1, config.width, generator=rng))
        self.body = _Body(config.width, config.layers, config.heads, length, entries, condition, False, rng)

    def forward(
        self, tokens: Int64[Tensor, "b t"], condition: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b t e"]:
        return self.body(self.embedding[tokens], condition)

    def loss(
        self, tokens: Int64[Tensor, "b t"], condition: Float[Tensor, "b k"] | None, rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of a hidden token, of which a random number of n(r) is hidden."""
        r = torch.rand(len(tokens), 1, generator=rng, device=rng.device)
        order = torch.rand(tokens.shape, generator=rng, device=rng.device).argsort(1).argsort(1)
        hide = (order < self.length * torch.cos(0.5 * math.pi * r)).to(tokens.device)
        logits = self(torch.where(hide, self.hidden, tokens), sometimes(condition, rng))
        return F.cross_entropy(logits[hide], tokens[hide])

    def sample(
        self,
        count: int,
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        temperature: float = 1.0,
    ) -> Int64[Tensor, "b t"]:
        """So many sequences. With a lower temperature more usual ones; at 0 always the likeliest token."""
        nothing = torch.zeros(count, self.length, dtype=torch.int64, device=self.embedding.device)
        return self.complete(nothing, nothing > 0, rng, condition, scale, temperature)

    @torch.no_grad()
    def complete(
        self,
        tokens: Int64[Tensor, "b t"],
        keep: Bool[Tensor, "b t"],
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        temperature: float = 1.0,
    ) -> Int64[Tensor, "b t"]:
        """Other tokens where they are not to be kept, drawn in some rounds from all that are known."""
        _check_length(tokens, self.length)
        tokens = torch.where(keep, tokens, self.hidden)
        missing = (~keep).sum(1, keepdim=True)
        for i in range(1, self.rounds + 1):
            logits = guided(partial(self, tokens), condition, scale)
            drawn = (logits + temperature * gumbel(logits.shape, rng).to(logits)).argmax(-1)
            sure = (logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
            unknown = tokens == self.hidden
            tokens = torch.where(unknown, drawn, tokens)
            again = (missing * math.cos(0.5 * math.pi * i / self.rounds)).long()  # 0 in the last round
            place = torch.where(unknown, sure, torch.inf).argsort(1).argsort(1)
            tokens = torch.where(place < again, self.hidden, tokens)
        return tokens


class _Body(nn.Module):
    """Embedded tokens, with their places and the condition added, through layers of attention to logits."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        length: int,
        entries: int,
        condition: int,
        causal: bool,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        if min(width, layers, heads, length, entries) < 1 or condition < 0 or width % heads:
            raise InputError(
                "a transformer needs its width, layers and heads to be at least 1, and the heads to divide the width"
            )
        self.condition = condition
        self.place = nn.Parameter(BEGINNING * torch.randn(length, width, generator=rng))
        self.told = linear(condition, width, rng) if condition else None
        self.untold = nn.Parameter(torch.zeros(width)) if condition else None
        self.blocks = nn.ModuleList([_Block(width, heads, causal, rng) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.last = linear(width, entries, rng)

    def forward(self, x: Float[Tensor, "b t w"], condition: Float[Tensor, "b k"] | None) -> Float[Tensor, "b t e"]:
        x = x + self.place[: x.shape[1]]
        if condition is not None or self.told is None:
            check_condition(condition, self.condition)
        if self.told is not None and self.untold is not None:
            told = self.untold.expand(len(x), -1)
            if condition is not None:
                there = ~condition.isnan().any(1, keepdim=True)
                told = torch.where(there, self.told(torch.where(there, condition, 0.0)), told)
            x = x + told[:, None]
        for block in self.blocks:
            x = block(x)
        return self.last(self.norm(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool, rng: torch.Generator) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look, self.gather = linear(width, 3 * width, rng), linear(width, width, rng)
        self.up, self.down = linear(width, 4 * width, rng), linear(4 * width, width, rng)

    def forward(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        query, key, value = self.look(self.first_norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if self.causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        seen = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        x = x + self.gather(seen)
        return x + self.down(F.gelu(self.up(self.second_norm(x))))


def _check_length(tokens: Tensor, length: int) -> None:
    if tokens.shape[1] != length:
        raise InputError(
            f"a sequence is {tokens.shape[1]} tokens long, but this transformer knows {length}; give it tokens of its own "
            "model"
        )
