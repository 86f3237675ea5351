from typing import get_args

import pytest

from nerf3d.core import Guidance
from nerf3d.core.schedules import Constant, Ramp
from nerf3d.errors import InputError
from nerf3d.guidance.sds import SDS
from nerf3d.guidance.timesteps import Timesteps
from nerf3d.guidance.union import GuidanceConfig
from nerf3d.plain import from_plain, to_plain


@pytest.mark.parametrize("kind", get_args(GuidanceConfig), ids=lambda kind: kind.__name__)
def test_all_of_them_can_be_written_down(kind: type) -> None:
    plain = to_plain(kind(), GuidanceConfig)
    assert plain["kind"] == kind.__name__
    assert from_plain(GuidanceConfig, plain, "recipe.yaml") == kind()


@pytest.mark.parametrize("kind", [k for k in get_args(GuidanceConfig) if k.__name__ != "VSD"], ids=lambda k: k.__name__)
def test_all_of_them_judge(kind: type, gaussian, prompts, around, rng) -> None:
    import torch

    guidance = kind().build(gaussian(), prompts(), rng)
    assert isinstance(guidance, Guidance)
    images = torch.rand(2, 5, 5, 3, generator=rng, requires_grad=True)
    (loss,) = guidance(images, around([0.0, 90.0]), 0.5, rng).values()
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().max() > 0


def test_vsd_needs_a_network_that_can_be_adapted(gaussian, prompts, rng) -> None:
    from nerf3d.guidance.vsd import VSD

    with pytest.raises(InputError, match="trains a student inside the teacher"):
        VSD().build(gaussian(), prompts(), rng)


def test_a_recipe_may_anneal_t() -> None:
    recipe = {"kind": "SDS", "scale": 20, "timesteps": {"largest": {"kind": "Ramp", "start": 0.98, "stop": 0.5}}}
    found = from_plain(GuidanceConfig, recipe, "recipe.yaml")
    assert found == SDS(scale=20.0, timesteps=Timesteps(Constant(0.02), Ramp(0.98, 0.5)))
