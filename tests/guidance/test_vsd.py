import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nerf3d.core import Guidance
from nerf3d.core.schedules import Constant
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.text import Text
from nerf3d.guidance.timesteps import Timesteps
from nerf3d.guidance.vsd import VSD, Learner, VariationalScoreDistillation


class GaussianStudent(nn.Module):
    """Believes the scene's renderings to be N(m, s^2 I), and can learn m and s."""

    def __init__(self, denoiser: Denoiser, m: float, s: float) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.m = nn.Parameter(torch.tensor(m))
        self.log_s = nn.Parameter(torch.tensor(math.log(s)))

    def forward(self, x_t: Tensor, t: Tensor, text: Text) -> Tensor:
        belief = torch.stack([self.m, self.log_s.exp()]).expand(len(t), 1, 2)
        return self.denoiser.predict(x_t, t, Text(belief))


AT_40 = Timesteps(Constant(0.405), Constant(0.405))


def test_the_mean_gradient_for_gaussians(
    gaussian: Callable[..., Denoiser], prompts, around, rng: torch.Generator
) -> None:
    """E[eps_teacher - eps_student] = alpha sigma ((x - m) / D - (x - m') / D')."""
    denoiser, count = gaussian(), 4000
    picture = torch.rand(1, 4, 4, 3, generator=rng)
    images = picture.expand(count, 4, 4, 3).clone().requires_grad_()
    config = VSD(scale=1.0, weighting="uniform", timesteps=AT_40)
    guidance = VariationalScoreDistillation(config, denoiser, prompts(0.5, 0.4), GaussianStudent(denoiser, 0.1, 0.7))
    assert isinstance(guidance, Guidance)
    assert isinstance(guidance, Learner)
    guidance(images, around([0.0] * count), 0.0, rng)["guidance"].backward()
    found = images.grad.permute(0, 3, 1, 2) * count / 2
    alpha, sigma, x = denoiser.schedule.alpha[40], denoiser.schedule.sigma[40], denoiser.encode(picture)[0]
    pull = [(x - m) / (alpha**2 * s**2 + sigma**2) for m, s in ((0.5, 0.4), (0.1, 0.7))]
    expected = alpha * sigma * (pull[0] - pull[1])
    assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / math.sqrt(count)).all()


def test_a_student_that_knows_what_the_teacher_knows_ends_the_pull(
    gaussian, prompts, around, rng: torch.Generator
) -> None:
    denoiser = gaussian()
    images = torch.rand(3, 4, 4, 3, generator=rng, requires_grad=True)
    student = GaussianStudent(denoiser, 0.5, 0.4)
    guidance = VariationalScoreDistillation(VSD(scale=1.0), denoiser, prompts(0.5, 0.4), student)
    guidance(images, around([0.0] * 3), 0.0, rng)["guidance"].backward()
    torch.testing.assert_close(images.grad, torch.zeros_like(images), atol=1e-5, rtol=0)
    assert student.m.grad is None  # the scene's loss does not train the student


def test_the_student_learns_how_the_pictures_are_spread(gaussian, prompts, around, rng: torch.Generator) -> None:
    denoiser = gaussian()
    student = GaussianStudent(denoiser, -0.5, 1.0)
    guidance = VariationalScoreDistillation(VSD(student_rate=0.03), denoiser, prompts(), student)
    (group,) = guidance.players()["student"]
    assert group.rate(0.5) == 0.03
    optimizer = torch.optim.Adam(group.parameters, lr=0.03)
    for _ in range(250):
        images = (0.6 + 0.1 * torch.randn(32, 4, 4, 3, generator=rng)).requires_grad_()  # 0.2 and 0.2 in [-1, 1]
        optimizer.zero_grad()
        guidance.study(images, around([0.0] * 32), 0.0, rng)["student"].backward()
        assert images.grad is None  # the student's loss does not train the scene
        optimizer.step()
    assert abs(student.m.item() - 0.2) < 0.05
    assert abs(student.log_s.exp().item() - 0.2) < 0.05
