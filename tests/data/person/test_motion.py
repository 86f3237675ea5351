"""The head wanders smoothly, the torso hardly, the eyes blink, and none of it has to do with the sound."""

import math

import torch

from nerf3d.data.person.motion import BLINK, GAP, PITCH, PIVOT, ROLL, YAW, perform, pose
from nerf3d.data.sound import RATE

SILENCE = torch.zeros(60 * RATE)


def angles(rotation: torch.Tensor) -> torch.Tensor:
    """Of rotations in degrees, by the chord."""
    chord = (rotation - torch.eye(3)).square().sum((-1, -2)).sqrt()
    return torch.rad2deg(2 * torch.asin(chord / math.sqrt(8)))


def test_without_chance_nothing_moves() -> None:
    still = perform(torch.zeros(RATE), 25, None)
    assert torch.equal(still.world_from_head, torch.eye(3, 4).expand(25, 3, 4))
    assert torch.equal(still.world_from_torso, torch.eye(3, 4).expand(25, 3, 4))
    assert float(still.blink.max()) == 0


def test_a_seed_decides() -> None:
    one, same, other = (perform(SILENCE, 250, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.world_from_head, same.world_from_head)
    assert torch.equal(one.blink, same.blink)
    assert float((one.world_from_head - other.world_from_head).abs().max()) > 0.02


def test_the_head_moves_a_few_degrees_and_smoothly() -> None:
    done = perform(SILENCE, 1500, torch.Generator().manual_seed(0))
    rotation = done.world_from_head[:, :, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(1500, 3, 3), atol=1e-5, rtol=0)
    typical = float(angles(rotation).square().mean().sqrt())
    assert abs(typical - math.hypot(YAW, PITCH, ROLL)) < 1
    assert float(angles(rotation).max()) < 20
    step = angles(rotation[1:] @ rotation[:-1].mT)
    assert float(step.mean()) > 0.05
    assert float(step.max()) < 1
    assert float(angles(done.world_from_torso[:, :, :3]).max()) < 1


def test_turns_go_about_the_neck() -> None:
    turned = pose(torch.tensor([20.0, -10.0, 5.0]), torch.zeros(3))
    pivot = torch.tensor(PIVOT)
    torch.testing.assert_close(turned[:, :3] @ pivot + turned[:, 3], pivot)
    looks = pose(torch.tensor([0.0, 30.0, 0.0]), torch.zeros(3))[:, :3] @ torch.tensor([0.0, -1.0, 0.0])
    assert float(looks[2]) < -0.4
    crown = pose(torch.tensor([0.0, 0.0, 30.0]), torch.zeros(3))[:, :3] @ torch.tensor([0.0, 0.0, 1.0])
    assert float(crown[0]) > 0.4


def test_blinks_are_short_complete_and_some_three_seconds_apart() -> None:
    shut = perform(SILENCE, 1500, torch.Generator().manual_seed(0)).blink
    closed = (shut > 0).int()
    begins = torch.nonzero(torch.diff(closed) == 1)[:, 0]
    ends = torch.nonzero(torch.diff(closed) == -1)[:, 0]
    lengths = (ends[: len(begins)] - begins[: len(ends)]) / 25
    assert float(lengths.max()) <= BLINK + 1e-6
    gaps = torch.diff(begins) / 25
    assert GAP[0] - 0.05 < float(gaps.min())
    assert float(gaps.max()) < GAP[1] + 0.05
    assert 15 < len(begins) < 27
    assert all(float(shut[b + 1 : b + 6].max()) > 0.9 for b in begins.tolist())
    assert float(shut.min()) >= 0
    assert float(shut.max()) <= 1
