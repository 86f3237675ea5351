"""How far a picture of a made object is from the photograph that it shall show: a sum of whatever one can measure.

    squared      mean squared difference of colors before black and of opacity
    absolute     mean absolute difference: a few wrong pixels count less
    structural   1 - SSIM (Wang et al. 2004, see `metrics.pictures.ssim`): edges in their places rather than right colors
    perceptual   LPIPS (Zhang et al. 2018), where its weights are at hand
    identity     1 - the cosine between the pictures in the space of an open_clip model (after ArcFace's part in pSp,
                 Richardson et al. 2021): what the model takes both for

All but the first two look at pictures before white.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.pictures import lpips_available, perceptual
from nerf3d.tasks.generate.looks import on_white

Measure = Literal["absolute", "structural", "perceptual", "identity"]
WEIGHTS: dict[Measure, float] = {"absolute": 0.1, "structural": 0.02, "perceptual": 0.02, "identity": 0.02}
"""Beside squared differences with 1: about what each is when they are 0.005, so that none outweighs those."""
WIDEST = 11
SIGMA = 1.5
"""Of SSIM's window, in pixels."""


@dataclass(frozen=True)
class Resemblance:
    """Squared differences and, of the others, those named. `judge` is for identity alone."""

    measures: tuple[Measure, ...] = ()
    judge: Evaluator | None = None

    def __post_init__(self) -> None:
        if "identity" in self.measures and self.judge is None:
            raise InputError("identity is measured by an open_clip model: name one")
        if "perceptual" in self.measures and not (found := lpips_available())[0]:
            raise InputError(found[1])

    def __call__(self, shown: Float[Tensor, "h w 4"], seen: Float[Tensor, "h w 4"]) -> Float[Tensor, ""]:
        """Of colors over black and opacity; 0 for equal pictures. Its gradient flows into `shown`."""
        total = F.mse_loss(shown, seen)
        for measure in self.measures:
            total = total + WEIGHTS[measure] * self._measured(measure, shown, seen)
        return total

    def _measured(self, measure: Measure, shown: Tensor, seen: Tensor) -> Tensor:
        if measure == "absolute":
            return F.l1_loss(shown, seen)
        one, other = on_white(shown), on_white(seen)
        if measure == "structural":
            return 1 - structural(one, other)
        if measure == "perceptual":
            return perceptual(one, other)
        assert self.judge is not None
        a, b = self.judge.watch(torch.stack([one, other]))
        return 1 - (a * b).sum()


SQUARED = Resemblance()


def structural(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"]) -> Float[Tensor, ""]:
    """SSIM with a gradient: 1 for equal pictures; the mean over whole windows, which are cut where pictures are smaller.

    >>> structural(torch.zeros(16, 16, 3), torch.zeros(16, 16, 3))
    tensor(1.)
    """
    size = min(WIDEST, *a.shape[:2])
    place = torch.arange(size, dtype=a.dtype, device=a.device) - (size - 1) / 2
    bell = torch.exp(-0.5 * (place / SIGMA).square())
    bell = bell / bell.sum()
    x, y = (p.permute(2, 0, 1)[:, None] for p in (a, b))

    def mean(p: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(p, bell.reshape(1, 1, -1, 1)), bell.reshape(1, 1, 1, -1))

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x.square(), mean(y * y) - mean_y.square()
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x.square() + mean_y.square() + 0.01**2)
    return (luminance * (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)).mean()
