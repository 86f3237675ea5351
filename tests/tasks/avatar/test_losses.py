"""Losses beside colour, against closed forms and slow sums."""

from inspect import unwrap

import pytest
import torch

from nerf3d.core import Box, Rays, Rendering, Samples
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.models.condition import Condition
from nerf3d.models.head import HeadConfig
from nerf3d.tasks.avatar import losses

NAN = float("nan")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rendering(counts: list[int], seed: int = 0) -> tuple[Rays, Rendering]:
    """Rays along z with so many samples between 1 and 3."""
    chance = rng(seed)
    starts, ends, ray = [], [], []
    for index, count in enumerate(counts):
        edges = (1 + 2 * torch.rand(2 * count, generator=chance)).sort().values
        starts.append(edges[::2])
        ends.append(edges[1::2])
        ray.append(torch.full((count,), index))
    offsets = torch.tensor([0, *counts]).cumsum(0)
    samples = Samples(torch.cat(starts), torch.cat(ends), torch.cat(ray), offsets)
    weights = torch.rand(len(samples), generator=chance) / max(counts)
    n = len(counts)
    direction = torch.tensor([0.0, 0.0, 1.0]).expand(n, 3)
    rays = Rays(torch.tensor([0.0, 0.0, -2.0]).expand(n, 3), direction, torch.zeros(n), torch.full((n,), torch.inf))
    return rays, Rendering(torch.zeros(n, 3), torch.zeros(n), torch.zeros(n), weights, samples)


