"""Codebooks against their formulas written out, and whether their entries find what there is to be found."""

import math

import pytest
import torch

from nerf3d.core.schedules import Ramp
from nerf3d.errors import InputError
from nerf3d.models.codebook import (
    KEEP,
    CodebookConfig,
    Gumbel,
    GumbelCodebook,
    Nearest,
    NearestCodebook,
    gumbel,
    perplexity,
    shares,
)

BOTH = [Nearest(entries=8), Gumbel(entries=8)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(config: CodebookConfig, entries: torch.Tensor | None = None) -> NearestCodebook | GumbelCodebook:
    """A codebook that takes these entries, or some random ones, for settled."""
    entries = torch.randn(config.entries, 3, generator=rng(9)) if entries is None else entries
    codebook = config.build(entries.shape[1], rng())
    codebook.usage.idle.zero_()
    with torch.no_grad():
        if isinstance(codebook, NearestCodebook):
            codebook.entries.copy_(entries)
            codebook.weights.fill_(1 / config.entries)
            codebook.sums.copy_(entries / config.entries)
        else:
            codebook.table.copy_(entries)  # the deviation is 1
    return codebook


@pytest.mark.parametrize("config", BOTH)
@torch.no_grad()
def test_the_nearest_entry_is_looked_up(config) -> None:
    codebook = begun(config)
    x = 2 * torch.randn(4, 10, 3, generator=rng(1))
    tokens = codebook.tokens(x)
    assert tokens.shape == (4, 10)
    for vector, token in zip(x.reshape(-1, 3), tokens.flatten().tolist(), strict=True):
        assert token == int((codebook.entries - vector).norm(dim=1).argmin())
    assert torch.equal(codebook(tokens), codebook.entries[tokens])
    assert codebook.tokens(codebook.entries).tolist() == list(range(8))  # an entry is its own


def test_the_gradient_goes_straight_through() -> None:
    codebook = begun(Nearest(entries=8, commitment=0.5))
    x = torch.randn(5, 3, generator=rng(1), requires_grad=True)
    before = codebook.entries.clone()
    found = codebook.learn(x, 0.0, rng(2))
    nearest = before[found.tokens]
    torch.testing.assert_close(found.values, nearest)
    aim = torch.randn(5, 3, generator=rng(3))
    (through,) = torch.autograd.grad((found.values * aim).sum(), x, retain_graph=True)
    assert torch.equal(through, aim)
    torch.testing.assert_close(found.loss, 0.5 * (x - nearest).square().mean())
    (drawn,) = torch.autograd.grad(found.loss, x)
    torch.testing.assert_close(drawn, 0.5 * 2 * (x.detach() - nearest) / 15)


def test_entries_follow_their_vectors_by_the_papers_running_means() -> None:
    codebook = begun(Nearest(entries=8))
    entries = [row.tolist() for row in codebook.entries]
    count, total = [1 / 8] * 8, [[number / 8 for number in row] for row in entries]
    chance = rng(1)
    for _ in range(3):
        x = torch.randn(20, 3, generator=chance)
        rows = x.tolist()
        fallen = [min(range(8), key=lambda k: math.dist(row, entries[k])) for row in rows]
        codebook.learn(x, 0.0, rng(2))
        for k in range(8):
            own = [row for row, token in zip(rows, fallen, strict=True) if token == k]
            count[k] = KEEP * count[k] + (1 - KEEP) * len(own) / 20
            total[k] = [KEEP * t + (1 - KEEP) * sum(r[i] for r in own) / 20 for i, t in enumerate(total[k])]
            entries[k] = [t / count[k] for t in total[k]]
    torch.testing.assert_close(codebook.entries, torch.tensor(entries))


@pytest.mark.parametrize("config", BOTH)
def test_it_begins_with_vectors_of_the_first_batch(config) -> None:
    codebook = config.build(3, rng())
    assert codebook.usage.figures()["used"] == 0
    x = 5 + torch.randn(2, 4, 3, generator=rng(1))
    found = codebook.learn(x, 1.0, rng(2))
    assert sorted(found.tokens.flatten().tolist()) == list(range(8))
    torch.testing.assert_close(codebook(found.tokens), x)
    assert codebook.usage.figures()["used"] == 1.0


@pytest.mark.parametrize("patience", [5, 1000])
@pytest.mark.parametrize("kind", [Nearest, Gumbel])
def test_dead_entries_come_back_to_where_vectors_are(kind, patience: int) -> None:
    """All but one entry are far from everything. With patience, that is without revival, they stay there."""
    far = 100 + torch.randn(8, 3, generator=rng(9))
    far[0] = 0
    codebook, chance = begun(kind(entries=8, patience=patience), far), rng(1)
    for _ in range(12):
        found = codebook.learn(torch.randn(64, 3, generator=chance), 1.0, chance)
    if patience == 5:
        assert len(found.tokens.unique()) > 5
        assert codebook.usage.figures()["used"] == 1.0
    else:
        assert found.tokens.unique().tolist() == [0]
        assert codebook.usage.figures()["perplexity"] == pytest.approx(1.0)


def test_entries_come_to_lie_in_the_middle_of_heaps() -> None:
    """Six heaps, and six entries that begin with one vector of each: they end in the heaps' means."""
    angle = torch.arange(6) * math.pi / 3
    middle = 4 * torch.stack([angle.cos(), angle.sin()], 1)
    codebook, chance = Nearest(entries=6).build(2, rng()), rng(1)
    codebook.learn(middle + 1.0, 0.0, chance)
    for _ in range(400):
        heap = torch.randint(6, (60,), generator=chance)
        codebook.learn(middle[heap] + 0.2 * torch.randn(60, 2, generator=chance), 0.0, chance)
    apart = torch.cdist(middle, codebook.entries)
    assert float(apart.amin(1).max()) < 0.1  # a running mean over 100 steps with 10 vectors each has 0.01; 1.4 at first
    assert codebook.usage.figures()["perplexity"] > 5.8


def test_gumbel_noise_makes_draws_of_a_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    drawn = (logits + gumbel(torch.Size([20000, 4]), rng())).argmax(-1)
    # 3 deviations of a share of 1/2 among 20000
    assert float((shares(drawn, 4) - logits.softmax(0)).abs().max()) < 3 * 0.5 / math.sqrt(20000)


def test_the_mixture_hardens_with_the_temperature() -> None:
    entries = torch.randn(4, 2, generator=rng(9))
    codebook = begun(Gumbel(entries=4, sharpness=2.0, temperature=Ramp(10.0, 1e-3)), entries)
    x = torch.randn(500, 2, generator=rng(1))
    x = x / x.square().mean().sqrt()  # so that the deviation stays at 1
    with torch.no_grad():
        soft, hard = (codebook.learn(x, progress, rng(2)).values for progress in (0.0, 1.0))
    assert float(torch.cdist(hard, entries).amin(1).quantile(0.9)) < 1e-3
    assert float(torch.cdist(soft, entries).amin(1).quantile(0.1)) > 0.1
    # A hard draw is entry k as often as softmax(-s |x - e_k|^2 / 2) says.
    wanted = (-torch.cdist(x, entries).square()).softmax(1).mean(0)
    found = shares(torch.cdist(hard, entries).argmin(1), 4)
    assert float((found - wanted).abs().max()) < 0.07  # 3 deviations of a share of 1/2 among 500


def test_gumbel_knows_no_units() -> None:
    """Vectors eight times as large make values eight times as large."""
    small, large = (Gumbel(entries=8).build(3, rng()) for _ in range(2))
    for seed in range(3):
        x = torch.randn(20, 3, generator=rng(seed))
        one, eight = small.learn(x, 0.5, rng(9)), large.learn(8 * x, 0.5, rng(9))
        torch.testing.assert_close(8 * one.values, eight.values)
        assert torch.equal(one.tokens, eight.tokens)
        torch.testing.assert_close(one.loss, eight.loss)


def test_gumbels_loss_is_how_far_the_use_is_from_even() -> None:
    entries = torch.tensor([[9.0, 0.0], [-9.0, 0.0], [0.0, 9.0], [0.0, -9.0]])
    config = Gumbel(entries=4, diversity=0.5)
    for x, lacking in ((entries, 0.0), (entries[:2], 0.5 * math.log(2)), (entries[:1], 0.5 * math.log(4))):
        assert float(begun(config, entries).learn(x, 0.0, rng()).loss.detach()) == pytest.approx(lacking, abs=1e-4)


def test_gumbels_gradients_reach_vectors_and_entries() -> None:
    codebook = begun(Gumbel(entries=8))
    x = torch.randn(6, 3, generator=rng(1), requires_grad=True)
    found = codebook.learn(x, 0.0, rng(2))
    (found.values.square().sum() + found.loss).backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(1) > 0).all())
    assert codebook.table.grad is not None
    assert bool((codebook.table.grad.abs().sum(1) > 0).all())


