"""The text story without a teacher: its cameras, its losses, and a judge that knows what it wants."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from nerf3d.config import find_recipe, from_plain, load_yaml, recipes
from nerf3d.core import Cameras, Guidance, Task
from nerf3d.core.paths import standing
from nerf3d.core.schedules import Constant
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.kernels.adam import Adam
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.tasks.text import Text, TextTask, losses
from nerf3d.tasks.text.collapse import Collapsed, Monitor, check_solid
from nerf3d.tasks.text.recipe import Shading, Views, Weights
from nerf3d.tasks.text.views import random_views, size_at
from nerf3d.train import Budget, Report, begin, train

SMALL = Text(
    field=HashGrid(GridLayout(4, 2, 12, 8, 32), width=16, color_layers=1, view_dependent=False),
    views=Views(count=2, sizes=(16,)),
    steps=30,
)


@dataclass(frozen=True)
class WantsRed:
    """Pictures should be red all over."""

    def __call__(self, images, cameras, progress, rng):
        return {"guidance": (images - torch.tensor([1.0, 0.0, 0.0])).square().mean()}


def make(recipe: Text = SMALL) -> TextTask:
    return TextTask(recipe, WantsRed(), torch.Generator().manual_seed(0))


def run(recipe: Text, steps: int) -> tuple[TextTask, list[Report]]:
    task = make(recipe)
    state = begin(task, torch.Generator().manual_seed(1), Adam)
    return task, list(train(task, state, Budget(steps=steps), vars(recipe.weights), recipe.warmup))


def test_it_is_a_task_and_its_judge_a_guidance() -> None:
    assert isinstance(make(), Task)
    assert isinstance(WantsRed(), Guidance)
    assert [len(group.parameters) > 0 for group in make().players()["scene"]] == [True, True]


def test_it_becomes_what_the_judge_wants() -> None:
    task, reports = run(replace(SMALL, rate=Constant(2e-2), warmup=0), 40)
    assert reports[-1].losses["guidance"] < 0.5 * reports[0].losses["guidance"]
    scene = task.scenery.scene()
    middle = scene.field(torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]])).color[0]
    assert middle[0] > 0.8
    assert middle[1:].max() < 0.3


def test_the_same_numbers_every_time() -> None:
    first, second = (run(SMALL, 4)[0].scenery.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_losses_with_a_light_and_without_colors() -> None:
    recipe = replace(
        SMALL,
        shading=Shading(begin=0.0, lit=1.0, clay=1.0),
        weights=Weights(Constant(0.0), orientation=Constant(1.0), opaque=Constant(1.0), distortion=Constant(1.0)),
    )
    _, reports = run(recipe, 3)
    assert {"guidance", "orientation", "opaque", "distortion"} == set(reports[0].losses)
    assert all(math.isfinite(value) for value in reports[-1].losses.values())


def test_clay_hides_the_colors() -> None:
    task = make(replace(SMALL, shading=Shading(begin=0.0, lit=1.0, clay=1.0)))
    field = task._shaded(0.5, torch.Generator().manual_seed(0))
    color = field(0.3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1)), torch.eye(3)[[1] * 50]).color
    assert torch.allclose(color[:, 0], color[:, 1])
    assert torch.allclose(color[:, 0], color[:, 2])


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, 0.1), (1.0, math.sqrt(1.01))])
def test_sparsity_in_closed_form(opacity: float, expected: float) -> None:
    assert float(losses.sparsity(torch.full((7,), opacity))) == pytest.approx(expected)


def test_opaque_is_the_entropy() -> None:
    assert float(losses.opaque(torch.full((5,), 0.5))) == pytest.approx(math.log(2), rel=1e-5)
    assert float(losses.opaque(torch.tensor([0.0, 1.0]))) < 0.01


def test_every_picture_has_one_color_behind_it() -> None:
    sky = losses.sky(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), 3)
    assert sky.shape == (18, 3)
    assert torch.equal(sky[:9], torch.tensor([[1.0, 0, 0]]).expand(9, 3))


def test_cameras_stand_in_sectors_and_see_the_middle() -> None:
    views = Views(count=6, elevation=(10.0, 20.0), sizes=(8,))
    cameras = random_views(views, 0.0, torch.Generator().manual_seed(3))
    x, y, z = cameras.center.unbind(-1)
    azimuth = torch.rad2deg(torch.atan2(x, -y)) % 360
    gaps = (azimuth.roll(-1) - azimuth) % 360
    assert torch.allclose(gaps, torch.full((6,), 60.0), atol=1e-3)
    elevation = torch.rad2deg(torch.asin(z / cameras.center.norm(dim=-1)))
    assert (elevation >= 9.99).all()
    assert (elevation <= 20.01).all()
    pixel, depth = cameras.project(torch.arange(6), torch.zeros(6, 3))
    assert torch.allclose(pixel, torch.full((6, 2), 4.0), atol=1e-4)
    assert (depth > 0).all()


def test_pictures_grow() -> None:
    views = Views(sizes=(16, 32, 64))
    assert [size_at(views, p) for p in (0.0, 0.34, 0.67, 0.999)] == [16, 32, 64, 64]


def test_azimuth_zero_stands_in_front() -> None:
    angle = torch.tensor([0.0, 90.0])
    cameras: Cameras = standing(angle, torch.zeros(2), torch.full((2,), 3.0), torch.full((2,), 40.0), 10)
    assert torch.allclose(cameras.center, torch.tensor([[0.0, -3.0, 0.0], [3.0, 0.0, 0.0]]), atol=1e-5)
    assert torch.allclose(cameras.forward[0], torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)


def report(progress: float, opacity: float) -> Report:
    return Report(1, 1.0, progress, {}, {"opacity": opacity, "samples": 10.0}, 0.1)


@pytest.mark.parametrize(("opacity", "word"), [(0.0, "nothing to see"), (0.99, "fog")])
def test_collapse_is_noticed_and_named(opacity: float, word: str) -> None:
    monitor = Monitor()
    monitor.see(report(0.1, opacity))
    with pytest.raises(Collapsed, match=word):
        monitor.see(report(0.5, opacity))
    fine = Monitor()
    fine.see(report(0.9, 0.2))
    assert fine.state().startswith("20 %")


def silhouettes(*widths: int) -> torch.Tensor:
    pictures = torch.zeros(len(widths), 20, 20)
    for picture, width in zip(pictures, widths, strict=True):
        picture[5:15, :width] = 1
    return pictures


@pytest.mark.parametrize(
    ("opacity", "word"),
    [
        (silhouettes(0, 0, 0), "nothing to see from any side"),
        (torch.ones(3, 20, 20), "fills every picture"),
        (silhouettes(10, 1, 10), "flat sheet: from one side 2.5 % of a picture, from another 25 %"),
        (silhouettes(10, 8, 10) * math.nan, "not numbers"),
    ],
)
def test_results_that_are_no_object(opacity: torch.Tensor, word: str) -> None:
    with pytest.raises(Collapsed, match=word):
        check_solid(opacity)


def test_a_thin_object_is_an_object() -> None:
    check_solid(silhouettes(10, 2, 10))


@pytest.mark.parametrize("name", recipes("text"))
def test_recipes_can_be_read(name: str) -> None:
    path = find_recipe(name, "text")
    recipe = from_plain(Text, load_yaml(path), str(path))
    assert recipe.steps is not None
