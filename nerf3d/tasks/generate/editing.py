"""Moving an object's code until its pictures agree with a text, as StyleCLIP does with faces (Patashnik et al., 2021).

    loss = mean over views of (1 - cos(picture, text))  +  KEEP |opacity - opacity before|^2  +  NEAR |change of the code|^2

(equation 1, with the silhouette in the place of the face's identity, and random views of a field in the place of one
picture). The change is measured in the codes' own spread. A change that is shared by several objects is a direction that
holds for all of them (the paper's section 5, found by optimisation).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.tasks.generate.inversion import spread_of
from nerf3d.tasks.generate.looks import on_white, picture
from nerf3d.tasks.generate.maker import Maker

Disagreement = Callable[[Float[Tensor, "v h w 3"]], Float[Tensor, "v"]]
"""How little each picture agrees with what is wanted: 0 is perfect."""
Show = Callable[[int, int], None]


@dataclass(frozen=True)
class Push:
    """How hard codes are moved."""

    steps: int = 100
    views: int = 2
    """Of every object, in a step."""
    rate: float = 0.05
    keep: float = 4.0
    near: float = 0.02


def edit(
    maker: Maker,
    codes: Float[Tensor, "n *code"],
    disagreement: Disagreement,
    cameras: Cameras,
    rng: torch.Generator,
    shared: bool = False,
    push: Push = Push(),
    show: Show = lambda done, needed: None,
) -> Float[Tensor, "n *code"]:
    """What has to be added to each code; the same for all of them if it is `shared`. Views are drawn from `cameras`.

    `show` is told how many of how many steps are done.
    """
    spread = spread_of(maker, rng)
    start = codes.detach()
    change = torch.zeros_like(start[:1] if shared else start, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=push.rate)
    before = maker.fields(start)
    for step in range(push.steps):
        optimizer.param_groups[0]["lr"] = push.rate * min(1.0, (step + 1) / (0.05 * push.steps + 1))
        fields = maker.fields(start + spread * change)
        shown, kept = [], start.new_zeros(())
        for field, old in zip(fields, before, strict=True):
            for view in torch.randint(len(cameras), (push.views,), generator=rng).tolist():
                seen = picture(field, cameras, view, maker.sampler)
                with torch.no_grad():
                    was = picture(old, cameras, view, maker.sampler)
                shown.append(on_white(seen))
                kept = kept + (seen[..., 3] - was[..., 3]).square().mean()
        loss = disagreement(torch.stack(shown)).mean() + push.keep * kept / len(shown)
        loss = loss + push.near * change.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        show(step + 1, push.steps)
    return (spread * change).detach().expand_as(start)
