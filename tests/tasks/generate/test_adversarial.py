"""Two players: what each learns from, and what the running mean does."""

import pytest
import torch

from nerf3d.core import Task
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.models.critic import CriticConfig
from nerf3d.models.generator import TriPlaneGeneratorConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.tasks.generate.adversarial import AdversarialTask, blurred
from nerf3d.tasks.generate.recipe import EG3D

SMALL = EG3D(
    TriPlaneGeneratorConfig(
        z=4, w=8, channels=(8, 8), plane_features=4, decoder_width=8, color_channels=3, pose=0, noise=False
    ),
    CriticConfig(channels=(8, 8, 8, 8), picture_channels=4, condition=25),
    PictureEncoderConfig(channels=(8, 8, 8, 8), code=4),
    batch=4,
    samples=6,
    smooth_points=16,
    smooth_scenes=2,
)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 2, 4, 32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(cars: Collection) -> AdversarialTask:
    return AdversarialTask(SMALL, cars, tight_box(cars), rng())


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_each_player_learns_from_its_own_losses(cars: Collection, progress: float) -> None:
    task = begun(cars)
    assert isinstance(task, Task)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    assert not {id(p) for p in players["critic"]} & {id(p) for p in players["generator"]}
    kept = {id(p) for p in task.maker.average.parameters()}
    assert {id(p) for own in players.values() for p in own} | kept == {id(p) for p in task.parameters()}
    learnt = {"critic": {"critic", "r1"}, "generator": {"generator", "read", "smooth"}}
    for update in task.step(0, progress, rng()):
        assert set(update.losses) == learnt.pop(update.player)
        task.zero_grad(set_to_none=True)
        torch.stack(list(update.losses.values())).sum().backward()
        own = players[update.player]
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in own)
        if update.player == "critic":
            assert all(p.grad is None for p in players["generator"])
    assert not learnt


def test_r1_comes_every_few_steps(cars: Collection) -> None:
    task = begun(cars)
    assert "r1" not in next(iter(task.step(1, 0.0, rng()))).losses
    assert "r1" in next(iter(task.step(SMALL.r1_every, 0.0, rng()))).losses


def test_the_running_mean_follows(cars: Collection) -> None:
    task = begun(cars)
    now, mean = next(task.maker.generator.parameters()), next(task.maker.average.parameters())
    before = mean.clone()
    with torch.no_grad():
        now += 1
    task.maker.follow(0.75)
    assert torch.allclose(mean, before + 0.25)
    assert not mean.requires_grad


def test_blurred_pictures_keep_their_mean() -> None:
    pictures = torch.rand(2, 8, 8, 4, generator=rng())
    half = blurred(pictures, 2)
    assert half.shape == pictures.shape
    assert torch.allclose(half.mean((1, 2)), pictures.mean((1, 2)), atol=0.03)
    assert float(half.std()) < 0.7 * float(pictures.std())
    assert torch.equal(blurred(pictures, 1), pictures)
