from collections.abc import Callable

import pytest
import torch

from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.inversion import invert, move
from nerf3d.guidance.noise import NoiseSchedule


@pytest.mark.parametrize("levels", ["diffusion", "flow"])
def test_many_steps_follow_the_exact_path_of_a_gaussian(
    levels: str, gaussian: Callable[..., Denoiser], said, schedules: dict[str, NoiseSchedule], rng: torch.Generator
) -> None:
    """The probability flow of N(m, s^2 I): (x_t - alpha m) / sqrt(alpha^2 s^2 + sigma^2) stays what it was."""
    schedule = schedules[levels]
    denoiser = gaussian("epsilon", schedule)
    text, x, t = said((0.5, 0.4), (0.5, 0.4)), torch.randn(2, 3, 4, 4, generator=rng), torch.tensor([60, 90])

    def spread(t: torch.Tensor) -> torch.Tensor:
        return (schedule.alpha[t] ** 2 * 0.4**2 + schedule.sigma[t] ** 2).sqrt()[:, None, None, None]

    alpha, alpha_0 = schedule.alpha[t][:, None, None, None], schedule.alpha[0]
    exact = alpha * 0.5 + spread(t) * (x - alpha_0 * 0.5) / spread(0 * t)
    errors = []
    for steps in (5, 90):
        found = invert(denoiser, x, t, steps, lambda x, t: denoiser.predict(x, t, text))
        errors.append(float((found - exact).abs().max()))
    assert errors[1] < 0.05 * float(exact.abs().max())
    assert errors[1] < 0.4 * errors[0]


def test_a_step_and_back_is_no_step(gaussian: Callable[..., Denoiser], rng: torch.Generator) -> None:
    denoiser, start, stop = gaussian(), torch.tensor([20]), torch.tensor([70])
    x, eps = torch.randn(2, 1, 3, 4, 4, generator=rng)
    there = move(denoiser, x, eps, start, stop)
    torch.testing.assert_close(move(denoiser, there, eps, stop, start), x, rtol=1e-3, atol=1e-4)
    picture = denoiser.clean(x, start, eps)
    torch.testing.assert_close(there, denoiser.add_noise(picture, eps, stop))
