"""Where borders lie: spacings, jitter, and inverse transform sampling against a slow, obvious loop."""

from itertools import pairwise

import pytest
import torch

from nerf3d.core import Box, Rays
from nerf3d.core.numerics import normalize
from nerf3d.core.spaces import Contracted
from nerf3d.render.edges import Curve, borders, check_range, invert, quantiles, segments

LIKE = torch.zeros((), dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spacing", ["linear", "disparity", "piecewise"])
def test_curves_run_from_near_to_far_and_back(spacing):
    curve = Curve(spacing, torch.tensor(2.0, dtype=torch.float64))
    near, far = torch.tensor([[0.1], [0.5]]).double(), torch.tensor([[10.0], [400.0]]).double()
    s = torch.linspace(0, 1, 11, dtype=torch.float64).expand(2, 11)
    t = curve.t(s, near, far)
    torch.testing.assert_close(t[:, [0, -1]], torch.cat([near, far], 1))
    assert bool((t.diff(dim=1) > 0).all())
    torch.testing.assert_close(curve.s(t, near, far), s)


def test_curves_are_what_their_names_say():
    near, far = torch.tensor([[1.0]]), torch.tensor([[4.0]])
    half = torch.tensor([[0.5]])
    assert float(Curve("linear", torch.tensor(1.0)).t(half, near, far)) == 2.5
    assert float(Curve("disparity", torch.tensor(1.0)).t(half, near, far)) == pytest.approx(1 / ((1 + 1 / 4) / 2))
    piecewise = Curve("piecewise", torch.tensor(2.0))
    # with the unit 2: g = t / 4 - 1 up to t = 2, then -1 / t
    torch.testing.assert_close(piecewise.g(torch.tensor([1.0, 2.0, 4.0])), torch.tensor([-0.75, -0.5, -0.25]))
    steps = piecewise.t(torch.linspace(0, 1, 9)[None], torch.tensor([[0.0]]), torch.tensor([[4.0]]))[0].diff()
    torch.testing.assert_close(steps[:5], steps[0].expand(5))  # 2 of 4 is reached at s = 2/3: five whole steps
    assert bool((steps[6:].diff() > 0).all())


def test_segments_leave_out_rays_that_miss():
    direction = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    origin = torch.tensor([[-3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rays = Rays(origin, direction, torch.zeros(4), torch.full((4,), torch.inf))
    part = segments(Box.cube(1.0), rays, 0.0, float("inf"), "linear")
    assert part.ray.tolist() == [0, 3]
    assert part.near.tolist() == [2.0, 0.0]
    assert part.far.tolist() == [4.0, 1.0]
    samples = part.samples(part.distance(torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.25, 1.0]])))
    assert samples.start.tolist() == [2.0, 3.0, 0.0, 0.25]
    assert samples.end.tolist() == [3.0, 4.0, 0.25, 1.0]
    assert samples.ray.tolist() == [0, 0, 3, 3]
    assert samples.offsets.tolist() == [0, 2, 2, 2, 4]
    assert segments(Box.cube(1.0), rays, 2.5, 3.0, "linear").far.tolist() == [3.0]
    everywhere = segments(Contracted(Box.cube(1.0)), rays, 0.5, 100.0, "linear")
    assert everywhere.near.tolist() == [0.5] * 4
    assert everywhere.far.tolist() == [100.0] * 4


@pytest.mark.parametrize(
    ("near", "far", "spacing", "space"),
    [
        (-1.0, 2.0, "linear", Box.cube(1.0)),
        (2.0, 2.0, "linear", Box.cube(1.0)),
        (0.0, 2.0, "disparity", Box.cube(1.0)),
        (0.0, float("inf"), "piecewise", Contracted(Box.cube(1.0))),
    ],
)
def test_impossible_ranges_are_refused(near, far, spacing, space):
    with pytest.raises(ValueError, match=r"near|far"):
        check_range(space, near, far, spacing)


def test_borders_are_regular_without_chance():
    assert borders(2, 4, LIKE, None).tolist() == [[0.0, 0.25, 0.5, 0.75, 1.0]] * 2
    assert quantiles(1, 2, LIKE, None).tolist() == [[0.25, 0.75]]


@pytest.mark.parametrize("one_per_ray", [False, True])
def test_jittered_borders_cover_everything_in_order(one_per_ray):
    s = borders(4000, 5, LIKE, rng(), one_per_ray)
    assert s.shape == (4000, 6)
    assert bool((s[:, 0] == 0).all())
    assert bool((s[:, -1] == 1).all())
    assert bool((s.diff(dim=1) >= 0).all())
    shift = s[:, 1:-1] - torch.arange(1, 5).double() / 5
    assert 0.099 < float(shift.max()) <= 0.1
    assert float(shift.mean().abs()) < 0.002
    assert float(shift.std()) == pytest.approx(0.2 / 12**0.5, rel=0.03)  # uniform of width 1/5
    together = bool((shift.std(dim=1) < 1e-12).all())
    assert together == one_per_ray


def slow_invert(edges: list[float], weights: list[float], u: float) -> float:
    """Walk along the intervals until the share u of the whole mass lies behind."""
    if sum(weights) == 0:
        weights = [b - a for a, b in pairwise(edges)]
    wanted = u * sum(weights)
    for (low, high), mass in zip(pairwise(edges), weights):
        if wanted <= mass and mass > 0:
            return low + (high - low) * wanted / mass
        wanted -= mass
    raise AssertionError("u lies above 1")


def test_invert_equals_the_loop():
    edges = torch.rand(30, 9, generator=rng(), dtype=torch.float64).sort(1).values
    weights = torch.rand(30, 8, generator=rng(1), dtype=torch.float64) ** 4
    weights[:10, 2:4] = 0.0
    weights[:5, 0] = 0.0
    weights[5:8, -1] = 0.0
    weights[8] = 0.0
    weights[9] = torch.eye(8, dtype=torch.float64)[5] * 1e-30
    u = 0.001 + 0.998 * torch.rand(30, 20, generator=rng(2), dtype=torch.float64)
    answer = invert(edges, weights, u)
    for row in range(30):
        for column in range(20):
            slow = slow_invert(edges[row].tolist(), weights[row].tolist(), float(u[row, column]))
            assert float(answer[row, column]) == pytest.approx(slow, abs=1e-9)


def test_invert_at_the_ends():
    edges = torch.tensor([[1.0, 2.0, 5.0]])
    ends = torch.tensor([[0.0, 1.0]])
    assert invert(edges, torch.tensor([[0.2, 0.7]]), ends).tolist() == [[1.0, 5.0]]
    assert invert(edges, torch.tensor([[0.0, 0.7]]), ends).tolist() == [[2.0, 5.0]]  # where mass begins


def test_invert_draws_from_the_histogram():
    edges, weights = torch.tensor([[0.0, 1.0, 1.5, 4.0]]), torch.tensor([[1.0, 6.0, 3.0]])
    drawn = invert(edges, weights, torch.rand(1, 40_000, generator=rng()))[0]
    shares = torch.histogram(drawn, bins=edges[0]).hist / 40_000
    torch.testing.assert_close(shares, weights[0] / 10, atol=0.01, rtol=0)
    inside = drawn[drawn > 1.5]
    assert float(inside.mean()) == pytest.approx(2.75, abs=0.03)  # evenly within an interval
    assert float(inside.std()) == pytest.approx(2.5 / 12**0.5, rel=0.02)


def test_single_precision_keeps_order():
    edges = torch.linspace(0, 1, 129).expand(50, -1)
    weights = torch.rand(50, 128, generator=rng()) ** 20
    drawn = invert(edges, weights, borders(50, 64, edges, rng(1)))
    assert bool((drawn.diff(dim=1) >= 0).all())
    assert bool(((drawn >= 0) & (drawn <= 1)).all())


def test_no_rays():
    rays = Rays(torch.zeros(0, 3), normalize(torch.zeros(0, 3)), torch.zeros(0), torch.zeros(0))
    part = segments(Box.cube(1.0), rays, 0.0, 1.0, "linear")
    samples = part.samples(part.distance(borders(0, 4, part.near, rng())))
    assert len(samples) == 0
    assert samples.offsets.tolist() == [0]
    assert invert(torch.zeros(0, 5), torch.zeros(0, 4), torch.zeros(0, 3)).shape == (0, 3)
