import torch

from nerf3d.core import Guidance
from nerf3d.core.schedules import Constant
from nerf3d.guidance.ism import ISM
from nerf3d.guidance.timesteps import Timesteps

AT_60 = Timesteps(Constant(0.605), Constant(0.605))


def gradient(config: ISM, denoiser, prompts, cameras, images: torch.Tensor, rng) -> torch.Tensor:
    leaf = images.clone().requires_grad_()
    config.build(denoiser, prompts)(leaf, cameras, 0.0, rng)["guidance"].backward()
    return leaf.grad.permute(0, 3, 1, 2) * len(images) / 2


def test_for_gaussians_against_the_exact_path(gaussian, prompts, around, rng: torch.Generator) -> None:
    """x follows the flow of the negative's Gaussian; there the two estimates are known, and no chance is left."""
    denoiser, images = gaussian(), torch.rand(2, 4, 4, 3, generator=rng)
    assert isinstance(ISM().build(denoiser, prompts()), Guidance)
    config = ISM(scale=3.0, weighting="uniform", timesteps=AT_60, interval=0.05, inversion_steps=55)
    m, s, m_not, s_not = 0.5, 0.4, -0.2, 0.6
    found = gradient(config, denoiser, prompts(m, s, m_not, s_not), around([0.0, 0.0]), images, rng)

    alpha, sigma = denoiser.schedule.alpha, denoiser.schedule.sigma

    def eps(x_t: torch.Tensor, t: int, m: float, s: float) -> torch.Tensor:
        return sigma[t] * (x_t - alpha[t] * m) / (alpha[t] ** 2 * s**2 + sigma[t] ** 2)

    def along(x: torch.Tensor, t: int) -> torch.Tensor:
        widths = [(alpha[i] ** 2 * s_not**2 + sigma[i] ** 2).sqrt() for i in (0, t)]
        return alpha[t] * m_not + widths[1] / widths[0] * (x - alpha[0] * m_not)

    x = denoiser.encode(images)
    x_s, x_t = along(x, 55), along(x, 60)
    wanted, unwanted = eps(x_t, 60, m, s), eps(x_t, 60, m_not, s_not)
    expected = unwanted + 3.0 * (wanted - unwanted) - eps(x_s, 55, m_not, s_not)
    assert (found - expected).abs().max() < 0.05
    assert expected.abs().min() > 0.2


def test_it_takes_no_chance_beside_t(gaussian, prompts, around, rng: torch.Generator) -> None:
    images, cameras = torch.rand(2, 4, 4, 3, generator=rng), around([0.0, 0.0])
    config = ISM(timesteps=AT_60)
    assert torch.equal(
        gradient(config, gaussian(), prompts(), cameras, images, rng),
        gradient(config, gaussian(), prompts(), cameras, images, rng),
    )


def test_small_timesteps_do_no_harm(gaussian, prompts, around, rng: torch.Generator) -> None:
    images = torch.rand(1, 4, 4, 3, generator=rng)
    config = ISM(timesteps=Timesteps(Constant(0.0), Constant(0.005)))
    assert torch.isfinite(gradient(config, gaussian(), prompts(), around([0.0]), images, rng)).all()
