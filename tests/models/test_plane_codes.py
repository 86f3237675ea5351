"""A table whose scenes move one by one, as each would with an optimiser of its own."""

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.models.plane_codes import BETAS, EPSILON, PlaneCodes, PlaneCodesConfig, bounded, unbounded

SMALL = PlaneCodesConfig(features=2, resolution=4, bound=2.0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_planes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *SMALL.shape, generator=rng(seed))


def test_every_scene_moves_as_with_an_adam_of_its_own() -> None:
    codes = SMALL.build(3)
    alone = [torch.zeros(SMALL.shape, requires_grad=True) for _ in range(3)]
    adams = [torch.optim.Adam([each], betas=BETAS, eps=EPSILON) for each in alone]
    for turn, (scenes, rate) in enumerate([([0, 2], 0.1), ([2, 1], 0.05), ([2], 0.1), ([1, 0], 0.2)]):
        gradient = random_planes(len(scenes), turn)
        codes.step(scenes, gradient, rate)
        for scene, slope in zip(scenes, gradient):
            adams[scene].param_groups[0]["lr"] = rate
            alone[scene].grad = slope
            adams[scene].step()
    assert torch.allclose(codes.raw, torch.stack(alone), atol=1e-5)
    assert codes.steps.tolist() == [2, 2, 3]


def test_scenes_that_are_not_chosen_stay_to_the_last_bit() -> None:
    codes = SMALL.build(4)
    codes.raw.copy_(random_planes(4))
    codes.step([0, 1, 2, 3], random_planes(4, 1), 0.1)
    before = {name: value.clone() for name, value in codes.state_dict().items()}
    codes.step([3, 1], random_planes(2, 2), 0.1)
    for name, value in codes.state_dict().items():
        assert torch.equal(value[[0, 2]], before[name][[0, 2]]), name
        assert not torch.equal(value[1], before[name][1]), name


def test_only_scenes_that_never_moved_begin_anew() -> None:
    codes = SMALL.build(3)
    codes.step([1], random_planes(1), 0.1)
    moved = codes([1])
    usual = 0.3 * random_planes(1, 3)[0]
    codes.begin([0, 1], usual)
    assert torch.allclose(codes([0])[0], usual, atol=1e-5)
    assert torch.equal(codes([1]), moved)
    assert torch.equal(codes([2]), torch.zeros(1, *SMALL.shape))
    assert codes.seen() == [1]


def test_planes_keep_to_their_bound() -> None:
    raw = 100 * random_planes(1)
    planes = bounded(raw, 0.5)
    assert float(planes.abs().max()) <= 0.5
    assert bool(unbounded(planes, 0.5).isfinite().all())
    inside = 0.9 * torch.rand(20, generator=rng())
    assert torch.allclose(bounded(unbounded(inside, 2.0), 2.0), inside, atol=1e-5)


def test_gradients_are_asked_of_a_copy() -> None:
    codes = SMALL.build(2)
    raw = codes.raw_of([1])
    bounded(raw, 2.0).sum().backward()
    assert raw.grad is not None
    assert torch.equal(raw.grad, torch.full_like(raw, 2.0))  # the slope of 2 tanh at 0
    assert not codes.raw.requires_grad
    assert list(codes.parameters()) == []


@pytest.mark.parametrize("config", [PlaneCodesConfig(0), PlaneCodesConfig(resolution=1), PlaneCodesConfig(bound=0.0)])
def test_planes_of_nothing_are_refused(config: PlaneCodesConfig) -> None:
    with pytest.raises(InputError, match="planes need"):
        config.build(1)


def test_a_table_is_its_state() -> None:
    first, second = SMALL.build(2), SMALL.build(2)
    first.step([0, 1], random_planes(2), 0.1)
    second.load_state_dict(first.state_dict())
    for codes in (first, second):
        codes.step([1], random_planes(1, 5), 0.1)
    assert isinstance(second, PlaneCodes)
    assert torch.equal(first.raw, second.raw)
    fresh = SMALL.build(2)
    fresh.raw.copy_(first.raw)
    fresh.step([1], random_planes(1, 6), 0.1)
    first.step([1], random_planes(1, 6), 0.1)
    assert not torch.equal(first.raw, fresh.raw)  # the moments count
