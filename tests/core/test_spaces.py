"""Boxes and the contraction of all of space."""

import pytest
import torch

from nerf3d.core import Box, Rays
from nerf3d.core.numerics import normalize, truncated_exp
from nerf3d.core.spaces import Contracted, contract, uncontract

BOX = Box(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 3.0, 2.5]))


def some_rays(count: int) -> Rays:
    rng = torch.Generator().manual_seed(0)
    origin = BOX.center + 3 * torch.randn(count, 3, generator=rng)
    toward = BOX.center + torch.randn(count, 3, generator=rng)
    near = torch.rand(count, generator=rng)
    return Rays(origin, normalize(toward - origin), near, near + 6 * torch.rand(count, generator=rng))


def test_contract_by_hand() -> None:
    """Inside the cube nothing moves; at distance 4 the border 2 is 1/4 away; infinity is at 2."""
    x = torch.tensor([[0.5, -1.0, 0.2], [4.0, 2.0, 0.0], [-10.0, 0.0, 10.0], [0.0, 1e12, 0.0]])
    y = torch.tensor([[0.5, -1.0, 0.2], [1.75, 0.875, 0.0], [-1.9, 0.0, 1.9], [0.0, 2.0, 0.0]])
    torch.testing.assert_close(contract(x), y)


def test_uncontract_is_the_inverse() -> None:
    x = 5 * torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(uncontract(contract(x)), x, rtol=1e-5, atol=1e-6)
    y = 3.98 * torch.rand(500, 3, generator=torch.Generator().manual_seed(2)) - 1.99
    torch.testing.assert_close(contract(uncontract(y)), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("space", [BOX, Contracted(BOX)], ids=["box", "contracted"])
def test_the_unit_cube_there_and_back(space: Box | Contracted) -> None:
    u = 0.98 * torch.rand(300, 3, generator=torch.Generator().manual_seed(3)) + 0.01
    torch.testing.assert_close(space.to_unit(space.from_unit(u)), u, atol=1e-5, rtol=0)


def test_where_a_contracted_space_puts_things() -> None:
    space = Contracted(Box.cube(2.0, (1.0, 0.0, 0.0)))
    x = torch.tensor([[1.0, 0.0, 0.0], [3.0, -2.0, 0.0], [9.0, 0.0, 0.0]])
    torch.testing.assert_close(space.to_unit(x), torch.tensor([[0.5, 0.5, 0.5], [0.75, 0.25, 0.5], [0.9375, 0.5, 0.5]]))
    assert bool(space.contains(1e9 * x).all())
    rays = some_rays(5)
    assert all(a is b for a, b in zip(space.clip(rays), (rays.near, rays.far)))


def test_a_box() -> None:
    assert BOX.center.tolist() == [0.0, 1.5, 2.25]
    assert BOX.size.tolist() == [2.0, 3.0, 0.5]
    cube = Box.cube(2.0, (1.0, 0.0, -1.0))
    assert (cube.low.tolist(), cube.high.tolist()) == ([-1.0, -2.0, -3.0], [3.0, 2.0, 1.0])
    x = torch.tensor([[0.0, 1.0, 2.1], [0.0, 1.0, 2.6], [-1.0, 0.0, 2.0]])
    assert BOX.contains(x).tolist() == [True, False, True]
    assert BOX.to_unit(BOX.low).tolist() == [0.0] * 3
    assert BOX.to_unit(BOX.high).tolist() == [1.0] * 3


def test_clip_against_looking_at_every_point() -> None:
    rays = some_rays(300)
    enter, leave = BOX.clip(rays)
    t = torch.linspace(0, 12, 24001)
    hits = 0
    for i in range(len(rays)):
        inside = BOX.contains(rays.origin[i] + t[:, None] * rays.direction[i])
        inside &= (t >= rays.near[i]) & (t <= rays.far[i])
        if not bool(inside.any()):
            assert float(leave[i] - enter[i]) < 1e-3
            continue
        hits += 1
        assert float(enter[i]) == pytest.approx(float(t[inside][0]), abs=1e-3)
        assert float(leave[i]) == pytest.approx(float(t[inside][-1]), abs=1e-3)
    assert 60 < hits < 280


def test_clip_of_rays_along_an_axis() -> None:
    """Parallel to two pairs of sides: through the middle, and beside the box."""
    origin = torch.tensor([[-5.0, 1.0, 2.25], [-5.0, 4.0, 2.25], [0.0, 1.0, 2.25]])
    direction = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3)
    enter, leave = BOX.clip(Rays(origin, direction, torch.zeros(3), torch.full((3,), torch.inf)))
    assert enter[[0, 2]].tolist() == [4.0, 0.0]
    assert leave[[0, 2]].tolist() == [6.0, 1.0]
    assert float(leave[1]) <= float(enter[1])


def test_normalize() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    y = normalize(x)
    assert y.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    y.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_truncated_exp() -> None:
    x = torch.tensor([-100.0, 0.0, 2.0, 100.0], requires_grad=True)
    y = truncated_exp(x)
    torch.testing.assert_close(y, torch.exp(torch.tensor([-100.0, 0.0, 2.0, 15.0])))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.exp(torch.tensor([-15.0, 0.0, 2.0, 15.0])))
