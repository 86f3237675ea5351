"""A table of scenes: the tri-planes of every object of a collection, learnt one by one, read by a decoder that all share.

The codes of SSDNeRF's auto-decoder (Chen et al., "Single-Stage Diffusion NeRF", 2023). Planes are bound tanh(raw), so that a
diffusion has something finite to learn; what is stored and moved is raw.

A step looks at few of the scenes. Only their codes move, by an Adam (`kernels.adam`) whose moments and number of steps are
each scene's own: a scene that comes again after hundreds of steps goes on where it stopped, and all others stay as they
are, to the last bit. All of that is the table's state; a training loop's optimiser would move, or at least read, the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.kernels.adam import adam

BETAS = (0.9, 0.99)
EPSILON = 1e-15
FURTHEST = 0.999
"""Of the bound: where planes that touch it are taken to be, so that raw stays finite."""


@dataclass(frozen=True)
class PlaneCodesConfig:
    """The defaults suit pictures of 32 x 32."""

    features: int = 8
    resolution: int = 24
    bound: float = 2.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one scene's planes.

        >>> PlaneCodesConfig().shape
        (3, 8, 24, 24)
        """
        return 3, self.features, self.resolution, self.resolution

    def build(self, scenes: int) -> "PlaneCodes":
        """Raises InputError for planes without features, of fewer than 2 rows, or bound to 0."""
        if self.features < 1 or self.resolution < 2 or not self.bound > 0:
            raise InputError("planes need at least 1 feature, a resolution of at least 2 and a bound above 0")
        return PlaneCodes(self, scenes)


def bounded(raw: Float[Tensor, "*s"], bound: float) -> Float[Tensor, "*s"]:
    """bound tanh(raw)."""
    return bound * torch.tanh(raw)


def unbounded(planes: Float[Tensor, "*s"], bound: float) -> Float[Tensor, "*s"]:
    """The raw numbers of planes, those at the bound and beyond taken a little inside.

    >>> unbounded(bounded(torch.tensor([0.25, -1.5]), 2.0), 2.0)
    tensor([ 0.2500, -1.5000])
    """
    return torch.atanh((planes / bound).clamp(-FURTHEST, FURTHEST))


class PlaneCodes(nn.Module):
    """`codes.raw_of(scenes)` are leaves for gradients, `codes.step(scenes, gradient, rate)` moves those scenes."""

    raw: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, config: PlaneCodesConfig, scenes: int) -> None:
        super().__init__()
        self.config = config
        for name in ("raw", "mean", "square"):
            self.register_buffer(name, torch.zeros(scenes, *config.shape))
        self.register_buffer("steps", torch.zeros(scenes, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.raw)

    def forward(self, scenes: Sequence[int]) -> Float[Tensor, "n 3 c r r"]:
        """The planes of some scenes, without a road for gradients."""
        return bounded(self.raw[list(scenes)], self.config.bound)

    def raw_of(self, scenes: Sequence[int]) -> Float[Tensor, "n 3 c r r"]:
        """A copy of some scenes' raw numbers that gradients can be asked of."""
        return self.raw[list(scenes)].requires_grad_()

    def begin(self, scenes: Sequence[int], planes: Float[Tensor, "3 c r r"]) -> None:
        """Let those of the scenes that have never moved be as `planes`: the usual object is nearer to any than none."""
        new = [scene for scene in scenes if self.steps[scene] == 0]
        self.raw[new] = unbounded(planes, self.config.bound)

    def seen(self) -> list[int]:
        """The scenes that have moved, in order."""
        return torch.nonzero(self.steps)[:, 0].tolist()

    @torch.no_grad()
    def step(self, scenes: Sequence[int], gradient: Float[Tensor, "n 3 c r r"], rate: float) -> None:
        """One step of Adam for some scenes, of which none is there twice, by the gradient of their raw numbers."""
        self.steps[list(scenes)] += 1
        for scene, slope in zip(scenes, gradient, strict=True):
            own = self.raw[scene], slope, self.mean[scene], self.square[scene]
            adam(*own, int(self.steps[scene]), rate, BETAS, EPSILON)
