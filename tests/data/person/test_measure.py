"""The measurement by colours agrees with the truth, on sharp pictures and on blurred ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nerf3d.data.person.anatomy import Expression
from nerf3d.data.person.measure import measured
from nerf3d.data.person.motion import pose
from nerf3d.data.person.portrait import camera, portrait
from nerf3d.data.person.trace import Scene

COUNT = 14


@pytest.fixture(scope="module")
def shown() -> tuple[np.ndarray, list[torch.Tensor]]:
    """Random expressions in random poses, and their pictures."""
    rng = torch.Generator().manual_seed(5)
    truth = torch.rand(COUNT, 3, generator=rng)
    truth[:, 1] *= 0.9
    truth[:, 2] = torch.tensor([0.0, 0.0, 0.0, 0.5, 1.0]).repeat(3)[:COUNT]
    turns = torch.randn(COUNT, 3, generator=rng) * torch.tensor([5.0, 3.0, 2.5])
    still = pose(torch.zeros(3), torch.zeros(3))
    pictures = [
        portrait(Scene(Expression(*face.tolist()), pose(turn, torch.zeros(3)), still), camera(144)).picture
        for face, turn in zip(truth, turns)
    ]
    return truth.numpy(), pictures


@pytest.mark.parametrize("blur", [0, 1])
def test_it_agrees_with_the_truth(shown: tuple[np.ndarray, list[torch.Tensor]], blur: int) -> None:
    truth, pictures = shown
    found = []
    for picture in pictures:
        soft = F.avg_pool2d(picture.permute(2, 0, 1)[None], 2 * blur + 1, 1, blur)[0].permute(1, 2, 0)
        seen = measured(soft)
        found.append((seen.opening, seen.rounding, seen.blink))
    agreement = [float(np.corrcoef(np.array(found)[:, i], truth[:, i])[0, 1]) for i in range(3)]
    assert agreement[0] > 0.95
    assert agreement[1] > 0.85
    assert agreement[2] > 0.95
    assert float(np.abs(np.array(found)[:, 0] - truth[:, 0]).mean()) < 0.1 + 0.05 * blur  # blurred lips are thinner


def test_no_mouth_no_number() -> None:
    seen = measured(torch.full((64, 64, 3), 0.5))
    assert math.isnan(seen.opening)
    assert math.isnan(seen.rounding)
    assert math.isnan(seen.blink)
