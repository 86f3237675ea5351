"""Who sees whom, what is drawn, and whether a known language of short sequences is learnt."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from nerf3d.errors import InputError
from nerf3d.models.classifier_free import LEFT_OUT, sometimes
from nerf3d.models.token_transformer import (
    Masked,
    MaskedTransformer,
    Raster,
    RasterTransformer,
    _Block,
)

SMALL = [Raster(width=32, layers=2, heads=2), Masked(width=32, layers=2, heads=2, rounds=4)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(count: int, length: int = 6, entries: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randint(entries, (count, length), generator=rng(seed))


@torch.no_grad()
def test_a_later_token_never_changes_an_earlier_logit() -> None:
    model = SMALL[0].build(6, 5, 0, rng())
    tokens = some(3)
    logits = model(tokens)
    for i in range(6):
        other = tokens.clone()
        other[:, i] = (other[:, i] + 1) % 5
        changed = (model(other) - logits).abs().amax((0, 2))
        assert torch.equal(changed[: i + 1], torch.zeros(i + 1))
        assert bool((changed[i + 1 :] > 1e-4).all())
    torch.testing.assert_close(model(tokens[:, :4]), logits[:, :4])  # a beginning is enough


@torch.no_grad()
def test_masked_every_token_sees_every_other() -> None:
    model = SMALL[1].build(6, 5, 0, rng())
    tokens = some(3)
    for i in range(6):
        other = tokens.clone()
        other[:, i] = model.hidden
        assert bool(((model(other) - model(tokens)).abs().amax((0, 2)) > 1e-4).all())


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_attention_is_torchs_own(causal: bool) -> None:
    block = _Block(12, 3, causal, rng())
    x = torch.randn(2, 5, 12, generator=rng(1))
    query, key, value = block.look(block.first_norm(x)).chunk(3, -1)
    apart = [each.unflatten(-1, (3, 4)).transpose(1, 2) for each in (query, key, value)]
    seen = F.scaled_dot_product_attention(*apart, is_causal=causal).transpose(1, 2).flatten(2)
    y = x + block.gather(seen)
    torch.testing.assert_close(block(x), y + block.down(F.gelu(block.up(block.second_norm(y)))))


LANGUAGE = {(0, 0, 0): 0.35, (0, 1, 0): 0.1, (1, 1, 2): 0.15, (2, 2, 1): 0.3, (2, 0, 1): 0.1}
"""Five words of three letters; the last letter says the first."""
TINY = [Raster(width=32, layers=1, heads=2), Masked(width=32, layers=1, heads=2, rounds=3)]


@pytest.fixture(scope="module", params=TINY)
def speaker(request) -> RasterTransformer | MaskedTransformer:
    """A transformer that was taught the language, told the first letter in half of the lessons."""
    steps = 300
    model, chance = request.param.build(3, 3, 3, rng()), rng(1)
    words, chances = torch.tensor(list(LANGUAGE)), torch.tensor(list(LANGUAGE.values()))
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / steps)
        lesson = words[chances.multinomial(128, replacement=True, generator=chance)]
        told = F.one_hot(lesson[:, 0], 3).float()
        told[64:] = torch.nan
        optimizer.zero_grad()
        model.loss(lesson, told, chance).backward()
        optimizer.step()
    return model


def distance(tokens: torch.Tensor, wanted: dict[tuple[int, ...], float]) -> float:
    """The total variation between how often words were drawn and how often they should be: 0 the same, 1 no overlap."""
    drawn = Counter(tuple(word) for word in tokens.tolist())
    return 0.5 * sum(abs(drawn[w] / len(tokens) - wanted.get(w, 0.0)) for w in {*drawn, *wanted})


def test_a_known_language_is_learnt_and_drawn(speaker) -> None:
    """2000 words of the right distribution are 0.015 from it on average; 0.08 leaves room for a short training."""
    assert distance(speaker.sample(2000, rng(2)), LANGUAGE) < 0.08


def test_a_condition_is_heard(speaker) -> None:
    third = torch.tensor([[0.0, 0.0, 1.0]]).expand(500, 3)
    assert distance(speaker.sample(500, rng(2), third), {(2, 2, 1): 0.75, (2, 0, 1): 0.25}) < 0.1
    unknown = torch.full((500, 3), torch.nan)
    assert distance(speaker.sample(500, rng(2), unknown), LANGUAGE) < 0.1


def test_lower_temperatures_give_more_usual_words(speaker) -> None:
    likeliest = ((0, 0, 0), (2, 2, 1))
    (coldest,) = Counter(tuple(word) for word in speaker.sample(50, rng(2), temperature=0.0).tolist())
    assert coldest in likeliest
    cool = Counter(tuple(word) for word in speaker.sample(500, rng(2), temperature=0.5).tolist())
    assert sum(cool[word] for word in likeliest) > 500 * (sum(LANGUAGE[word] for word in likeliest) + 0.1)


def test_completion_keeps_what_is_given_and_goes_with_it(speaker) -> None:
    given = torch.tensor([[1, 0, 0]]).expand(200, 3)  # zeros are not to be kept
    keep = torch.tensor([[True, False, False]]).expand(200, 3)
    first = speaker.complete(given, keep, rng(3))
    assert distance(first, {(1, 1, 2): 1.0}) < 0.05
    if isinstance(speaker, MaskedTransformer):  # which looks back, too
        found = speaker.complete(given.flip(1), keep.flip(1), rng(3))
        assert distance(found, {(2, 2, 1): 0.75, (2, 0, 1): 0.25}) < 0.1
    mixed = torch.rand(200, 3, generator=rng(4)) < 0.5
    tokens = some(200, 3, 3)
    assert torch.equal(speaker.complete(tokens, mixed, rng(5))[mixed], tokens[mixed])
    assert torch.equal(speaker.complete(tokens, mixed | True, rng(5)), tokens)


class Watched(MaskedTransformer):
    """Says the first entry, and remembers how much was hidden whenever it was asked."""

    def forward(self, tokens, condition=None):
        self.seen = [*getattr(self, "seen", []), (tokens == self.hidden).sum(1).tolist()]
        return F.one_hot(torch.zeros_like(tokens), self.hidden).float()


@pytest.mark.parametrize("rounds", [1, 2, 7, 40])
def test_parallel_decoding_ends_with_no_masks(rounds: int) -> None:
    model = Watched(Masked(8, 1, 1, rounds), 20, 5, 0, rng())
    tokens, keep = some(4, 20), torch.rand(4, 20, generator=rng(2)) < torch.tensor([[0.0], [0.3], [0.9], [1.0]])
    found = model.complete(tokens, keep, rng(3))
    assert int(found.max()) < 5
    assert torch.equal(found[keep], tokens[keep])
    for row, missing in enumerate((~keep).sum(1).tolist()):
        cosine = [math.floor(missing * math.cos(0.5 * math.pi * i / rounds) + 1e-6) for i in range(rounds)]
        assert [counts[row] for counts in model.seen] == cosine


def test_the_surest_tokens_stay_where_chance_is_silent() -> None:
    """With no temperature the order of unmasking is that of log p: here the later a token stands, the surer it is."""

    class Known(MaskedTransformer):
        def forward(self, tokens, condition=None):
            known = (tokens != self.hidden).float()
            self.order = [*getattr(self, "order", []), known[0].nonzero()[:, 0].tolist()]
            sure = torch.arange(1, 5.0)[:, None] * torch.tensor([1.0, 0.0])
            return sure.expand(len(tokens), -1, -1)

    model = Known(Masked(8, 1, 1, 4), 4, 2, 0, rng())
    model.sample(1, rng(), temperature=0.0)
    assert model.order == [[], [3], [2, 3], [1, 2, 3]]


def test_guidance_goes_on_beyond_the_condition() -> None:
    """Logits of 1 for a told class and 0 for none: at scale 3 they are 3."""

    class Known(RasterTransformer):
        def forward(self, tokens, condition=None):
            logits = torch.zeros(*tokens.shape, 2)
            return logits if condition is None else logits + condition[:, None]

    model = Known(Raster(8, 1, 1), 1, 2, 2, rng())
    told = torch.tensor([[1.0, 0.0]]).expand(4000, 2)
    for scale in (0.0, 1.0, 3.0):
        first = float((model.sample(4000, rng(1), told, scale) == 0).float().mean())
        assert first == pytest.approx(1 / (1 + math.exp(-scale)), abs=0.025)


@pytest.mark.parametrize("config", SMALL)
def test_the_loss_of_one_who_knows_nothing_is_that_of_guessing(config) -> None:
    model = config.build(6, 5, 2, rng())
    torch.nn.init.zeros_(model.body.last.weight)
    for told in (None, torch.tensor([[1.0, 0.0]]).expand(9, 2), torch.full((9, 2), torch.nan)):
        assert float(model.loss(some(9), told, rng(2)).detach()) == pytest.approx(math.log(5), rel=1e-5)


def test_conditions_are_left_out_now_and_then() -> None:
    told = sometimes(torch.ones(4000, 3), rng())
    assert told is not None
    assert torch.equal(told.isnan().any(1), told.isnan().all(1))
    assert float(told.isnan().float().mean()) == pytest.approx(LEFT_OUT, abs=0.015)
    assert sometimes(None, rng()) is None


@pytest.mark.parametrize("config", SMALL)
def test_everything_learns_and_a_seed_says_all(config) -> None:
    model, same, other = (config.build(6, 5, 2, rng(seed)) for seed in (0, 0, 1))
    told = torch.tensor([[1.0, 0.5]]).repeat(32, 1)
    told[16:] = torch.nan
    model.loss(some(32), told, rng(2)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []
    assert torch.equal(model.sample(4, rng(3)), same.sample(4, rng(3)))
    assert not torch.equal(model.body.place, other.body.place)


def test_what_does_not_fit_is_refused() -> None:
    for config in SMALL:
        model = config.build(6, 5, 2, rng())
        with pytest.raises(InputError, match="5 tokens long, but this transformer knows 6"):
            model.complete(some(1, 5), some(1, 5) > 0, rng())
        with pytest.raises(InputError, match="condition"):
            model.sample(1, rng(), torch.zeros(1, 3))
        with pytest.raises(InputError, match="condition"):
            config.build(6, 5, 0, rng()).sample(1, rng(), torch.zeros(1, 3))
    with pytest.raises(InputError, match="divide the width"):
        Raster(width=10, heads=4).build(6, 5, 0, rng())
    with pytest.raises(InputError, match="0 rounds"):
        Masked(rounds=0).build(6, 5, 0, rng())
