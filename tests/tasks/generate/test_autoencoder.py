"""The story of a collection, a step at a time, and whether it learns a collection of four cars."""

from dataclasses import replace

import pytest
import torch

from nerf3d.core import Task, Update
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.models.object_autoencoder import ObjectAutoencoderConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.tasks.generate.autoencoder import AutoencoderTask
from nerf3d.tasks.generate.kinds import told
from nerf3d.tasks.generate.looks import Gallery
from nerf3d.tasks.generate.recipe import DiffAE, Flow, Looks

SMALL = DiffAE(
    ObjectAutoencoderConfig(
        PictureEncoderConfig(channels=(16, 16, 16, 16), code=8), (16, 16, 16), plane_features=6, decoder_width=16
    ),
    Flow(width=16, blocks=1, batch=8),
    Looks(objects=4, views=2, rays=128, samples=16),
    rate=Constant(5e-3),
)


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 4, 6, 32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begun(cars: Collection) -> AutoencoderTask:
    return AutoencoderTask(SMALL, cars, tight_box(cars), rng())


def stepped(task: AutoencoderTask, progress: float = 0.0, seed: int = 0) -> Update:
    (update,) = task.step(0, progress, rng(seed))
    return update


def test_first_the_autoencoder_learns_and_then_the_flow(cars: Collection) -> None:
    task = begun(cars)
    assert isinstance(task, Task)
    players = {name: [p for g in groups for p in g.parameters] for name, groups in task.players().items()}
    assert sorted(id(p) for own in players.values() for p in own) == sorted(id(p) for p in task.parameters())
    first = stepped(task)
    assert (first.player, set(first.losses)) == ("autoencoder", {"color", "opacity", "code"})
    torch.stack(list(first.losses.values())).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in players["autoencoder"])
    assert all(p.grad is None for p in players["flow"])
    second = stepped(task, progress=0.9)
    assert (second.player, set(second.losses)) == ("flow", {"flow"})
    assert task.codes.shape == (24, 8)
    assert torch.allclose(task.maker.flow.mean, task.codes.mean(0))


def test_it_learns_four_cars(cars: Collection) -> None:
    task = begun(cars)
    optimizer = torch.optim.Adam(task.maker.autoencoder.parameters(), 5e-3)
    chance, found = rng(1), []
    for _ in range(60):
        (update,) = task.step(0, 0.0, chance)
        optimizer.zero_grad()
        torch.stack(list(update.losses.values())).sum().backward()
        optimizer.step()
        found.append(update.figures["psnr"])
    assert sum(found[-5:]) / 5 > sum(found[:5]) / 5 + 4


def test_kinds_are_captions_and_unknown_ones_are_none(cars: Collection) -> None:
    known = replace(cars, captions=("a red car", "", "a blue car", "a red car"))
    task = begun(known)
    assert task.maker.kinds == ("a blue car", "a red car")
    rows = told(task.kind[task.gallery.collection.scene[[0, 6, 12]]], task.maker.kinds)
    assert rows is not None
    assert rows[[0, 2]].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert bool(rows[1].isnan().all())
    nameless = begun(replace(cars, captions=("",) * 4))
    assert told(nameless.kind[[0]], nameless.maker.kinds) is None


def test_a_glance_shows_what_the_pictures_show(cars: Collection) -> None:
    gallery = Gallery(cars)
    views = gallery.views(2, 3, rng())
    assert set(cars.scene[views].tolist()) == {2}
    assert len(set(views.tolist())) == 3
    glance = gallery.glance(views, Looks(rays=200, on_object=0.5), rng())
    assert len(glance.rays) == len(glance.truth) == 200
    assert float(glance.truth[:100, 3].min()) > 0
    for i in (0, 99, 150):
        each = [torch.cdist(cars.cameras.rays(int(v)).direction, glance.rays.direction[i : i + 1]) for v in views]
        best = min(range(3), key=lambda k: float(each[k].min()))
        straight = cars.pictures[views[best]].reshape(-1, 4)[int(each[best].argmin())].float() / 255
        expected = torch.cat([straight[:3] * straight[3:], straight[3:]])
        assert torch.allclose(glance.truth[i], expected, atol=1e-6)


def test_all_objects_come_before_one_comes_again(cars: Collection) -> None:
    gallery = Gallery(cars)
    assert sorted(gallery.objects(4, rng(3))) == [0, 1, 2, 3]
    assert sorted(set(gallery.objects(9, rng(3)))) == [0, 1, 2, 3]
