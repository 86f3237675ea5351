import math

import pytest
import torch
from torch import Tensor

from nerf3d.data.world import distance as d


def at(shape: d.Distance, *point: float) -> float:
    return float(shape(torch.tensor([point]))[0])


POINTS = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 1

# Shape, a point, and its distance by hand; negative inside.
BY_HAND = [
    (d.ball(0.5), (0.0, 0.0, 2.0), 1.5),
    (d.ball(0.5), (0.0, 0.3, 0.4), 0.0),
    (d.block(0.5, 0.4, 0.3), (1.0, 0.0, 0.0), 0.5),
    (d.block(0.5, 0.4, 0.3), (0.0, 0.0, 0.0), -0.3),
    (d.block(0.5, 0.4, 0.3), (0.8, 0.8, 0.0), 0.5),
    (d.block(0.5, 0.4, 0.3, 0.1), (0.8, 0.0, 0.0), 0.3),
    (d.block(0.5, 0.5, 0.5, 0.1), (0.5, 0.5, 0.0), 0.1 * (math.sqrt(2) - 1)),
    (d.cylinder(0.4, 0.6), (0.0, 0.0, 1.0), 0.4),
    (d.cylinder(0.4, 0.6), (0.6, 0.8, 0.0), 0.6),
    (d.cylinder(0.4, 0.6), (0.7, 0.0, 1.0), 0.5),
    (d.cylinder(0.4, 0.6), (0.0, 0.0, 0.1), -0.4),
    (d.cone(0.5, 0.5, 0.6), (0.8, 0.0, 0.2), 0.3),  # as wide above as below: a cylinder
    (d.cone(0.5, 0.1, 0.6), (0.0, 0.0, -1.0), 0.4),
    (d.pyramid(0.6, 0.5), (0.0, 0.0, -0.9), 0.4),
    (d.pyramid(0.6, 0.5), (0.0, 0.0, 0.5), 0.0),
    (d.ring(0.6, 0.2), (1.0, 0.0, 0.0), 0.2),
    (d.ring(0.6, 0.2), (0.0, 0.0, 0.0), 0.4),
    (d.ring(0.6, 0.2), (0.0, 0.6, 0.0), -0.2),
    (d.rod((0, 0, 0), (0, 0, 1), 0.1), (0.0, 0.5, 0.5), 0.4),
    (d.rod((0, 0, 0), (0, 0, 1), 0.1), (0.0, 0.0, 1.5), 0.4),
    (d.prism([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], 0.2), (0.9, 0.0, 0.0), 0.4),
    (d.prism([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], 0.2), (0.0, 0.5, 0.0), 0.3),
    (d.prism([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], 0.2), (0.0, 0.0, 0.0), -0.2),
    (d.ellipsoid(0.3, 0.3, 0.3), (0.0, 0.7, 0.0), 0.4),  # a ball
    (d.moved(d.ball(0.5), 1, 0, 0), (1.0, 0.0, 0.7), 0.2),
    (d.scaled(d.ball(0.5), 2), (0.0, 0.0, 3.0), 2.0),
    (d.turned(d.rod((0, 0, 0), (0, 0, 1), 0.1), "x", 90), (0.0, -1.0, 0.0), -0.1),  # z goes to -y
    (d.turned(d.rod((0, 0, 0), (0, 0, 1), 0.1), "y", 90), (1.0, 0.0, 0.0), -0.1),  # z goes to x
    (d.turned(d.rod((0, 0, 0), (1, 0, 0), 0.1), "z", 90), (0.0, 1.0, 0.0), -0.1),  # x goes to y
    (d.mirrored(d.moved(d.ball(0.2), 0.6, 0, 0), "x"), (-0.6, 0.0, 0.0), -0.2),
    (d.union(d.ball(0.2), d.moved(d.ball(0.2), 1, 0, 0)), (0.7, 0.0, 0.0), 0.1),
    (d.cut(d.ball(1), d.ball(0.5)), (0.0, 0.0, 0.4), 0.1),
    (d.common(d.ball(0.5), d.moved(d.block(1, 1, 1), 1, 0, 0)), (-0.3, 0.0, 0.0), 0.3),
]


