from collections.abc import Callable

import pytest
import torch

from nerf3d.guidance.denoiser import Codec, Denoiser, Network
from nerf3d.guidance.noise import NoiseSchedule

KINDS = ("epsilon", "v_prediction", "sample", "flow")


@pytest.mark.parametrize("levels", ["diffusion", "flow"])
def test_all_parametrisations_of_one_gaussian_agree(
    levels: str, gaussian: Callable[..., Denoiser], said, schedules: dict[str, NoiseSchedule], rng: torch.Generator
) -> None:
    schedule = schedules[levels]
    t = torch.tensor([0, 10, 50, 97])
    x, noise = torch.randn(2, 4, 3, 4, 4, generator=rng)
    text = said((0.5, 0.4), (-0.3, 1.0), (0.0, 0.2), (0.9, 0.6))
    found = []
    for kind in KINDS:
        denoiser = gaussian(kind, schedule)
        found.append(denoiser.predict(denoiser.add_noise(x, noise, t), t, text))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-3)


def test_the_estimate_is_the_posterior_mean(gaussian: Callable[..., Denoiser], said) -> None:
    """Against a sum over many pictures drawn from the Gaussian, weighed by how well they explain what is seen."""
    denoiser, t = gaussian("v_prediction"), torch.tensor([40])
    alpha, sigma = denoiser.schedule.alpha[40].double(), denoiser.schedule.sigma[40].double()
    picture = torch.linspace(-4, 4, 20001, dtype=torch.float64)  # one pixel's values
    seen = 0.7
    prior = torch.exp(-((picture - 0.5) ** 2) / (2 * 0.4**2))
    weight = prior * torch.exp(-((seen - alpha * picture) ** 2) / (2 * sigma**2))
    mean = (weight * picture).sum() / weight.sum()
    x_t = torch.full((1, 3, 4, 4), seen)
    estimate = denoiser.clean(x_t, t, denoiser.predict(x_t, t, said((0.5, 0.4))))
    torch.testing.assert_close(estimate, torch.full_like(estimate, float(mean)), rtol=1e-4, atol=1e-4)


def test_its_parts_are_what_they_should_be(gaussian: Callable[..., Denoiser], rng: torch.Generator) -> None:
    denoiser = gaussian()
    assert isinstance(denoiser.network, Network)
    assert isinstance(denoiser.codec, Codec)
    assert denoiser.steps == 100
    images = torch.rand(2, 4, 4, 3, generator=rng, requires_grad=True)
    latents = denoiser.encode(images)
    torch.testing.assert_close(latents, 2 * images.permute(0, 3, 1, 2) - 1)
    latents.sum().backward()
    torch.testing.assert_close(images.grad, torch.full_like(images, 2.0))
