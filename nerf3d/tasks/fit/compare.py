"""A scene beside the photographs that it should look like."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Scene
from nerf3d.data.capture import Photographs
from nerf3d.render.picture import render_picture
from nerf3d.tasks.fit.task import over


def photograph(photographs: Photographs, index: int, background: Float[Tensor, "3"]) -> Float[Tensor, "h w 3"]:
    """One photograph in [0, 1], over the background where it is transparent."""
    return over(photographs.images[index].to(background.device).float() / 255, background)


def compare(
    scene: Scene, photographs: Photographs, index: int, longest: int | None = None
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w 3"]]:
    """The rendered view (cut to [0, 1]) and the photograph, both reduced so that no side is longer than `longest`."""
    cameras = photographs.cameras.to(scene.background.device)
    truth = photograph(photographs, index, scene.background)
    shrink = (longest or max(cameras.width, cameras.height)) / max(cameras.width, cameras.height)
    if shrink < 1:
        width, height = (max(round(side * shrink), 1) for side in (cameras.width, cameras.height))
        cameras = cameras.scaled_to(width, height)
        truth = F.interpolate(truth.permute(2, 0, 1)[None], (height, width), mode="area")[0].permute(1, 2, 0)
    return render_picture(scene, cameras, index).color.clamp(0, 1), truth
