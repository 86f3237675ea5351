"""The objects of some pictures, by the diffusion that learnt what planes are like: SSDNeRF's reconstruction.

Chen et al., "Single-Stage Diffusion NeRF" (2023): codes are drawn while the gradient of the rendering's error moves them
(guidance), which finds an object that looks about like the pictures, all around; then they are moved on by

    L_rend + weight L_diff

(finetuning), which brings them to the pictures and keeps what no picture shows as objects usually are.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.collections.collection import Collection
from nerf3d.models.plane_codes import bounded, unbounded
from nerf3d.tasks.generate.kinds import one_kind
from nerf3d.tasks.generate.looks import Gallery
from nerf3d.tasks.generate.ssdnerf import PlaneObjects, losses_of


@dataclass(frozen=True)
class Reconstruction:
    """`steps` of guidance, each `strength` long times the noise that is left, and `refinements` at `rate`."""

    steps: int = 25
    strength: float = 0.5
    refinements: int = 100
    rate: float = 3e-2
    prior_weight: float = 0.1
    """Of the diffusion's loss. Less fits the pictures better, and all other sides worse."""


@torch.enable_grad()
def reconstruct(
    maker: PlaneObjects, seen: Collection, how: Reconstruction, rng: torch.Generator, kind: str | None = None
) -> Float[Tensor, "n 3 c r r"]:
    """Codes for all objects of a collection that was not learnt from, however few pictures of each there are.

    Raises InputError for a kind that the model does not know.
    """
    gallery, scenes = Gallery(seen), range(seen.scenes)
    told = None if kind is None else one_kind(maker.kinds, kind, len(scenes))

    def judge(planes: Tensor) -> Tensor:
        return torch.stack(list(losses_of(maker, planes, gallery, scenes, rng).values())).sum()

    guided = maker.diffusion.sample(len(scenes), rng, told, steps=how.steps, judge=judge, strength=how.strength)
    bound = maker.recipe.planes.bound
    codes = maker.recipe.planes.build(len(scenes)).to(guided.device)
    codes.raw.copy_(unbounded(guided, bound))
    for _ in range(how.refinements):
        raw = codes.raw_of(scenes)
        planes = bounded(raw, bound)
        loss = judge(planes) + how.prior_weight * maker.diffusion.loss(planes, told, rng)
        (slope,) = torch.autograd.grad(loss, raw)
        codes.step(scenes, slope, how.rate)
    return codes(scenes)
