"""What tri-planes are like: a diffusion over the codes of a collection's objects, which draws new ones and finds known ones.

The prior of SSDNeRF (Chen et al., "Single-Stage Diffusion NeRF", 2023). With x the planes (less the usual object's, and each
feature divided by its spread), e noise, t in [0, 1] and Nichol and Dhariwal's cosine schedule (2021) without its offset:

    x_t  = alpha x + sigma e               alpha = cos(pi t / 2), sigma = sin(pi t / 2)
    v    = alpha e - sigma x               what the network answers (Salimans and Ho, "Progressive Distillation", 2022)
    x^   = alpha x_t - sigma v             e^ = sigma x_t + alpha v
    loss = w(t) |x^ - x|^2                 w = SNR^(1/2) + 0.1 (1 + SNR), SNR = alpha^2 / sigma^2
         = (alpha sigma + 0.1) |v^ - v|^2  since x^ - x = -sigma (v^ - v)

The paper's weight is the first term. It is nothing where all is noise, which is where drawing begins and where a condition
decides most; the second, a tenth of what v itself would be weighed with, has the network learn there too.

Codes are drawn by DDIM (Song et al., 2021): x_s = alpha_s x^ + sigma_s e^, from t = 1 to 0 in a few steps.

Codes are found by the same, where on the way x^ is moved against the gradient of what a judge says of it (of pictures of the
object: the rendering's error). The further the noise is gone, the less: a step is `strength` sigma long, as the mean square
of its numbers goes. A gradient's own length says nothing about how far x^ is off, so that it is left out; nor does it go
through the network, which would cost two thirds more.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.models.classifier_free import guided, sometimes
from nerf3d.models.plane_codes import PlaneCodesConfig
from nerf3d.models.plane_denoiser import PlaneDenoiserConfig

FLOOR = 0.1
"""Of the weight of v's error."""
STEPS = 25
KEEP = 0.99
"""Of the running mean and spread, in a step."""
LEAST = 1e-4
"""Spread of a feature."""

Judge = Callable[[Float[Tensor, "b 3 c r r"]], Float[Tensor, ""]]
"""How wrong some planes are, as one number."""


class PlaneDiffusion(nn.Module):
    """`track` and `loss` teach, `sample` draws planes, or finds those that a judge asks for."""

    mean: Tensor
    deviation: Tensor
    tracked: Tensor

    def __init__(
        self, config: PlaneDenoiserConfig, planes: PlaneCodesConfig, condition: int, rng: torch.Generator
    ) -> None:
        """`condition` numbers, 0 for none."""
        super().__init__()
        self.planes = planes
        self.denoiser = config.build(planes.features, planes.resolution, condition, rng)
        self.register_buffer("mean", torch.zeros(planes.shape))
        self.register_buffer("deviation", torch.ones(3, planes.features, 1, 1))
        self.register_buffer("tracked", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def track(self, planes: Float[Tensor, "n 3 c r r"]) -> None:
        """Let the mean, place by place, and the spread, feature by feature, follow those of some objects."""
        self.tracked += 1
        forget = max(1 - KEEP, 1 / float(self.tracked))  # the first time all, and then as a mean of all so far
        self.mean.lerp_(planes.mean(0), forget)
        square = (planes - self.mean).square().mean((0, 3, 4))[..., None, None]
        self.deviation.copy_(self.deviation.square().lerp(square, forget).sqrt().clamp_min(LEAST))

    def forward(
        self, x_t: Float[Tensor, "b 3 c r r"], t: Float[Tensor, "b"], condition: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b 3 c r r"]:
        """The network's v; without a condition, or with rows of NaN, for all kinds together."""
        return self.denoiser(x_t.flatten(1, 2), t, condition).unflatten(1, (3, -1))

    def loss(
        self, planes: Float[Tensor, "b 3 c r r"], condition: Float[Tensor, "b k"] | None, rng: torch.Generator
    ) -> Float[Tensor, ""]:
        """w(t) |x^ - x|^2 at random times, a mean over all numbers. Its gradient reaches the planes and the network."""
        x = (planes - self.mean) / self.deviation
        e = torch.randn(x.shape, generator=rng, device=rng.device).to(x)
        # One in each of b equal parts of [0, 1], so that the loss depends less on chance.
        spread = torch.randperm(len(x), generator=rng, device=rng.device)
        t = ((spread + torch.rand(len(x), generator=rng, device=rng.device)) / len(x)).to(x)
        condition = sometimes(condition if condition is None else condition.to(x), rng)
        alpha, sigma = (level[:, None, None, None, None] for level in levels(t))
        error = self(alpha * x + sigma * e, t, condition) - (alpha * e - sigma * x)
        return ((alpha * sigma + FLOOR) * error.square()).mean()

    def sample(
        self,
        count: int,
        rng: torch.Generator,
        condition: Float[Tensor, "b k"] | None = None,
        scale: float = 1.0,
        truncation: float = 1.0,
        steps: int = STEPS,
        judge: Judge | None = None,
        strength: float = 0.5,
    ) -> Float[Tensor, "b 3 c r r"]:
        """So many objects' planes. `truncation` below 1 begins nearer to the middle: more usual, less different.

        `scale` above 1 goes beyond the condition (guidance without a classifier); with a `judge` they become what it asks.
        """
        x_t = truncation * torch.randn(count, *self.planes.shape, generator=rng, device=rng.device).to(self.mean)
        times = torch.linspace(1, 0, steps + 1)
        for t, after in zip(times, times[1:]):
            (alpha, sigma), (alpha_after, sigma_after) = levels(t), levels(after)
            with torch.no_grad():
                v = self._guided(x_t, t, condition, scale)
            x, e = alpha * x_t - sigma * v, sigma * x_t + alpha * v
            if judge is not None:
                x = x - strength * sigma * self._direction(x, judge)
            x_t = alpha_after * x + sigma_after * e
        return self._to_planes(x_t)

    def _guided(self, x_t: Tensor, t: Tensor, condition: Tensor | None, scale: float) -> Tensor:
        time = t.expand(len(x_t)).to(x_t)
        return guided(lambda told: self(x_t, time, told), condition, scale)

    def _direction(self, x: Tensor, judge: Judge) -> Tensor:
        """Where the judge's number grows, of mean square 1 for each object."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(judge(self._to_planes(x)), x)
        length = slope.square().mean((1, 2, 3, 4), keepdim=True).sqrt()
        return slope / length.clamp_min(torch.finfo(slope.dtype).tiny)

    def _to_planes(self, x: Tensor) -> Tensor:
        return (self.mean + self.deviation * x).clamp(-self.planes.bound, self.planes.bound)


def levels(t: Float[Tensor, "*b"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """alpha and sigma: how much of the planes and how much noise there is at a time.

    >>> levels(torch.tensor(1 / 3))
    (tensor(0.8660), tensor(0.5000))
    """
    return torch.cos(0.5 * math.pi * t), torch.sin(0.5 * math.pi * t)
