"""How a made object is held against a photograph: every measure is 0 for equal pictures and has a gradient."""

import pytest
import torch
from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.pictures import ssim
from nerf3d.tasks.generate import resemblance
from nerf3d.tasks.generate.resemblance import WEIGHTS, Measure, Resemblance, structural


def pictures(side: int = 16) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, side, side, 4, generator=torch.Generator().manual_seed(0))
    alpha = torch.stack([a[..., 3:], b[..., 3:]])
    a, b = torch.cat([torch.stack([a, b])[..., :3] * alpha, alpha], -1)
    return a.requires_grad_(True), b


@pytest.fixture(scope="module")
def judge() -> Evaluator:
    return Evaluator.open(EVALUATOR)


@pytest.mark.parametrize("measure", [None, "absolute", "structural", "identity"])
def test_equal_pictures_are_0_apart_and_others_are_led_together(measure: Measure | None, judge: Evaluator) -> None:
    likeness = Resemblance((measure,) if measure else (), judge)
    shown, seen = pictures()
    assert float(likeness(seen, seen).detach()) == pytest.approx(0, abs=1e-5)
    far = likeness(shown, seen)
    (slope,) = torch.autograd.grad(far, shown)
    nearer = (shown - 0.05 * slope / slope.abs().max()).detach()
    assert float(likeness(nearer, seen).detach()) < float(far.detach())


@pytest.mark.parametrize("side", [11, 16, 32])
def test_structural_is_ssim(side: int) -> None:
    a, b = (p[..., :3].detach() for p in pictures(side))
    assert float(structural(a, b)) == pytest.approx(ssim(a, b), abs=1e-4)


def test_pictures_smaller_than_a_window_have_a_structure(judge: Evaluator) -> None:
    a, b = (p.detach() for p in pictures(8))
    assert 0 < float(Resemblance(("structural",))(a, b)) < 1


def test_measures_add_up(judge: Evaluator) -> None:
    shown, seen = (p.detach() for p in pictures())
    alone = [float(Resemblance((measure,), judge)(shown, seen)) for measure in ("absolute", "structural")]
    squared = float(Resemblance()(shown, seen))
    assert float(Resemblance(("absolute", "structural"), judge)(shown, seen)) == pytest.approx(sum(alone) - squared)


def test_perceptual_is_what_the_network_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblance, "lpips_available", lambda: (True, ""))
    monkeypatch.setattr(resemblance, "perceptual", lambda a, b: (a - b).abs().sum())
    shown, seen = (p.detach() for p in pictures())
    a, b = (p[..., :3] + 1 - p[..., 3:] for p in (shown, seen))
    expected = (shown - seen).square().mean() + WEIGHTS["perceptual"] * (a - b).abs().sum()
    assert float(Resemblance(("perceptual",))(shown, seen)) == pytest.approx(float(expected))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblance, "lpips_available", lambda: (False, "LPIPS needs the weights w"))
    with pytest.raises(InputError, match="needs the weights w"):
        Resemblance(("perceptual",))
    with pytest.raises(InputError, match="an open_clip model"):
        Resemblance(("identity",))
