"""The torso's way through a film, against frames whose shifts are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nerf3d.data.portrait.shoulders import follow_torso

SIDE, COUNT = 96, 40


def cloth() -> Tensor:
    """Something woven, larger than a frame."""
    noise = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (2 * SIDE, 2 * SIDE), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)


def shifts() -> Tensor:
    """In pixels, to the right and down: smooth, and at times far."""
    time = torch.linspace(0, 6, COUNT)
    return torch.stack([7 * torch.sin(time), 3 * torch.cos(1.3 * time)], -1)


def frame(index: int) -> Tensor:
    """The lower half is cloth, moved; a light that grows brighter; a head that moves otherwise above it."""
    dx, dy = shifts()[index].tolist()
    row, column = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    place = torch.stack([column - dx, row - dy], -1) / SIDE - 0.5
    picture = 40 + 150 * F.grid_sample(cloth()[None, None], place[None], align_corners=False)[0, 0] + 0.3 * index
    return torch.where(torso(index), picture, torch.full_like(picture, 90.0)).round().to(torch.uint8)


def torso(index: int) -> Tensor:
    dy = float(shifts()[index, 1])
    return (torch.arange(SIDE)[:, None] > 0.45 * SIDE + dy).expand(SIDE, SIDE)


def test_it_is_followed_to_a_fraction_of_a_pixel() -> None:
    found = follow_torso(frame, torso, torch.arange(COUNT).float()) * SIDE
    true = shifts()
    assert (found - found.median(0).values - (true - true.median(0).values)).abs().max() < 0.35


def test_without_a_torso_nothing_is_said() -> None:
    nothing = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    assert bool(follow_torso(frame, lambda index: nothing, torch.arange(COUNT).float()).isnan().all())


def test_plain_cloth_stands_still() -> None:
    plain = torch.full((SIDE, SIDE), 90, dtype=torch.uint8)
    found = follow_torso(lambda index: plain, torso, torch.arange(COUNT).float())
    assert found.abs().max().item() == pytest.approx(0, abs=1e-6)
