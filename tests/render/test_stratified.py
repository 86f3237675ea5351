"""Stratified samples: coverage, order, chance."""

import pytest
import torch
from toys import BALL_BOX, Fog, rays_to_the_middle

from nerf3d.core import Box, Sampler
from nerf3d.core.quadrature import sum_per_ray, weights
from nerf3d.core.spaces import Contracted
from nerf3d.render.stratified import Stratified


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spacing", ["linear", "disparity", "piecewise"])
@pytest.mark.parametrize("chance", [False, True])
def test_fog_has_its_exact_opacity(spacing, chance):
    """Intervals cover the box without a gap, so constant density is integrated exactly: 1 - exp(-density length)."""
    rays = rays_to_the_middle(20, misses=3)
    sampler = Stratified(BALL_BOX, 7, near=0.1, spacing=spacing)
    samples = sampler(Fog(0.6), rays, rng() if chance else None)
    assert isinstance(sampler, Sampler)
    assert len(samples) == 17 * 7
    assert samples.offsets.diff().tolist() == [7] * 17 + [0] * 3
    w = weights(torch.full((len(samples),), 0.6), samples.width, samples.offsets)
    opacity = sum_per_ray(w, samples.ray, 20)
    enter, leave = BALL_BOX.clip(rays)
    torch.testing.assert_close(opacity, torch.where(leave > enter, 1 - torch.exp(-0.6 * (leave - enter)), 0.0))
    assert bool(BALL_BOX.contains(samples.positions(rays)).all())


def test_without_chance_intervals_are_equal():
    rays = rays_to_the_middle(1)
    samples = Stratified(Box.cube(100.0), 4, near=1.0, far=3.0)(Fog(1.0), rays, None)
    assert samples.start.tolist() == [1.0, 1.5, 2.0, 2.5]
    assert samples.end.tolist() == [1.5, 2.0, 2.5, 3.0]
    assert samples.ray.tolist() == [0, 0, 0, 0]


def test_disparity_has_equal_steps_of_the_inverse():
    space = Contracted(Box.cube(1.0))
    samples = Stratified(space, 5, near=0.5, far=50.0, spacing="disparity")(Fog(1.0), rays_to_the_middle(1), None)
    steps = (1 / samples.start - 1 / samples.end).tolist()
    assert steps == pytest.approx([(2 - 1 / 50) / 5] * 5, rel=1e-4)


def test_same_chance_same_samples():
    rays = rays_to_the_middle(4)
    sampler = Stratified(BALL_BOX, 5)
    first, again, other = (sampler(Fog(1.0), rays, rng(seed)).start for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_centres_reach_everywhere():
    """In units of a quarter of a stratum: everywhere, but of the strata at the ends only the middle half."""
    rays = rays_to_the_middle(1)[torch.zeros(4000, dtype=torch.int64)]
    sampler = Stratified(Box.cube(100.0), 4, near=1.0, far=5.0)
    middle = sampler(Fog(1.0), rays, rng()).middle
    share = torch.histogram(middle, bins=16, range=(1.0, 5.0)).hist / len(middle)
    assert float(share[4:12].min()) > 0.02
    assert float(share[[1, 2, 13, 14]].min()) > 0.1
    assert float(share[[0, 3, 12, 15]].max()) == 0.0


def test_gradients_pass_from_positions_to_rays_only():
    rays = rays_to_the_middle(3)
    rays.origin.requires_grad_()
    samples = Stratified(BALL_BOX, 4)(Fog(1.0), rays, rng())
    assert not samples.start.requires_grad
    assert samples.positions(rays).requires_grad


def test_impossible_range_is_refused_at_once():
    with pytest.raises(ValueError, match="near"):
        Stratified(BALL_BOX, 4, near=2.0, far=1.0)
