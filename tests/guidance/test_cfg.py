from collections.abc import Callable

import pytest
import torch

from nerf3d.guidance.cfg import Conditions, estimate, guide, rescale
from nerf3d.guidance.denoiser import Denoiser


def test_the_convention() -> None:
    text, uncond = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    assert guide(text, uncond, 0.0).tolist() == uncond.tolist()
    assert guide(text, uncond, 1.0).tolist() == text.tolist()
    assert guide(text, uncond, 100.0).tolist() == [101.0, -199.0]


def test_rescaled_estimates_have_the_spread_of_the_unguided(rng: torch.Generator) -> None:
    text, guided = torch.randn(3, 4, 8, 8, generator=rng), 7 * torch.randn(3, 4, 8, 8, generator=rng) + 1
    assert torch.equal(rescale(guided, text, 0.0), guided)
    full = rescale(guided, text, 1.0)
    torch.testing.assert_close(full.flatten(1).std(1), text.flatten(1).std(1))
    torch.testing.assert_close(rescale(guided, text, 0.7), 0.7 * full + 0.3 * guided)


def test_an_estimate_asks_once_and_keeps_the_gradient_out(
    gaussian: Callable[..., Denoiser], said, rng: torch.Generator
) -> None:
    denoiser, t = gaussian(), torch.tensor([10, 70])
    calls = []
    asked = Denoiser(lambda *a: calls.append(a) or denoiser.network(*a), denoiser.codec, denoiser.schedule)
    x_t = torch.randn(2, 3, 4, 4, generator=rng, requires_grad=True)
    wanted, unwanted = said((0.5, 0.4), (0.1, 0.3)), said((-0.5, 0.4), (0.0, 1.0))
    found = estimate(asked, x_t, t, Conditions(wanted, unwanted), 3.0)
    assert len(calls) == 1
    torch.testing.assert_close(found.text, denoiser.predict(x_t.detach(), t, wanted))
    torch.testing.assert_close(found.negative, denoiser.predict(x_t.detach(), t, unwanted))
    torch.testing.assert_close(found.guided, found.negative + 3 * (found.text - found.negative))
    assert not found.guided.requires_grad


def test_a_negative_prompt_pushes_away(gaussian: Callable[..., Denoiser], said) -> None:
    """More guidance means estimates further from what is not wanted: beyond the wanted mean itself."""
    denoiser, t = gaussian(), torch.tensor([60])
    x_t = torch.zeros(1, 3, 4, 4)
    conditions = Conditions(said((0.5, 0.4)), said((-0.2, 0.4)))
    shown = [denoiser.clean(x_t, t, estimate(denoiser, x_t, t, conditions, s).guided).mean() for s in (0.0, 1.0, 5.0)]
    assert shown[0] < 0 < shown[1] < shown[2]
    assert float(shown[2] - shown[0]) == pytest.approx(5 * float(shown[1] - shown[0]), rel=1e-4)
