"""Codebooks: vectors are exchanged for entries of a table, so that a picture, or an object, is a few small whole numbers.

With x a vector that an encoder says, e_1 ... e_K the entries and sg(.) what no gradient passes, van den Oord et al., "Neural
Discrete Representation Learning" (VQ-VAE, 2017):

    k    = argmin_j |x - e_j|
    q    = x + sg(e_k - x)                      the gradient goes straight through to x
    loss = beta |x - sg(e_k)|^2                 (equation 3, commitment)

and entries are running means of the vectors that fell to them (appendix A.1; Razavi et al., "VQ-VAE-2", 2019):

    N_k <- g N_k + (1 - g) n_k        m_k <- g m_k + (1 - g) sum of those x        e_k = m_k / N_k

The other way, Jang et al., "Categorical Reparameterization with Gumbel-Softmax" (2017, equation 2), takes a random mixture
of entries, the harder the lower the temperature t, through which gradients reach entries and vectors:

    l_j  = -s |x - e_j|^2 / 2 v                 with v the mean square of the vectors' numbers
    q    = sum_j softmax_j((l + gumbel noise) / t) e_j
    loss = w (log K - entropy of the mean of softmax(l) over all vectors)     (wav2vec 2.0, Baevski et al. 2020, equation 4)

Both look up with the nearest entry. In both an entry that nobody has used for a while moves to a vector of the present
batch (Dhariwal et al., "Jukebox", 2020): without that a codebook collapses to a few entries. So does it begin, too.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from nerf3d.core.schedules import Decay, Schedule
from nerf3d.errors import InputError

KEEP = 0.99
"""Of running means, in a step."""


@dataclass(frozen=True)
class Nearest:
    """The nearest entry, and entries that are running means."""

    entries: int = 256
    commitment: float = 0.01
    """beta; the paper's 0.25 stands beside errors that are divided by the pictures' variance, this beside plain ones."""
    patience: int = 50
    """After so many steps without use an entry moves."""

    def build(self, width: int, rng: torch.Generator) -> "NearestCodebook":
        """For vectors of so many numbers. Raises InputError for fewer than two entries and for no patience."""
        _check(self.entries, self.patience)
        return NearestCodebook(self, width, rng)


@dataclass(frozen=True)
class Gumbel:
    """A random mixture of entries that grows harder in the course of the run."""

    entries: int = 256
    sharpness: float = 10.0
    """s: with less, the noise is as large as the differences between near entries and far ones."""
    temperature: Schedule = Decay(5.0, 0.5, until=0.7)
    diversity: float = 2e-3
    """w: how much it counts that all entries are used alike."""
    patience: int = 50
    """After so many steps without use an entry moves."""

    def build(self, width: int, rng: torch.Generator) -> "GumbelCodebook":
        """For vectors of so many numbers. Raises InputError for fewer than two entries and for no patience."""
        _check(self.entries, self.patience)
        return GumbelCodebook(self, width, rng)


CodebookConfig = Nearest | Gumbel
"""Each has `build(width, rng)`; what they build is used alike."""


@dataclass(frozen=True)
class Quantised:
    """What became of vectors: others in their place, which entry was the nearest, and what it costs."""

    values: Float[Tensor, "*b d"]
    tokens: Int64[Tensor, "*b"]
    loss: Float[Tensor, ""]


class Usage(nn.Module):
    """How often each entry is used: `shares` are running means, `idle` the steps since the last time."""

    shares: Tensor
    idle: Tensor

    def __init__(self, entries: int, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.register_buffer("shares", torch.zeros(entries))
        self.register_buffer("idle", torch.full((entries,), patience))

    @property
    def dead(self) -> Bool[Tensor, "k"]:
        """Entries that nobody has used for too long; before the first step, all."""
        return self.idle >= self.patience

    @torch.no_grad()
    def track(self, tokens: Int64[Tensor, "*b"]) -> None:
        """Count one step's tokens."""
        now = shares(tokens, len(self.shares))
        self.shares.lerp_(now, 1 - KEEP)
        self.idle.copy_(torch.where(now > 0, 0, self.idle + 1))

    def figures(self) -> dict[str, float]:
        """The share of entries that are not dead, and the perplexity of late."""
        return {"used": float((~self.dead).float().mean()), "perplexity": perplexity(self.shares)}


