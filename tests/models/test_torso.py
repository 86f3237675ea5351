"""The torso's picture: what it is made of, where it may be asked, and that it follows the pose."""

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.fields.common import Networked
from nerf3d.fields.encodings import frequency
from nerf3d.kernels.mlp import mlp_reference
from nerf3d.models.torso import Torso, TorsoConfig, over

TINY = TorsoConfig(levels=2, features=3, coarsest=4, finest=9, pixel_octaves=2, pose_octaves=1, width=8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poses(frames: int = 20) -> torch.Tensor:
    return torch.randn(frames, 8, generator=rng(1)) * torch.tensor(
        [0.1, 0.1, 0.1, 5.0, 5.0, 0.0, 0.05, 0.02]
    ) + torch.tensor([3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0])


def awake() -> Torso:
    torso, chance = TINY.build(poses(), rng()), rng(9)
    with torch.no_grad():
        for parameter in torso.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=chance))
    return torso


def pixels(count: int = 100) -> torch.Tensor:
    return torch.rand(count, 2, generator=rng(2)) * 2 - 1


@torch.no_grad()
def test_it_is_premultiplied_and_asked_pixel_by_pixel():
    picture, p = awake()(poses()[3]), pixels()
    rgba = picture(p)
    assert rgba.shape == (100, 4)
    assert bool(((rgba >= 0) & (rgba <= 1)).all())
    assert bool((rgba[:, :3] <= rgba[:, 3:]).all())
    assert float(rgba.std(0).min()) > 0
    torch.testing.assert_close(picture(p[5:9]), rgba[5:9])
    assert picture(p[:0]).shape == (0, 4)


@torch.no_grad()
def test_the_networks_are_the_formula_with_nothing_folded():
    torso, p, pose = awake(), pixels(), poses()[3]
    spread = poses().std(0, correction=0)
    encoded = frequency(((pose - poses().mean(0)) / (3 * spread.clamp_min(1e-6))).clamp(-1, 1), 1).expand(100, -1)
    step = mlp_reference(torch.cat([frequency(p, 2), encoded], 1), list(torso.deformation_network))
    moved = p - pose[6:] + step
    torch.testing.assert_close(torso.move(p, pose), moved)
    unit = 0.5 + 0.5 * moved / 1.25
    looked_up = [
        torch.nn.functional.grid_sample(
            grid.permute(0, 3, 1, 2), 2 * unit[None, None] - 1, padding_mode="border", align_corners=True
        )[0, :, 0].t()
        for grid in torso.grids
    ]
    answer = torch.sigmoid(mlp_reference(torch.cat([*looked_up, encoded], 1), list(torso.color_network)))
    expected = torch.cat([answer[:, :3] * answer[:, 3:], answer[:, 3:]], 1)
    torch.testing.assert_close(torso(pose)(p), expected)


@torch.no_grad()
def test_it_stands_still_at_first_and_goes_on_beyond_the_frame():
    torso, p = TorsoConfig().build(poses(), rng()), pixels()
    assert float((torso.move(p, poses()[3]) - (p - poses()[3, 6:])).abs().max()) < 0.05
    rested = awake()
    rested.deformation_network[-1].zero_()
    picture = rested(poses()[0])
    beyond = picture(torch.tensor([[1.05, 0.0], [1.15, 0.0], [0.0, 40.0]]))
    assert bool(torch.isfinite(beyond).all())
    assert not torch.allclose(beyond[0], beyond[1])


@torch.no_grad()
def test_the_pose_matters_in_its_own_units_and_a_far_one_is_taken_as_the_border():
    torso, p = awake(), pixels()
    assert float((torso(poses()[0])(p) - torso(poses()[1])(p)).abs().max()) > 0.01
    factors = torch.tensor(
        [100.0] * 6 + [1.0] * 2
    )  # the last two are where the torso stands, in the picture's own units
    grown = TINY.build(factors * poses(), rng(5))
    grown.deformation_network, grown.color_network, grown.grids = (
        torso.deformation_network,
        torso.color_network,
        torso.grids,
    )
    torch.testing.assert_close(grown(factors * poses()[2])(p), torso(poses()[2])(p), atol=1e-3, rtol=1e-3)
    spread = poses().std(0)
    spread[6:] = 0
    far = poses().mean(0) + 4 * spread
    torch.testing.assert_close(torso(far)(p), torso(far + 1e3 * spread)(p))


def test_gradients_reach_all_parameters():
    torso = TINY.build(poses(), rng())
    (torso(poses()[3])(pixels()) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    for name, parameter in torso.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name
    assert isinstance(torso, Networked)
    assert {name for name, p in torso.named_parameters() if not any(p is q for q in torso.networks())} == {
        "grids.0",
        "grids.1",
    }


@torch.no_grad()
def test_parameters_come_from_the_given_generator_and_the_poses_travel_with_the_state():
    before = torch.get_rng_state()
    first, again = TINY.build(poses(), rng(5)), TINY.build(poses(), rng(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = TINY.build(torch.zeros(1, 8), rng(6))
    assert bool(torch.isfinite(other(torch.ones(8))(pixels())).all())  # one pose only: no spread at all
    other.load_state_dict(first.state_dict())
    assert torch.equal(other(poses()[3])(pixels()), first(poses()[3])(pixels()))


@pytest.mark.parametrize("bad", [torch.zeros(0, 8), torch.full((2, 8), float("nan"))])
def test_poses_that_are_none_are_refused(bad):
    with pytest.raises(InputError, match="pose in every training frame"):
        TINY.build(bad, rng())


def test_over_is_porter_and_duffs():
    front, behind = torch.tensor([[0.2, 0.1, 0.0, 0.25]]), torch.tensor([[0.4, 0.8, 1.0]])
    torch.testing.assert_close(over(front, behind), torch.tensor([[0.5, 0.7, 0.75]]))
    clear, solid = torch.zeros(1, 4), torch.tensor([[0.3, 0.6, 0.9, 1.0]])
    assert torch.equal(over(clear, behind), behind)
    assert torch.equal(over(solid, behind), solid[:, :3])


def test_it_learns_a_disc_that_moves_with_the_pose():
    """The first number of the pose moves a red disc sideways; a new pose between the old ones puts it in between."""
    chance = rng(3)
    seen = torch.zeros(16, 8)
    seen[:, 0] = torch.linspace(-1, 1, 16)
    torso = TorsoConfig(levels=3, finest=32, pixel_octaves=2, pose_octaves=1).build(seen, rng())
    optimizer = torch.optim.Adam(torso.parameters(), lr=1e-2)

    def disc(p: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        inside = ((p - torch.stack([0.4 * pose[0], pose[1]])).norm(dim=-1) < 0.4).float()[:, None]
        return inside * torch.tensor([1.0, 0.0, 0.0, 1.0])

    for step in range(120):
        pose, p = seen[5 * step % 16], torch.rand(256, 2, generator=chance) * 2 - 1
        loss = (torso(pose)(p) - disc(p, pose)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    p, pose = torch.rand(2000, 2, generator=chance) * 2 - 1, torch.tensor([0.6, 0, 0, 0, 0, 0, 0, 0])
    with torch.no_grad():
        right = float((torso(pose)(p) - disc(p, pose)).square().mean())
        wrong = float((torso(-pose)(p) - disc(p, pose)).square().mean())
    assert right < 0.02
    assert wrong > 3 * right
