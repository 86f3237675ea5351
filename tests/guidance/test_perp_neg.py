from collections.abc import Callable

import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.guidance.cfg import Conditions, estimate
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.perp_neg import FRONT_FROM_BEHIND, FRONT_SIDE, SIDE_BACK, Against, perpendicular
from nerf3d.guidance.prompts import ByView
from nerf3d.guidance.text import Text


class Patterned:
    """A network whose answer depends on the prompt, the timestep and every pixel, so that nothing can be swapped."""

    def __call__(self, x_t: torch.Tensor, time: torch.Tensor, text: Text) -> torch.Tensor:
        phase = text.tokens.sum((1, 2))[:, None, None, None] + 0.01 * time[:, None, None, None]
        return torch.sin(3 * x_t + phase) + 0.2 * phase * x_t


class Hashed:
    """A text encoder: one number a sentence."""

    identity = "hashed"

    def __call__(self, prompts: list[str]) -> Text:
        return Text(torch.tensor([float(sum(map(ord, prompt)) % 97) for prompt in prompts])[:, None, None] / 20)


def test_what_is_left_is_perpendicular_and_each_picture_gets_its_own(rng: torch.Generator) -> None:
    toward, views = torch.randn(3, 4, 2, 2, generator=rng), torch.randn(5, 4, 2, 2, generator=rng)
    row, w = torch.tensor([0, 2, 2, 0, 2]), torch.tensor([-1.0, -0.5, -2.0, -0.3, -0.1])
    found = perpendicular(toward, views, Against(Text(torch.zeros(5, 1, 1)), row, w))
    expected = torch.zeros_like(toward)  # slowly, one by one
    for i in range(5):
        d = toward[row[i]].flatten()
        v = views[i].flatten()
        expected[row[i]] += (w[i] * (v - (v @ d) / (d @ d) * d)).view(4, 2, 2)
    torch.testing.assert_close(found, expected)
    assert (found[1] == 0).all()
    torch.testing.assert_close((found * toward).flatten(1).sum(1), torch.zeros(3), atol=1e-5, rtol=0)


def test_a_batch_is_no_other_than_its_pictures_one_by_one(
    gaussian: Callable[..., Denoiser], around: Callable[..., Cameras], rng: torch.Generator
) -> None:
    denoiser = Denoiser(Patterned(), gaussian().codec, gaussian().schedule)
    prompts = ByView(style="perp_neg", negative="ugly").build("a cow", Hashed())
    cameras = around([10.0, 130.0, 40.0, 290.0], [0.0, 20.0, 80.0, -5.0])  # the third looks down: no views at all
    x_t, t = torch.randn(4, 3, 4, 4, generator=rng), torch.tensor([5, 90, 40, 60])
    whole = prompts(cameras)
    assert 2 not in whole.against.row.tolist()
    together = estimate(denoiser, x_t, t, whole, 20.0).guided
    for i in range(4):
        alone = estimate(denoiser, x_t[i : i + 1], t[i : i + 1], prompts(cameras[i : i + 1]), 20.0).guided
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-3)
    two = estimate(denoiser, x_t[:2], t[:2], prompts(cameras[:2]), 20.0).guided
    torch.testing.assert_close(two, together[:2], rtol=1e-4, atol=1e-3)


def test_without_views_it_is_plain_guidance(gaussian: Callable[..., Denoiser], said, rng: torch.Generator) -> None:
    denoiser, t = gaussian(), torch.tensor([30])
    x_t = torch.randn(1, 3, 4, 4, generator=rng)
    plain = Conditions(said((0.5, 0.4)), said((0.0, 0.6)))
    nothing = Against(said((0.3, 0.9)), torch.tensor([0]), torch.tensor([0.0]))
    along = Against(plain.text, torch.tensor([0]), torch.tensor([-3.0]))  # the wanted view itself: nothing to push
    expected = estimate(denoiser, x_t, t, plain, 9.0).guided
    for against in (nothing, along):
        found = estimate(denoiser, x_t, t, Conditions(plain.text, plain.negative, against), 9.0).guided
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_strengths() -> None:
    assert FRONT_SIDE(0.0) == pytest.approx(-1.574)
    assert FRONT_SIDE(1.0) == pytest.approx(0.0, abs=2e-3)
    assert SIDE_BACK(1.0) == pytest.approx(0.0, abs=1e-3)
    assert FRONT_FROM_BEHIND(1.0) == pytest.approx(FRONT_SIDE(0.0), abs=1e-2)  # where the two meet, at the side
    assert FRONT_FROM_BEHIND(0.0) < FRONT_FROM_BEHIND(1.0) < 0
