"""The losses of a surface, against what is known in closed form."""

import math

import pytest
import torch

from nerf3d.core import Box, Rays, Samples
from nerf3d.fields.sdf import SignedDistance, SignedDistanceField
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.tasks.fit.losses import EIKONAL_POINTS, eikonal, mask

BOX = Box(torch.tensor([0.5, -1.0, -1.0]), torch.tensor([2.5, 1.0, 1.0]))  # the ball's centre is not in it
NONE = Samples(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))


def ball() -> SignedDistanceField:
    config = SignedDistance(GridLayout(levels=3, features=2, log2_table_size=10, coarsest=16, finest=256), width=8)
    return config.build(Box.cube(4.0), torch.Generator().manual_seed(0))


def rays(count: int = 2) -> Rays:
    origin = torch.tensor([[3.0, 0.2, 0.1]]).expand(count, 3)
    return Rays(
        origin, torch.tensor([[-1.0, 0.0, 0.0]]).expand(count, 3), torch.zeros(count), torch.full((count,), 9.0)
    )


def test_an_exact_distance_has_no_eikonal_loss() -> None:
    samples = Samples.from_edges(torch.linspace(0.6, 2.4, 21).expand(2, 21))
    loss = eikonal(ball(), rays(), samples, BOX, torch.Generator().manual_seed(0))
    assert float(loss.detach()) < 1e-5


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_eikonal_loss_of_a_multiple_of_a_distance(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    field = ball()
    slope = field._slope
    monkeypatch.setattr(field, "_slope", lambda u: factor * slope(u))
    loss = eikonal(field, rays(1), NONE, BOX, torch.Generator().manual_seed(0))
    assert float(loss.detach()) == pytest.approx((factor - 1) ** 2, rel=1e-3)


def test_half_of_the_points_lie_on_the_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    field, asked = ball(), []
    gradient = field.gradient
    monkeypatch.setattr(field, "gradient", lambda x: asked.append(x) or gradient(x))
    samples = Samples.from_edges(torch.linspace(0.6, 2.4, 21).expand(2, 21))
    eikonal(field, rays(), samples, BOX, torch.Generator().manual_seed(0))
    eikonal(field, rays(1), NONE, BOX, torch.Generator().manual_seed(0))
    both, alone = asked
    on = (both[:, 1:] == torch.tensor([0.2, 0.1])).all(-1)
    assert both.shape == (2 * EIKONAL_POINTS, 3)
    assert int(on.sum()) == EIKONAL_POINTS
    assert bool(BOX.contains(both).all())
    assert alone.shape == (EIKONAL_POINTS, 3)


def test_the_eikonal_loss_leads_to_a_distance() -> None:
    """A field that was spoilt becomes one of slope 1 again by this loss alone."""
    field = ball()
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in field.distance_network:
            weight.add_(0.5 * torch.randn(weight.shape, generator=chance))
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = eikonal(field, rays(1), NONE, BOX, chance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


def test_the_mask_loss_is_the_cross_entropy() -> None:
    opacity = torch.tensor([0.2, 0.9, 0.7], requires_grad=True)
    alpha, usable = torch.tensor([0.0, 1.0, 0.25]), torch.tensor([1.0, 1.0, 0.0])
    loss = mask(opacity, alpha, usable)
    assert float(loss.detach()) == pytest.approx(-(math.log(0.8) + math.log(0.9)) / 2)
    (gradient,) = torch.autograd.grad(loss, opacity)
    assert gradient.tolist() == pytest.approx([0.5 / 0.8, -0.5 / 0.9, 0.0])
    full = mask(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), torch.ones(2))
    assert float(full) == pytest.approx(math.log(1000), rel=1e-3)  # never infinite
    assert float(mask(opacity, alpha, torch.zeros(3)).detach()) == 0.0
