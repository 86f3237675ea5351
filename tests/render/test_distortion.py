"""The running sums against the double sum."""

import pytest
import torch

from nerf3d.render.distortion import distortion


def slow_distortion(start: list[float], end: list[float], weights: list[float]) -> float:
    """Mip-NeRF 360, equation 15, as it is printed."""
    total = 0.0
    for a, b, w in zip(start, end, weights):
        for c, d, v in zip(start, end, weights):
            total += w * v * abs((a + b) / 2 - (c + d) / 2)
        total += w * w * (b - a) / 3
    return total


def packed(counts: list[int], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Random sorted intervals, with gaps between some, for rays with these numbers of them."""
    rng = torch.Generator().manual_seed(0)
    edges = [torch.rand(2 * count, generator=rng, dtype=dtype).sort().values for count in counts]
    start, end = torch.cat([e[0::2] for e in edges]), torch.cat([e[1::2] for e in edges])
    weights = torch.rand(sum(counts), generator=rng, dtype=dtype) / 5
    ray = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return start, end, weights, ray, torch.tensor([0, *counts]).cumsum(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_the_double_sum(dtype, tolerance):
    counts = [5, 0, 1, 40, 0]
    start, end, weights, ray, offsets = packed(counts, dtype)
    answer = distortion(start, end, weights, ray, offsets)
    for k, (low, high) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist())):
        slow = slow_distortion(start[low:high].tolist(), end[low:high].tolist(), weights[low:high].tolist())
        assert float(answer[k]) == pytest.approx(slow, rel=tolerance, abs=tolerance)


def test_worked_example():
    start, end = torch.tensor([0.0, 0.8]), torch.tensor([0.2, 1.0])
    ray, offsets = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 2])
    assert float(distortion(start, end, torch.tensor([0.5, 0.5]), ray, offsets)) == pytest.approx(0.4 + 0.1 / 3)


def test_its_gradient_is_the_double_sums():
    start, end, weights, ray, offsets = packed([6, 3], torch.float64)
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: distortion(start, end, w, ray, offsets), (weights,))


def test_gathering_weight_in_one_place_lowers_it():
    start = torch.arange(8.0) / 8
    ray, offsets = torch.zeros(8, dtype=torch.int64), torch.tensor([0, 8])
    spread, gathered = torch.full((8,), 1 / 8), torch.eye(8)[3]
    values = [float(distortion(start, start + 1 / 8, w, ray, offsets)) for w in (spread, gathered)]
    assert values[1] < 0.2 * values[0]


def test_no_rays_and_no_samples():
    none, no_ray = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    assert distortion(none, none, none, no_ray, torch.tensor([0])).shape == (0,)
    assert distortion(none, none, none, no_ray, torch.tensor([0, 0])).tolist() == [0.0]