def test_entries_without_any_share_spoil_no_gradient() -> None:
    codebook = begun(Gumbel(entries=8, sharpness=1e4))
    x = torch.randn(6, 3, generator=rng(1), requires_grad=True)
    codebook.learn(x, 0.0, rng(2)).loss.backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_perplexity_and_shares() -> None:
    tokens = torch.tensor([[0, 0, 1], [1, 3, 3]])
    torch.testing.assert_close(shares(tokens, 5), torch.tensor([2.0, 2.0, 0.0, 2.0, 0.0]) / 6)
    assert perplexity(shares(tokens, 5)) == pytest.approx(3.0)
    assert perplexity(torch.tensor([0.9, 0.1])) == pytest.approx(0.9**-0.9 * 0.1**-0.1)


@pytest.mark.parametrize("config", BOTH)
def test_a_state_says_all(config) -> None:
    """A codebook that is put back to where it was goes on as it did."""
    first, other, x = config.build(3, rng()), config.build(3, rng(1)), torch.randn(20, 3, generator=rng(1))
    first.learn(x, 0.0, rng(2))
    other.load_state_dict(first.state_dict())
    again, same = first.learn(x + 1, 0.5, rng(3)), other.learn(x + 1, 0.5, rng(3))
    assert torch.equal(again.values, same.values)
    assert torch.equal(first.entries, other.entries)


def test_no_entries_and_no_patience_are_refused() -> None:
    for bad in (Nearest(entries=1), Gumbel(entries=0), Nearest(patience=0), Gumbel(patience=0)):
        with pytest.raises(InputError, match="at least 2 entries"):
            bad.build(3, rng())
