"""A text-to-image model as the judge of a mesh (see `export.refine`): the second stage of Magic3D (Lin et al. 2022).

A guidance says in which direction pictures should change, and how far only up to a factor; refining wants errors. So each
step's wish is made as large as an error of about `SIZE`. Meshes take wishes on: a vertex through Adam, a colour through a
mean over the steps that show it, in which the noise of single wishes cancels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras, Guidance
from nerf3d.core.schedules import Decay

SIZE = Decay(0.2, 0.02)
"""The root mean square of a step's wishes where the mesh is, in units of colour."""
LATE = 0.5
"""The object is there already: the guidance's own schedules begin in their middle."""

Look = Callable[[float, torch.Generator], Cameras]


class GuidedJudge:
    """An `export.refine.Judge`: random views, each before a grey of its own."""

    def __init__(self, guidance: Guidance, look: Look, rng: torch.Generator) -> None:
        self._guidance, self._look, self._rng = guidance, look, rng
        self._progress = LATE
        self._cameras: Cameras | None = None

    def views(self, rng: torch.Generator) -> Cameras:
        self._cameras = self._look(self._progress, rng)
        return self._cameras

    def __call__(self, pictures: Float[Tensor, "b h w 4"], progress: float) -> Float[Tensor, ""]:
        assert self._cameras is not None, "views() comes first"
        self._progress = LATE + (1 - LATE) * progress
        color, opacity = pictures.split([3, 1], -1)
        images = color + (1 - opacity) * torch.rand(len(pictures), 1, 1, 1, generator=self._rng)
        shown = images.detach().requires_grad_()
        (wish,) = torch.autograd.grad(torch.stack(self._asked(shown)).sum(), shown)
        there = (opacity.detach() > 0).expand_as(wish)
        if not bool(there.any()):
            return 0 * images.sum()
        loudness = wish[there].square().mean().sqrt()
        return (wish * (SIZE(progress) / loudness.clamp_min(1e-20)) * images).sum()

    def _asked(self, images: Tensor) -> list[Tensor]:
        assert self._cameras is not None
        return list(self._guidance(images, self._cameras, self._progress, self._rng).values())
