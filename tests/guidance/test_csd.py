from collections.abc import Callable

import torch

from nerf3d.core import Guidance
from nerf3d.core.schedules import Constant
from nerf3d.guidance.csd import CSD
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.timesteps import Timesteps


def test_for_two_gaussians_of_one_width_it_needs_no_mean(
    gaussian: Callable[..., Denoiser], prompts, around, rng: torch.Generator
) -> None:
    """eps_hat(y) - eps_hat(negative) = alpha sigma (m' - m) / (alpha^2 s^2 + sigma^2) for any noise and picture."""
    images = torch.rand(5, 4, 4, 3, generator=rng, requires_grad=True)
    denoiser = gaussian("v_prediction")
    guidance = CSD("uniform", Timesteps(Constant(0.405), Constant(0.405))).build(denoiser, prompts(0.5, 0.4, -0.2, 0.4))
    assert isinstance(guidance, Guidance)
    guidance(images, around([0.0] * 5), 0.0, rng)["guidance"].backward()
    alpha, sigma = denoiser.schedule.alpha[40], denoiser.schedule.sigma[40]
    expected = sigma * alpha * (-0.2 - 0.5) / (alpha**2 * 0.4**2 + sigma**2)
    torch.testing.assert_close(images.grad * 5 / 2, expected.expand(5, 4, 4, 3), rtol=1e-3, atol=1e-4)


def test_nothing_to_classify_means_no_gradient(gaussian, prompts, around, rng: torch.Generator) -> None:
    images = torch.rand(2, 4, 4, 3, generator=rng, requires_grad=True)
    CSD().build(gaussian(), prompts(0.3, 0.4, 0.3, 0.4))(images, around([0.0] * 2), 0.0, rng)["guidance"].backward()
    torch.testing.assert_close(images.grad, torch.zeros_like(images), atol=1e-6, rtol=0)