class NearestCodebook(nn.Module):
    """`learn(x)` while training, `tokens(x)` and `codebook(tokens)` ever after."""

    entries: Tensor
    sums: Tensor
    weights: Tensor

    def __init__(self, config: Nearest, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.usage = Usage(config.entries, config.patience)
        self.register_buffer("entries", torch.randn(config.entries, width, generator=rng))
        self.register_buffer("sums", torch.zeros(config.entries, width))
        self.register_buffer("weights", torch.zeros(config.entries))

    def forward(self, tokens: Int64[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        return self.entries[tokens]

    def tokens(self, x: Float[Tensor, "*b d"]) -> Int64[Tensor, "*b"]:
        return closeness(x, self.entries).argmax(-1)

    def learn(self, x: Float[Tensor, "*b d"], progress: float, rng: torch.Generator) -> Quantised:
        """Quantise, and let the entries follow; `progress` says nothing here."""
        self._revive(x.detach(), rng)
        tokens = self.tokens(x)
        nearest = self(tokens)
        self._follow(x.detach().flatten(0, -2), tokens.flatten())
        commitment = self.config.commitment * (x - nearest).square().mean()
        return Quantised(x + (nearest - x).detach(), tokens, commitment)

    @torch.no_grad()
    def _revive(self, x: Tensor, rng: torch.Generator) -> None:
        dead = self.usage.dead
        even = 1 / len(self.entries)
        self.entries.copy_(torch.where(dead[:, None], some_of(x, len(self.entries), rng), self.entries))
        self.sums.copy_(torch.where(dead[:, None], even * self.entries, self.sums))
        self.weights.masked_fill_(dead, even)

    @torch.no_grad()
    def _follow(self, x: Float[Tensor, "n d"], tokens: Int64[Tensor, "n"]) -> None:
        self.usage.track(tokens)
        self.weights.lerp_(shares(tokens, len(self.entries)), 1 - KEEP)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, tokens, x) / len(x), 1 - KEEP)
        self.entries.copy_(self.sums / self.weights[:, None])


class GumbelCodebook(nn.Module):
    """`learn(x)` while training, `tokens(x)` and `codebook(tokens)` ever after.

    Entries are learnt in units of the vectors' running deviation, so that a step changes large ones and small ones alike.
    """

    deviation: Tensor

    def __init__(self, config: Gumbel, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.usage = Usage(config.entries, config.patience)
        self.table = nn.Parameter(torch.randn(config.entries, width, generator=rng))
        self.register_buffer("deviation", torch.ones(()))

    @property
    def entries(self) -> Float[Tensor, "k d"]:
        return self.deviation * self.table

    def forward(self, tokens: Int64[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        return self.entries[tokens]

    def tokens(self, x: Float[Tensor, "*b d"]) -> Int64[Tensor, "*b"]:
        return closeness(x, self.entries).argmax(-1)

    def learn(self, x: Float[Tensor, "*b d"], progress: float, rng: torch.Generator) -> Quantised:
        """Mix entries at the temperature of the moment."""
        with torch.no_grad():
            dead = self.usage.dead
            now = x.square().mean().sqrt().clamp_min(1e-12)
            self.deviation.copy_(now if bool(dead.all()) else self.deviation.lerp(now, 1 - KEEP))
            moved = some_of(x, len(dead), rng) / self.deviation
            self.table.copy_(torch.where(dead[:, None], moved, self.table))
        logits = self.config.sharpness * closeness(x / self.deviation, self.table)
        tokens = logits.argmax(-1)
        self.usage.track(tokens)
        noisy = logits + gumbel(logits.shape, rng).to(logits)
        mixture = (noisy / self.config.temperature(progress)).softmax(-1)
        mean = logits.softmax(-1).flatten(0, -2).mean(0)
        lacking = math.log(len(mean)) + (mean * mean.clamp_min(1e-12).log()).sum()  # 0 log 0 has no gradient
        return Quantised(self.deviation * (mixture @ self.table), tokens, self.config.diversity * lacking)


def closeness(x: Float[Tensor, "*b d"], entries: Float[Tensor, "k d"]) -> Float[Tensor, "*b k"]:
    """x e_k - |e_k|^2 / 2, which is -|x - e_k|^2 / 2 but for a number that is the same for all entries.

    >>> closeness(torch.tensor([3.0]), torch.tensor([[0.0], [2.0], [5.0]]))
    tensor([0.0000, 4.0000, 2.5000])
    """
    return x @ entries.t() - 0.5 * entries.square().sum(1)


def shares(tokens: Int64[Tensor, "*b"], entries: int) -> Float[Tensor, "k"]:
    """How large a part of the tokens each entry is.

    >>> shares(torch.tensor([0, 2, 2, 0, 2]), 4)
    tensor([0.4000, 0.0000, 0.6000, 0.0000])
    """
    counts = torch.bincount(tokens.flatten(), minlength=entries)
    return counts / max(tokens.numel(), 1)


def perplexity(shares: Float[Tensor, "k"]) -> float:
    """As many entries, used alike, would be as hard to guess as these.

    >>> round(perplexity(torch.tensor([0.5, 0.5, 0.0])), 4)
    2.0
    """
    p = shares / shares.sum().clamp_min(1e-12)
    return float((-torch.special.xlogy(p, p).sum()).exp())


def some_of(x: Float[Tensor, "*b d"], count: int, rng: torch.Generator) -> Float[Tensor, "count d"]:
    """Random vectors of those given, each another as far as there are enough."""
    flat = x.flatten(0, -2)
    order = torch.randperm(len(flat), generator=rng, device=rng.device).to(x.device)
    return flat[order[torch.arange(count, device=x.device) % len(flat)]]


def gumbel(shape: torch.Size, rng: torch.Generator) -> Float[Tensor, "..."]:
    """Noise that makes argmax(l + noise) a draw from softmax(l)."""
    waited = torch.empty(shape, device=rng.device).exponential_(generator=rng)
    return -waited.clamp_min(1e-30).log()


def _check(entries: int, patience: int) -> None:
    if entries < 2 or patience < 1:
        raise InputError("a codebook needs at least 2 entries and a patience of at least 1 step; give it more")
