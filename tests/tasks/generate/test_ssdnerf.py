"""The story of a collection with planes for every object: who learns from what, and whether it learns four cars."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from nerf3d.core import Task
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError
from nerf3d.kernels.adam import Adam
from nerf3d.models.plane_codes import PlaneCodesConfig
from nerf3d.models.plane_denoiser import PlaneDenoiserConfig
from nerf3d.tasks.generate import inversion
from nerf3d.tasks.generate.kinds import told
from nerf3d.tasks.generate.looks import picture, premultiplied
from nerf3d.tasks.generate.maker import GenerateTask, Maker
from nerf3d.tasks.generate.plane_reconstruction import Reconstruction, reconstruct
from nerf3d.tasks.generate.recipe import Looks, SSDNeRF
from nerf3d.tasks.generate.ssdnerf import PlaneObjects, SSDNeRFTask
from nerf3d.train import Budget, Progress, Report, begin, train

SMALL = SSDNeRF(
    PlaneCodesConfig(features=4, resolution=12),
    PlaneDenoiserConfig(channels=(16, 32), told=32),
    decoder_width=16,
    looks=Looks(objects=4, views=2, rays=128, samples=16),
    code_steps=2,
    prior_weight=Constant(1e-3),
    settled=0.8,
    batch=8,
    rate=Constant(1e-2),
    code_rate=Constant(3e-2),
    denoiser_rate=Constant(3e-3),
    warmup=1,
    steps=100,
)
SHAPE = (3, 4, 12, 12)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 4, 6, 32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(cars: Collection, recipe: SSDNeRF = SMALL) -> SSDNeRFTask:
    return SSDNeRFTask(recipe, cars, tight_box(cars), rng())


def running(task: SSDNeRFTask) -> tuple[Progress, Iterator[Report]]:
    state = begin(task, rng(1), Adam)
    return state, train(task, state, Budget(steps=task.recipe.steps), {}, task.recipe.warmup)


@pytest.fixture(scope="module")
def learnt(cars: Collection) -> tuple[SSDNeRFTask, list[Report]]:
    """What the first three of the cars teach."""
    task = begun(cars.of_scenes([0, 1, 2]))
    return task, list(running(task)[1])


def test_it_is_a_task_and_leaves_a_maker(cars: Collection) -> None:
    task = begun(cars)
    assert isinstance(task, Task)
    assert isinstance(task, GenerateTask)
    assert isinstance(task.maker, Maker)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    assert sorted(id(p) for own in players.values() for p in own) == sorted(id(p) for p in task.parameters())


def test_each_player_learns_from_its_own_loss_and_codes_from_both(cars: Collection) -> None:
    task = begun(cars)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    learnt = {"decoder": {"color", "opacity"}, "denoiser": {"prior"}}
    moved = {}
    for weights in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        task = begun(cars, replace(SMALL, prior_weight=Constant(weights[1]), code_steps=1))
        task.codes.raw.normal_(generator=rng(2))
        task.codes.steps += 1
        players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
        for update, share in zip(task.step(0, 0.0, rng()), (weights[0], 1.0)):
            assert set(update.losses) == learnt[update.player]
            task.zero_grad(set_to_none=True)
            (share * torch.stack(list(update.losses.values())).sum()).backward()
            for name, own in players.items():
                assert all((p.grad is not None) == (name == update.player) for p in own)
        moved[weights] = task.codes.mean.clone()
    one, other, both = moved.values()
    assert float(one.abs().max()) > 0
    assert float(other.abs().min()) > 0
    assert torch.allclose(one + other, both, atol=1e-6)


def test_scenes_that_a_step_does_not_look_at_stay_to_the_last_bit(cars: Collection) -> None:
    task = begun(cars, replace(SMALL, looks=replace(SMALL.looks, objects=2), steps=4))
    before = task.codes.steps.clone(), task.codes.raw.clone(), task.codes.mean.clone()
    for _ in running(task)[1]:
        looked = (task.codes.steps != before[0]).tolist()
        assert sorted(looked) == [False, False, True, True]
        for scene in range(4):
            assert torch.equal(task.codes.raw[scene], before[1][scene]) != looked[scene]
            assert torch.equal(task.codes.mean[scene], before[2][scene]) != looked[scene]
        assert set((task.codes.steps - before[0]).tolist()) == {0, SMALL.code_steps}
        before = task.codes.steps.clone(), task.codes.raw.clone(), task.codes.mean.clone()
        break


def test_an_object_begins_as_the_mean_of_those_before(cars: Collection) -> None:
    task = begun(cars)
    task.codes.steps[1] = 5
    task.maker.diffusion.mean.normal_(std=0.4, generator=rng(2))
    next(iter(task.step(0, 0.0, rng())))
    same = [torch.allclose(planes, task.maker.diffusion.mean, atol=1e-3) for planes in task.codes(range(4))]
    assert same == [True, False, True, True]


@pytest.mark.parametrize("when", [2, 5])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(cars: Collection, when: int) -> None:
    recipe = replace(SMALL, steps=6)
    whole = begun(cars, recipe)
    state, steps = running(whole)
    for _ in range(when):
        next(steps)
    maker, helpers, loop = copy.deepcopy([kept.state_dict() for kept in (whole.maker, whole.helpers, state)])
    assert len(list(steps)) == 6 - when
    other = begun(cars, recipe)
    again, more = running(other)
    other.maker.load_state_dict(maker)
    other.helpers.load_state_dict(helpers)
    again.load_state_dict(loop)
    assert len(list(more)) == 6 - when
    assert state.step == again.step == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_in_the_end_the_denoiser_learns_alone(cars: Collection) -> None:
    task = begun(cars)
    _, steps = running(task)
    for report in steps:
        if report.step == 3:
            break
    codes, decoder = task.codes.raw.clone(), task.maker.decoder.hidden_layer.weight.clone()
    task.zero_grad(set_to_none=True)
    (update,) = task.step(3, 0.9, rng(4))
    assert (update.player, set(update.losses)) == ("denoiser", {"prior"})
    update.losses["prior"].backward()
    assert torch.equal(task.codes.raw, codes)
    assert task.maker.decoder.hidden_layer.weight.grad is None
    assert torch.equal(task.maker.decoder.hidden_layer.weight, decoder)
    fresh = begun(cars)  # nothing to learn from yet: it looks at pictures
    assert next(iter(fresh.step(0, 0.9, rng()))).player == "decoder"


def test_it_learns_cars(learnt: tuple[SSDNeRFTask, list[Report]]) -> None:
    task, reports = learnt
    found = [report.figures["psnr"] for report in reports if report.figures]
    assert len(found) == 80
    assert sum(found[:5]) / 5 < 15
    assert sum(found[-5:]) / 5 > 19
    prior = [report.losses["prior"] for report in reports]
    assert sum(prior[-10:]) / 10 < 0.8 * sum(prior[:10]) / 10
    assert task.codes.steps.tolist() == [160] * 3


def test_codes_are_drawn_and_are_fields(learnt: tuple[SSDNeRFTask, list[Report]], cars: Collection) -> None:
    maker = learnt[0].maker
    codes = maker.draw(3, rng(1))
    assert codes.shape == (3, *SHAPE)
    assert torch.equal(codes, maker.draw(3, rng(1)))
    usual = maker.read(torch.zeros(2, 32, 32, 4))
    assert torch.equal(usual, maker.diffusion.mean.expand(2, *SHAPE))
    spread = [float((maker.draw(8, rng(1), truncation=t) - usual[0]).square().mean()) for t in (0.2, 1.0)]
    assert spread[0] < spread[1]
    leaf = codes.requires_grad_()
    picture(maker.fields(leaf)[1], cars.cameras, 0, maker.sampler).sum().backward()
    assert leaf.grad is not None
    assert [bool(slope.any()) for slope in leaf.grad] == [False, True, False]
    with pytest.raises(InputError, match="a code is 3 x 4 x 6 x 6 numbers"):
        maker.fields(codes[..., ::2, ::2])
    with pytest.raises(InputError, match="knows no 'a boat'"):
        maker.draw(1, rng(), kind="a boat")


def test_kinds_are_captions_and_unknown_ones_are_none(cars: Collection) -> None:
    task = begun(replace(cars, captions=("a red car", "", "a blue car", "a red car")))
    assert task.maker.kinds == ("a blue car", "a red car")
    rows = told(task.kind[[3, 1, 2]], task.maker.kinds)
    assert rows is not None
    assert rows[[0, 2]].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert bool(rows[1].isnan().all())
    assert task.maker.draw(2, rng(), kind="a red car").shape == (2, *SHAPE)
    nameless = begun(replace(cars, captions=("",) * 4))
    assert told(nameless.kind[[0]], nameless.maker.kinds) is None


def error(maker: PlaneObjects, codes: torch.Tensor, cars: Collection) -> float:
    """The mean square over all pictures of the objects of a collection."""
    fields = maker.fields(codes)
    off = []
    for i, scene in enumerate(cars.scene.tolist()):
        truth = cars.pictures[i].float() / 255
        truth = torch.cat([truth[..., :3] * truth[..., 3:], truth[..., 3:]], -1)
        off.append((picture(fields[scene], cars.cameras, i, maker.sampler) - truth).square().mean())
    return float(torch.stack(off).mean())


def test_an_object_is_found_by_its_pictures(learnt: tuple[SSDNeRFTask, list[Report]], cars: Collection) -> None:
    """Of a car that was not learnt: guided codes are nearer than those from the same noise, and refined ones nearer yet."""
    maker = learnt[0].maker
    fourth = cars.of_scenes([3])
    with torch.no_grad():
        free = error(maker, maker.draw(1, rng(5)), fourth)
        guided = reconstruct(maker, fourth[:3], Reconstruction(refinements=0), rng(5))
        refined, usual = (
            reconstruct(maker, fourth[:3], Reconstruction(refinements=40, prior_weight=weight), rng(5))
            for weight in (0.0, 10.0)
        )
        off = [error(maker, codes, fourth) for codes in (guided, refined)]
        unlikely = [float(maker.diffusion.loss(codes.expand(64, *SHAPE), None, rng(6))) for codes in (refined, usual)]
    assert guided.shape == (1, *SHAPE)
    assert off[0] < 0.8 * free
    assert off[1] < 0.8 * off[0]
    assert unlikely[1] < 0.9 * unlikely[0]


@pytest.mark.parametrize("known", [True, False])
def test_planes_are_inverted_by_their_diffusion(
    learnt: tuple[SSDNeRFTask, list[Report]], cars: Collection, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture of the car that nobody has learnt from: nearer to it than the usual car is."""
    maker = learnt[0].maker
    monkeypatch.setattr(inversion, "Reconstruction", lambda: Reconstruction(steps=5, refinements=15))
    monkeypatch.setattr(inversion, "CANDIDATES", 1)
    own = torch.nonzero(cars.scene == 3)[:, 0]
    seen = premultiplied(cars.pictures[own[:1]].float() / 255)
    found = inversion.invert(maker, seen[0], cars.cameras[own], known, rng(1), inversion.Effort(pose_steps=2))
    assert found.code.shape == SHAPE
    with torch.no_grad():
        usual = picture(maker.fields(maker.read(seen))[0], cars.cameras, int(own[0]), maker.sampler)
    assert found.error < 0.7 * float((usual - seen[0]).square().mean())