@pytest.mark.parametrize(("shape", "point", "expected"), BY_HAND)
def test_distances_by_hand(shape: d.Distance, point: tuple[float, float, float], expected: float) -> None:
    assert at(shape, *point) == pytest.approx(expected, abs=2e-5)


def test_a_melted_union_fills_the_seam_and_nothing_else() -> None:
    one, other = d.moved(d.ball(0.5), -0.4, 0, 0), d.moved(d.ball(0.5), 0.4, 0, 0)
    hard, soft = d.union(one, other)(POINTS), d.melted(0.2, one, other)(POINTS)
    apart = (one(POINTS) - other(POINTS)).abs() > 0.2
    assert torch.equal(soft[apart], hard[apart])
    assert bool((soft[~apart] <= hard[~apart]).all())
    # Where both are equally far, Quilez' polynomial takes away a quarter of the softness.
    assert at(d.melted(0.2, one, other), 0, 0, 0.3) == pytest.approx(at(one, 0, 0, 0.3) - 0.05, abs=1e-6)


CONCAVE = [(0.0, 0.0), (0.8, -0.6), (0.0, 0.8), (-0.8, -0.6)]


@pytest.mark.parametrize("corners", [CONCAVE, CONCAVE[::-1]], ids=["clockwise", "counter-clockwise"])
def test_a_prism_may_be_concave_and_run_either_way_round(corners: list[tuple[float, float]]) -> None:
    arrow = d.prism(corners, 0.3)
    assert at(arrow, 0, 0, 0.4) < 0
    assert at(arrow, 0.5, 0, -0.3) < 0  # in the wing
    assert at(arrow, 0, 0, -0.3) > 0  # in the notch between them
    assert at(arrow, 0.9, 0, 0.3) > 0


SMOOTH = {
    "ball": d.ball(0.6),
    "ellipsoid": d.ellipsoid(0.5, 0.7, 0.4),
    "block": d.block(0.5, 0.4, 0.6, 0.05),
    "cylinder": d.cylinder(0.4, 0.6),
    "cone": d.cone(0.6, 0.1, 0.6),
    "pyramid": d.pyramid(0.6, 0.5),
    "ring": d.ring(0.6, 0.2),
    "rod": d.rod((-0.3, 0, -0.2), (0.4, 0.3, 0.5), 0.2),
    "prism": d.prism(CONCAVE, 0.3),
    "melted": d.melted(0.2, d.ball(0.5), d.moved(d.ball(0.4), 0.5, 0, 0)),
    "turned": d.turned(d.block(0.5, 0.4, 0.6), "y", 30),
    "scaled": d.scaled(d.cylinder(0.4, 0.6), 0.7),
}


def gradient(shape: d.Distance, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(shape(x).sum(), x)
    return slope


@pytest.mark.parametrize("name", SMOOTH)
def test_near_the_surface_a_distance_grows_as_fast_as_one_walks(name: str) -> None:
    near = POINTS[SMOOTH[name](POINTS).abs() < 0.05]
    assert len(near) > 50
    norm = gradient(SMOOTH[name], near).norm(dim=-1)
    assert float(norm.median()) == pytest.approx(1, abs=0.03)
    assert float(norm.max()) < 1.15
    assert float(norm.min()) > 0.5  # where a seam was filled


@pytest.mark.parametrize("name", SMOOTH)
def test_a_distance_never_claims_much_more_than_the_way_to_the_surface(name: str) -> None:
    """From outside, a step of 0.8 of it must not end inside: that is what the tracer relies on."""
    shape = SMOOTH[name]
    outside = POINTS[shape(POINTS) > 0]
    direction = torch.nn.functional.normalize(
        torch.randn(len(outside), 3, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    there = outside + 0.8 * shape(outside)[:, None] * direction
    assert float(shape(there).min()) > -1e-5
