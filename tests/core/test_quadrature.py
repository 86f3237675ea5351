"""The quadrature against loops that follow the formula word by word."""

import math

import torch

from nerf3d.core import Rays, Samples
from nerf3d.core.quadrature import exclusive_sum, sum_per_ray, transmittance, weights

COUNTS = (0, 3, 1, 0, 0, 7, 2, 0)


def packed(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Densities, widths, ray indices and offsets of rays with COUNTS samples."""
    rng = torch.Generator().manual_seed(seed)
    count = sum(COUNTS)
    offsets = torch.tensor([0, *torch.tensor(COUNTS).cumsum(0).tolist()])
    ray = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    return 3 * torch.rand(count, generator=rng), torch.rand(count, generator=rng), ray, offsets


def test_the_worked_example() -> None:
    half = torch.full((2,), math.log(2.0))
    offsets, one = torch.tensor([0, 2]), torch.ones(2)
    torch.testing.assert_close(transmittance(half, one, offsets), torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(weights(half, one, offsets), torch.tensor([0.5, 0.25]))


def test_against_the_double_loop() -> None:
    density, width, _, offsets = packed()
    light, weight = [], []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist()):
        for i in range(begin, end):
            before = 0.0
            for j in range(begin, i):
                before += float(density[j]) * float(width[j])
            light.append(math.exp(-before))
            weight.append(math.exp(-before) * (1 - math.exp(-float(density[i]) * float(width[i]))))
    torch.testing.assert_close(transmittance(density, width, offsets), torch.tensor(light))
    torch.testing.assert_close(weights(density, width, offsets), torch.tensor(weight))


def test_weights_and_the_light_that_is_left_are_one() -> None:
    density, width, ray, offsets = packed(1)
    opacity = sum_per_ray(weights(density, width, offsets), ray, len(COUNTS))
    left = torch.exp(-sum_per_ray(density * width, ray, len(COUNTS)))
    torch.testing.assert_close(opacity, 1 - left)


def test_sums_per_ray() -> None:
    values = torch.arange(6.0)
    offsets = torch.tensor([0, 2, 2, 5, 6])
    ray = torch.tensor([0, 0, 2, 2, 2, 3])
    torch.testing.assert_close(sum_per_ray(values, ray, 4), torch.tensor([1.0, 0.0, 9.0, 5.0]))
    torch.testing.assert_close(exclusive_sum(values, offsets), torch.tensor([0.0, 0.0, 0.0, 2.0, 5.0, 0.0]))
    assert sum_per_ray(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2).tolist() == [[0.0] * 3] * 2
    assert len(exclusive_sum(torch.zeros(0), torch.zeros(4, dtype=torch.int64))) == 0


def test_a_long_stream_loses_nothing() -> None:
    """A million samples before it, and the sum on the last ray is still exact."""
    values = torch.full((1_000_003,), 0.1)
    offsets = torch.tensor([0, 1_000_000, 1_000_003])
    last = exclusive_sum(values, offsets)[-3:]
    torch.testing.assert_close(last, torch.tensor([0.0, 0.1, 0.2]), atol=1e-7, rtol=0)


def test_gradient_of_the_weights() -> None:
    density, width, _, offsets = packed(2)
    density = density.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: weights(s, width.double(), offsets), density)


def test_samples_from_edges() -> None:
    edges = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.5, 4.5]])
    samples = Samples.from_edges(edges)
    assert samples.start.tolist() == [0.0, 1.0, 2.0, 2.5]
    assert samples.end.tolist() == [1.0, 3.0, 2.5, 4.5]
    assert samples.middle.tolist() == [0.5, 2.0, 2.25, 3.5]
    assert samples.width.tolist() == [1.0, 2.0, 0.5, 2.0]
    assert samples.ray.tolist() == [0, 0, 1, 1]
    assert samples.offsets.tolist() == [0, 2, 4]
    direction = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    rays = Rays(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 9.0]]), direction, torch.zeros(2), torch.ones(2))
    expected = torch.tensor([[0.5, 1, 0], [2, 1, 0], [0, 0, 6.75], [0, 0, 5.5]])
    torch.testing.assert_close(samples.positions(rays), expected)
