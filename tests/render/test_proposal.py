"""Proposal networks: where the rounds look, how they are annealed, and the loss that teaches them."""

import math
from dataclasses import replace

import pytest
import torch
from toys import BALL_BOX, Fog, Shell, rays_to_the_middle

from nerf3d.core import Box, Sampler, Samples
from nerf3d.core.quadrature import sum_per_ray, weights
from nerf3d.core.samples import Proposal
from nerf3d.core.spaces import Contracted
from nerf3d.render.proposal import ProposalNetworks, ProposalSampler, bound, interlevel

OPEN = Contracted(Box.cube(1.0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_rounds(first, second, space=OPEN) -> ProposalSampler:
    return ProposalNetworks(counts=(64, 32), final_count=16).build(space, (first, second))


@pytest.mark.parametrize("chance", [False, True])
def test_samples_gather_at_the_shell(chance):
    """From distance 3 the shell is met between 2.4 and 2.6."""
    shell = Shell(0.4, 0.6, 60.0)
    sampler = two_rounds(shell, shell)
    rays = rays_to_the_middle(20)
    samples = sampler(Fog(1.0), rays, rng() if chance else None)
    assert isinstance(sampler, Sampler)
    assert samples.offsets.diff().tolist() == [16] * 20
    assert [len(p.samples) for p in samples.proposals] == [20 * 64, 20 * 32]
    inside = ((samples.middle > 2.35) & (samples.middle < 2.65)).float().mean()
    even = replace(sampler, fields=(Fog(0.0), Fog(0.0)))(Fog(1.0), rays, None)
    assert float(inside) > 0.5
    assert float(((even.middle > 2.35) & (even.middle < 2.65)).float().mean()) < 0.1


def test_all_rounds_cover_everything():
    sampler = two_rounds(Shell(0.4, 0.6, 60.0), Fog(0.3))
    assert (sampler.near, sampler.far) == (0.05, 1000.0)
    samples = sampler(Fog(1.0), rays_to_the_middle(5), rng())
    for part in (samples, *(p.samples for p in samples.proposals)):
        torch.testing.assert_close(sum_per_ray(part.width, part.ray, 5), torch.full((5,), 1000.0 - 0.05))
        assert bool((part.width >= 0).all())


def test_range_grows_with_the_focus():
    sampler = ProposalNetworks(counts=(4,)).build(Contracted(Box.cube(3.0)), (Fog(1.0),))
    assert (sampler.near, sampler.far) == (pytest.approx(0.15), pytest.approx(3000.0))


def test_rays_that_miss_a_box_have_no_samples_in_any_round():
    rays = rays_to_the_middle(6, misses=2)
    samples = two_rounds(Fog(1.0), Fog(1.0), BALL_BOX)(Fog(1.0), rays, rng())
    for part in (samples, *(p.samples for p in samples.proposals)):
        assert part.offsets.diff()[-2:].tolist() == [0, 0]
        assert int(part.offsets.diff()[:4].min()) > 0
    none = two_rounds(Fog(1.0), Fog(1.0), BALL_BOX)(Fog(1.0), rays[torch.tensor([4, 5])], rng())
    assert len(none) == 0
    assert interlevel(none, torch.zeros(0)).tolist() == [0.0, 0.0]


def test_annealing_follows_equation_18():
    sampler = two_rounds(Fog(1.0), Fog(1.0))
    assert sampler.exponent == 1.0
    assert sampler.at(0.0).exponent == 0.0
    assert sampler.at(0.1).exponent == pytest.approx(10 * 0.1 / (9 * 0.1 + 1))
    assert sampler.at(0.0).at(1.0) == sampler


def test_at_the_beginning_weights_are_not_believed():
    rays = rays_to_the_middle(3)
    seeing, blind = two_rounds(Shell(0.4, 0.6, 60.0), Shell(0.4, 0.6, 60.0)), two_rounds(Fog(0.0), Fog(0.0))
    torch.testing.assert_close(seeing.at(0.0)(Fog(1.0), rays, None).start, blind(Fog(1.0), rays, None).start)
    assert not torch.allclose(seeing.at(0.5)(Fog(1.0), rays, None).start, blind(Fog(1.0), rays, None).start)


def test_fields_and_rounds_must_match():
    with pytest.raises(ValueError, match="2 rounds"):
        ProposalNetworks(counts=(4, 4)).build(OPEN, (Fog(1.0),))


def test_normalized_distance():
    s = two_rounds(Fog(1.0), Fog(1.0)).normalized(torch.tensor([0.05, 1.0, 1000.0]))
    low, high = 0.05 / 2, 1 - 1 / 2000
    torch.testing.assert_close(s, torch.tensor([0.0, (0.5 - low) / (high - low), 1.0]))


def histogram(counts: list[int], seed: int, gaps: bool) -> tuple[Samples, torch.Tensor]:
    """Random sorted intervals and weights, for rays with these numbers of intervals."""
    chance = rng(seed)
    start, end = [], []
    for count in counts:
        edges = (3 * torch.rand(2 * count if gaps else count + 1, generator=chance)).sort().values
        start.append(edges[0::2] if gaps else edges[:-1])
        end.append(edges[1::2] if gaps else edges[1:])
    ray = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    weights = torch.rand(sum(counts), generator=chance) / 4
    return Samples(torch.cat(start), torch.cat(end), ray, offsets), weights


@pytest.mark.parametrize("gaps", [False, True])
def test_bound_is_the_sum_over_what_overlaps(gaps):
    fine, _ = histogram([6, 3, 0, 4, 12], seed=1, gaps=gaps)
    coarse, coarse_weights = histogram([4, 0, 2, 1, 7], seed=2, gaps=gaps)
    answer = bound(fine.start, fine.end, fine.ray, Proposal(coarse, coarse_weights))
    touched = 0
    for i in range(len(fine)):
        slow = 0.0
        for j in range(len(coarse)):
            overlap = coarse.start[j] < fine.end[i] and coarse.end[j] > fine.start[i]
            if coarse.ray[j] == fine.ray[i] and overlap:
                slow += float(coarse_weights[j])
        touched += slow > 0
        assert float(answer[i]) == pytest.approx(slow, abs=1e-6)
    assert 0 < touched < len(fine)


def test_bound_on_many_rays_keeps_its_digits():
    count = 20_000
    edges = torch.linspace(0, 1000, 5).expand(count, -1)
    samples = Samples.from_edges(edges)
    w = torch.rand(len(samples), generator=rng())
    torch.testing.assert_close(
        bound(samples.start, samples.end, samples.ray, Proposal(samples, w)), w, atol=1e-6, rtol=0
    )


def test_interlevel_worked_example():
    """Where the field has .5 the proposal allows .2, which costs (.5 - .2)^2 / .5; the rest is bounded."""
    proposal = Proposal(Samples.from_edges(torch.tensor([[0.0, 1.0, 2.0]])), torch.tensor([0.2, 0.6]))
    fine = Samples.from_edges(torch.tensor([[0.0, 1.0, 1.5, 2.0]]), (proposal,))
    loss = interlevel(fine, torch.tensor([0.5, 0.25, 0.1]))
    assert loss.tolist() == pytest.approx([0.09 / 0.5], rel=1e-5)


def test_interlevel_is_zero_for_the_true_histogram_and_teaches_only_proposals():
    fine, fine_weights = histogram([5, 8], seed=1, gaps=False)
    fine_weights.requires_grad_()
    same = replace(fine, proposals=(Proposal(fine, fine_weights.detach()),))
    assert float(interlevel(same, fine_weights).sum()) < 1e-9
    low = (0.5 * fine_weights.detach()).requires_grad_()
    interlevel(replace(fine, proposals=(Proposal(fine, low),)), fine_weights).sum().backward()
    assert fine_weights.grad is None
    assert bool((low.grad < 0).all())  # more weight would lower the loss


def test_a_proposal_learns_where_the_field_is():
    """The proposal is a histogram over radius, told only by `interlevel` about a shell between 0.4 and 0.6."""

    class Radial(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = torch.nn.Parameter(torch.zeros(20))

        def density(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.softplus(self.raw)[(10 * x.norm(dim=-1)).long().clamp(max=19)]

    proposal, truth = Radial(), Shell(0.4, 0.6, 30.0)
    rays = rays_to_the_middle(64)
    sampler = ProposalNetworks(counts=(32,), final_count=16).build(BALL_BOX, (proposal,))
    optimizer = torch.optim.Adam(proposal.parameters(), lr=0.2)
    chance, losses = rng(), []
    for step in range(60):
        samples = sampler.at(step / 60)(truth, rays, chance)
        w = weights(truth.density(samples.positions(rays)), samples.width, samples.offsets).detach()
        loss = interlevel(samples, w).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert math.fsum(losses[-5:]) < 0.2 * math.fsum(losses[:5])
    assert bool((proposal.raw[4:6].detach() > proposal.raw[8:12].detach().max()).all())
