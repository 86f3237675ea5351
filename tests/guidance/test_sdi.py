import pytest
import torch

from nerf3d.core import Guidance
from nerf3d.core.schedules import Constant
from nerf3d.guidance.sdi import SDI
from nerf3d.guidance.timesteps import Timesteps

AT_60 = Timesteps(Constant(0.605), Constant(0.605))


def gradient(config: SDI, denoiser, prompts, cameras, images: torch.Tensor, rng) -> torch.Tensor:
    leaf = images.clone().requires_grad_()
    config.build(denoiser, prompts)(leaf, cameras, 0.0, rng)["guidance"].backward()
    return leaf.grad.permute(0, 3, 1, 2) * len(images) / 2


@pytest.mark.parametrize("inversion_scale", [1.0, 0.0])
def test_for_gaussians_against_the_exact_noise(
    inversion_scale: float, gaussian, prompts, around, rng: torch.Generator
) -> None:
    """Inverted along the exact path of one of the two, a picture has one noise: kappa = (x_t - alpha x) / sigma."""
    denoiser, images, wanted, unwanted = gaussian(), torch.rand(2, 4, 4, 3, generator=rng), (0.5, 0.4), (-0.2, 0.6)
    config = SDI(scale=1.0, inversion_scale=inversion_scale, inversion_steps=60, fresh=0.0, timesteps=AT_60)
    assert isinstance(config.build(denoiser, prompts()), Guidance)
    found = gradient(config, denoiser, prompts(*wanted, *unwanted), around([0.0, 0.0]), images, rng)
    x, alpha, sigma = denoiser.encode(images), denoiser.schedule.alpha, denoiser.schedule.sigma
    m, s = wanted if inversion_scale == 1 else unwanted
    spread_0, spread = ((alpha[i] ** 2 * s**2 + sigma[i] ** 2).sqrt() for i in (0, 60))
    x_t = alpha[60] * m + spread / spread_0 * (x - alpha[0] * m)
    kappa = (x_t - alpha[60] * x) / sigma[60]
    m, s = wanted
    expected = sigma[60] * (x_t - alpha[60] * m) / (alpha[60] ** 2 * s**2 + sigma[60] ** 2) - kappa
    assert (found - expected).abs().max() < 0.05
    assert expected.abs().max() > 0.2


def test_fresh_noise_is_the_only_chance(gaussian, prompts, around, rng: torch.Generator) -> None:
    images, cameras, denoiser = torch.rand(2, 4, 4, 3, generator=rng), around([0.0, 0.0]), gaussian()

    def twice(fresh: float) -> bool:
        config = SDI(fresh=fresh, timesteps=AT_60)
        return torch.equal(*(gradient(config, denoiser, prompts(), cameras, images, rng) for _ in range(2)))

    assert twice(0.0)
    assert not twice(0.3)


def test_with_nothing_but_fresh_noise_it_is_sds(gaussian, prompts, around, rng: torch.Generator) -> None:
    from nerf3d.guidance.sds import SDS

    images, cameras, denoiser = torch.rand(2, 4, 4, 3, generator=rng), around([0.0, 0.0]), gaussian()
    found = gradient(SDI(scale=4.0, fresh=1.0, timesteps=AT_60), denoiser, prompts(), cameras, images, None)
    leaf = images.clone().requires_grad_()
    sds = SDS(scale=4.0, weighting="uniform", timesteps=AT_60).build(denoiser, prompts())
    sds(leaf, cameras, 0.0, None)["guidance"].backward()
    torch.testing.assert_close(found, leaf.grad.permute(0, 3, 1, 2), rtol=1e-3, atol=1e-4)
