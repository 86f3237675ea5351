import pytest
import torch

from nerf3d.guidance.noise import NoiseSchedule

S = torch.linspace(0.01, 0.99, 50)
SCHEDULES = {
    "diffusion": NoiseSchedule.diffusion(torch.linspace(0.999, 0.01, 50)),
    "flow": NoiseSchedule.flow(S, 1000 * S),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_prediction_says_the_same(name: str, rng: torch.Generator) -> None:
    schedule, t = SCHEDULES[name], torch.tensor([0, 20, 49])
    x, eps = torch.randn(2, 3, 4, 5, 5, generator=rng)
    x_t = schedule.add_noise(x, eps, t)
    alpha, sigma = (table[t][:, None, None, None] for table in (schedule.alpha, schedule.sigma))
    told = {"epsilon": eps, "v_prediction": alpha * eps - sigma * x, "sample": x, "flow": eps - x}
    for kind, prediction in told.items():
        found = schedule.epsilon(prediction, kind, x_t, t)
        torch.testing.assert_close(found, eps, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(schedule.clean(x_t, found, t), x, rtol=1e-3, atol=1e-3)


def test_alpha_bar_is_the_share_of_the_picture() -> None:
    t = torch.tensor([0, 25, 49])
    torch.testing.assert_close(SCHEDULES["diffusion"].alpha_bar(t), torch.linspace(0.999, 0.01, 50)[t])
    s = S[t]
    torch.testing.assert_close(SCHEDULES["flow"].alpha_bar(t), (1 - s) ** 2 / ((1 - s) ** 2 + s**2))
    assert SCHEDULES["flow"].steps == 50


def test_pure_noise_stays_finite() -> None:
    """The last level of schedules with zero terminal signal."""
    schedule = NoiseSchedule.diffusion(torch.tensor([0.9, 0.0]))
    one, t = torch.ones(1, 1, 2, 2), torch.tensor([1])
    assert torch.isfinite(schedule.clean(one, 0.5 * one, t)).all()


def test_flow_residuals_are_noise_residuals_times_one_minus_s(rng: torch.Generator) -> None:
    schedule, t = SCHEDULES["flow"], torch.tensor([30])
    x_t, u_1, u_2 = torch.randn(3, 1, 4, 3, 3, generator=rng)
    difference = schedule.epsilon(u_1, "flow", x_t, t) - schedule.epsilon(u_2, "flow", x_t, t)
    torch.testing.assert_close(difference, (1 - S[30]) * (u_1 - u_2))
