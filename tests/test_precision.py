"""Training with 16-bit numbers: what is computed in them, what is not, and the scale that half precision needs."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from nerf3d.config import find_recipe, from_plain, load_yaml, override
from nerf3d.core import Group, Update
from nerf3d.core.schedules import Constant
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.hull import tight_box
from nerf3d.data.collections.world import render_collection
from nerf3d.errors import InputError
from nerf3d.kernels.adam import Adam
from nerf3d.precision import Precision
from nerf3d.tasks.generate import Generate
from nerf3d.tasks.generate.build import task_of
from nerf3d.train import Budget, Progress, begin, train

CPU = torch.device("cpu")
LOOKS = "looks={objects: 2, views: 2, rays: 64, samples: 6}"
SETTINGS = {
    "diffae": (LOOKS, "settled=0.5"),
    "vqar": (LOOKS, "settled=0.5", "batch=2"),
    "ssdnerf": (LOOKS, "settled=0.5", "batch=2", "code_steps=2"),
    "eg3d": ("batch=2", "samples=4", "kinds=true"),
    "pigan": ("batch=2", "samples=4"),
    "graf": ("batch=2", "samples=4"),
}


@pytest.fixture(scope="module")
def cars() -> Collection:
    return render_collection("cars", 3, 4, 32)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def read(preset: str, precision: Precision) -> Generate:
    plain = override(load_yaml(find_recipe(preset, "gen")), (*SETTINGS[preset], f"precision={precision}", "warmup=0"))
    return from_plain(Generate, plain, preset)


@pytest.mark.parametrize("precision", ["bfloat16", "half"])
@pytest.mark.parametrize("preset", SETTINGS)
def test_every_recipe_learns_in_16_bits(preset: str, precision: Precision, cars: Collection) -> None:
    """Its networks answer in them, its parameters keep 32, and its first losses are those of single precision."""
    if preset in {"ssdnerf", "eg3d", "pigan"} and precision == "half":
        with pytest.raises(InputError, match="precision"):
            read(preset, precision)
        return
    first = {}
    for kind in ("single", precision):
        recipe = read(preset, kind)
        task = task_of(recipe, cars, tight_box(cars), rng())
        assert isinstance(task, nn.Module)
        answers = set()
        for module in task.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(lambda _, __, out, answers=answers: answers.add(out.dtype))
        before = [p.detach().clone() for p in task.parameters()]
        reports = list(train(task, begin(task, rng(), Adam, precision=recipe.precision), Budget(steps=4), {}))
        assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in task.parameters())
        assert sum(not torch.equal(p, q) for p, q in zip(task.parameters(), before, strict=True)) > len(before) / 2
        first[kind] = next(iter(reports[0].losses.values()))
    assert {torch.bfloat16, torch.float16} & answers
    assert first[precision] == pytest.approx(first["single"], rel=0.05)


class Faint:
    """A number whose gradient half precision does not know, and one that goes too far for its scale in step 2."""

    def __init__(self) -> None:
        self.small, self.large = nn.Parameter(torch.zeros(1, 1)), nn.Parameter(torch.zeros(1))

    def players(self) -> dict[str, list[Group]]:
        return {"scene": [Group([self.small, self.large], Constant(1.0))]}

    def step(self, step: int, progress: float, rng: torch.Generator) -> Iterator[Update]:
        product = (torch.full((1, 1), 1e-3) @ self.small).float()
        yield Update(
            "scene", {"small": (1e-5 * product).sum(), "large": (1e36 if step == 2 else 0.0) * self.large.sum()}
        )


def taken(steps: int, precision: Precision) -> tuple[Faint, Progress]:
    task = Faint()
    state = begin(task, rng(), torch.optim.SGD, precision=precision)
    list(train(task, state, Budget(steps=steps), {}))
    return task, state


def test_the_scale_keeps_gradients_that_half_precision_does_not_know() -> None:
    for precision in ("single", "half"):
        task, _ = taken(2, precision)
        assert task.small.item() == pytest.approx(-2e-8, rel=0.01)


def test_a_step_that_is_too_large_for_the_scale_is_left_out_and_the_scale_halved() -> None:
    """Of four steps the third; the scale is kept by checkpoints."""
    task, state = taken(4, "half")
    assert task.small.item() == pytest.approx(-3e-8, rel=0.01)
    assert task.large.item() == 0
    kept = state.state_dict()
    assert kept["scale"]["scale"] == 2.0**15
    again = begin(task, rng(), torch.optim.SGD, precision="half")
    again.load_state_dict(kept)
    assert again.state_dict()["scale"] == kept["scale"]
    single = begin(task, rng(), torch.optim.SGD)
    single.load_state_dict(kept)
    assert single.state_dict()["scale"] == {}