def test_standardised_columns_have_mean_0_and_deviation_1() -> None:
    values = torch.randn(50, 2, generator=rng()) * torch.tensor([3.0, 0.1]) + torch.tensor([7.0, -2.0])
    values[[3, 8, 9], 1] = NAN
    made = losses.standardised(values)
    known = made[:, 1][~made[:, 1].isnan()]
    assert torch.equal(made.isnan(), values.isnan())
    for column in (made[:, 0], known):
        assert float(column.mean()) == pytest.approx(0, abs=1e-5)
        assert float(column.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert torch.corrcoef(torch.stack([made[:, 0], values[:, 0]]))[0, 1] > 0.9999


def test_standardised_columns_without_numbers_or_without_change() -> None:
    made = losses.standardised(torch.tensor([[NAN, 2.0], [NAN, 2.0]]))
    assert bool(made[:, 0].isnan().all())
    assert made[:, 1].tolist() == [0.0, 0.0]


def test_a_mouth_that_is_not_known_teaches_nothing() -> None:
    guess = torch.tensor([1.0, 2.0], requires_grad=True)
    assert float(losses.mouth(guess.detach(), torch.tensor([0.0, 4.0]))) == 2.5
    half = losses.mouth(guess, torch.tensor([NAN, 4.0]))
    assert float(half.detach()) == 4.0
    half.backward()
    assert guess.grad is not None
    assert guess.grad.tolist() == [0.0, -4.0]
    guess.grad = None
    nothing = losses.mouth(guess, torch.tensor([NAN, NAN]))
    nothing.backward()
    assert (float(nothing.detach()), guess.grad.tolist()) == (0.0, [0.0, 0.0])  # type: ignore[attr-defined]


def test_edges_are_those_of_the_difference() -> None:
    truth = torch.rand(6, 7, 3, generator=rng())
    assert float(losses.edges(truth + 0.3, truth)) == pytest.approx(0, abs=1e-6)  # a constant has no edges
    step = torch.zeros(6, 7, 3)
    step[:, 4:] = 0.5  # one of the six differences along a row is 0.5
    assert float(losses.edges(truth + step, truth)) == pytest.approx(0.5 / 6, abs=1e-6)
    assert float(losses.edges((truth + step).transpose(0, 1), truth.transpose(0, 1))) == pytest.approx(
        0.5 / 6, abs=1e-6
    )


def test_compact_is_the_double_sum() -> None:
    _, out = rendering([3, 5, 1])
    samples, longest = out.samples, 4.0
    middle, length = 0.5 * (samples.start + samples.end) / longest, (samples.end - samples.start) / longest
    total = 0.0
    for i in range(len(samples)):
        total += float(out.weights[i] ** 2 * length[i] / 3)
        for j in range(len(samples)):
            if samples.ray[i] == samples.ray[j]:
                total += float(out.weights[i] * out.weights[j] * (middle[i] - middle[j]).abs())
    assert float(losses.compact(out, longest)) == pytest.approx(total / 3, rel=1e-4)  # the mean of three rays


def test_ambient_is_the_attention_of_the_rays_elsewhere() -> None:
    layout = GridLayout(levels=2, features=2, log2_table_size=8, coarsest=4, finest=8)
    head = HeadConfig(layout, code=6, width=16, attention_width=8).build(Box.cube(1.0), 5, 3, rng())
    with torch.no_grad():
        head.table.add_(torch.randn(head.table.shape, generator=rng(1)))
    talking = head(Condition(torch.zeros(6), torch.tensor(1.0), torch.zeros(4)))
    rays, out = rendering([4, 3, 2])
    x = out.samples.positions(rays)
    elsewhere = torch.tensor([True, False, True])
    there = elsewhere[out.samples.ray]
    expected = talking.attention(x[there]).sound.mean()
    found = losses.ambient(talking, rays, out, elsewhere)
    torch.testing.assert_close(found, expected)
    assert float(losses.ambient(talking, rays, out, ~elsewhere).detach()) != float(expected.detach())
    found.backward()
    assert head.table.grad is not None
    assert float(head.table.grad.abs().max()) > 0
    assert float(losses.ambient(talking, rays, out, torch.zeros(3, dtype=torch.bool))) == 0


def test_ambient_asks_a_part_of_very_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Head:
        def attention(self, x: torch.Tensor) -> object:
            asked.append(len(x))
            return type("Attention", (), {"sound": x.new_ones(len(x), 2)})

    monkeypatch.setattr(losses, "ATTENDED", 10)
    rays, out = rendering([40, 5])
    assert float(unwrap(losses.ambient)(Head(), rays, out, torch.tensor([True, False]))) == 1.0
    assert asked == [10]


def test_blinks_are_a_tenth_of_all_looks() -> None:
    eye = torch.ones(500)
    eye[[7, 8, 300]] = 0.1
    eye[20] = torch.nan
    mouth = torch.randn(500, 2, generator=rng())
    for mouths in (torch.zeros(500, 2), mouth):
        weight = losses.often(eye, mouths)
        assert float(weight[[7, 8, 300]].sum() / weight.sum()) == pytest.approx(0.1)
    same = losses.often(eye, torch.zeros(500, 2))
    assert same[20] == same[0] == 1.0
    assert torch.allclose(weight[[0, 20]], 1 + mouth[[0, 20]].abs().amax(1).clamp_max(3))
    assert torch.equal(losses.often(torch.ones(9), torch.zeros(9, 2)), torch.ones(9))
    assert torch.equal(
        losses.often(torch.zeros(9), torch.zeros(9, 2)), torch.ones(9)
    )  # always shut: none of them is rare


def test_disturbed_sound_has_the_noise_that_it_says() -> None:
    spread = torch.tensor([0.5, 2.0])
    sound = torch.full((4000, 2, 16, 2), 3.0)
    heard = losses.disturbed(sound, spread, torch.Generator().manual_seed(0))
    whole = (losses.NOISE**2 + losses.LOUDER**2) ** 0.5
    for channel, scale in enumerate(spread.tolist()):
        off = heard[..., channel] - 3.0
        assert float(off.std()) == pytest.approx(whole * scale, rel=0.03)
        assert float(off.mean((1, 2)).std()) == pytest.approx(losses.LOUDER * scale, rel=0.1)  # as a whole
