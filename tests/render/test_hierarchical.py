"""Coarse to fine: the fine samples lie where the coarse field has weight."""

import pytest
import torch
from toys import BALL_BOX, Fog, Shell, rays_to_the_middle

from nerf3d.core import Sampler
from nerf3d.core.quadrature import sum_per_ray, weights
from nerf3d.render.hierarchical import Hierarchical


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("chance", [False, True])
def test_samples_gather_at_the_shell(chance):
    """Rays from distance 3 to the middle meet the shell from 2.4 to 2.6; it is opaque, so nothing behind it counts."""
    shell = Shell(0.4, 0.6, 60.0)
    rays = rays_to_the_middle(30, misses=2)
    sampler = Hierarchical(shell, BALL_BOX, coarse_count=32, fine_count=64)
    samples = sampler(Fog(1.0), rays, rng() if chance else None)
    assert isinstance(sampler, Sampler)
    assert samples.offsets.diff().tolist() == [96] * 28 + [0] * 2
    assert bool((samples.width >= 0).all())
    coarse_interval = float(samples.proposals[0].samples.width.max())
    new = (samples.middle > 2.4 - coarse_interval) & (samples.middle < 2.6 + coarse_interval)
    assert float(new.float().sum()) > 28 * 64
    enter, leave = BALL_BOX.clip(rays)
    torch.testing.assert_close(sum_per_ray(samples.width, samples.ray, 30), leave - enter)


def test_the_union_holds_the_coarse_borders():
    rays = rays_to_the_middle(3)
    samples = Hierarchical(Fog(2.0), BALL_BOX, coarse_count=4, fine_count=5)(Fog(1.0), rays, rng())
    coarse = samples.proposals[0].samples
    for ray in range(3):
        fine = set(samples.start[samples.ray == ray].tolist()) | set(samples.end[samples.ray == ray].tolist())
        assert set(coarse.start[coarse.ray == ray].tolist()) <= fine
        assert len(fine) == 10


def test_the_proposal_trains_the_coarse_field():
    shell = Shell(0.4, 0.6, 3.0)
    rays = rays_to_the_middle(5)
    sampler = Hierarchical(shell, BALL_BOX, 16, 8)
    (proposal,) = sampler(Fog(1.0), rays, rng()).proposals
    expected = weights(
        shell.density(proposal.samples.positions(rays)), proposal.samples.width, proposal.samples.offsets
    )
    torch.testing.assert_close(proposal.weights, expected)
    proposal.weights.sum().backward()
    assert float(shell.strength.grad) > 0
    with torch.no_grad():
        assert not sampler(Fog(1.0), rays, rng()).proposals[0].weights.requires_grad


def test_a_coarse_field_that_sees_nothing_leaves_even_samples():
    rays = rays_to_the_middle(2)
    samples = Hierarchical(Fog(0.0), BALL_BOX, 4, 8)(Fog(1.0), rays, None)
    length = sum_per_ray(samples.width, samples.ray, 2)
    assert bool((samples.width < 0.126 * length[samples.ray]).all())


def test_no_ray_meets_the_space():
    rays = rays_to_the_middle(4, misses=4)
    samples = Hierarchical(Fog(1.0), BALL_BOX, 4, 8)(Fog(1.0), rays, rng())
    assert len(samples) == 0
    assert samples.offsets.tolist() == [0] * 5
    assert len(samples.proposals[0].samples) == 0
