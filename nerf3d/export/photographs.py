"""Photographs as the judge of a mesh: its pictures should be these (see `export.refine`)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.export.draw import draw
from nerf3d.export.refine import Painted
from nerf3d.kernels.contours import edges_of

LONGEST = 800
"""Photographs that are larger on their longer side are looked at in this size."""
TOGETHER = 4
SAMPLE = 12


class PhotographJudge:
    """An `export.refine.Judge`: a few photographs at a time in random order, all of them before one comes again.

    Where photographs have alpha, colours over black and opacity count. Where they have none, nobody knows what should be
    beside the mesh, so only pixels count that it covers wholly. Pixels where `masks` is False do not count.
    """

    def __init__(
        self, images: UInt8[Tensor, "b h w c"], cameras: Cameras, masks: Bool[Tensor, "b h w"] | None = None
    ) -> None:
        scale = min(LONGEST / max(cameras.width, cameras.height), 1.0)
        height, width = (max(round(side * scale), 1) for side in (cameras.height, cameras.width))
        self.cameras = cameras.scaled_to(width, height)
        self._targets = torch.cat([_premultiplied(image, height, width) for image in images.split(1)])
        self._usable: Bool[Tensor, "b h w 1"] | None = None
        if masks is not None:
            self._usable = torch.cat([_reduced(m[..., None].float(), height, width) > 0.999 for m in masks.split(1)])
        self._has_alpha = images.shape[-1] == 4
        self._waiting: list[int] = []
        self._shown: list[int] = []

    def views(self, rng: torch.Generator) -> Cameras:
        if not self._waiting:
            self._waiting = torch.randperm(len(self.cameras), generator=rng).tolist()
        self._shown, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        return self.cameras[self._shown]

    def __call__(self, pictures: Float[Tensor, "b h w 4"], progress: float) -> Float[Tensor, ""]:
        errors = [
            self._error(picture, self._goal(picture.detach(), i), i)[0]
            for picture, i in zip(pictures, self._shown, strict=True)
        ]
        return 0.5 * torch.stack(errors).sum()

    @torch.no_grad()
    def psnr(self, mesh: Painted) -> float:
        """How near the mesh comes to some of the photographs, evenly chosen: dB, over all channels that count."""
        total = count = 0.0
        edges, each = edges_of(mesh.faces), max(len(self.cameras) // SAMPLE, 1)
        for i in range(0, len(self.cameras), each):
            picture = draw(mesh.vertices, mesh.faces, edges, mesh.paint, self.cameras, i, oversampling=3)
            error, values = self._error(picture, self._targets[i].float() / 255, i)
            total, count = total + float(error), count + values
        return -10 * math.log10(max(total / max(count, 1.0), 1e-10))

    def _goal(self, picture: Float[Tensor, "h w 4"], which: int) -> Float[Tensor, "h w 4"]:
        """What a picture should be: the photograph's own colours, as far as the mesh covers a pixel; and its opacity.

        Were colours over black compared, a mesh that reaches a little too far would be painted dark along its rims.
        """
        truth = self._targets[which].float() / 255
        color, alpha = truth.split([3, 1], -1)
        straight = torch.where(alpha > 0, color / alpha.clamp_min(1 / 255) * picture[..., 3:], picture[..., :3])
        return torch.cat([straight, alpha], -1) if self._has_alpha else truth

    def _error(
        self, picture: Float[Tensor, "h w 4"], goal: Float[Tensor, "h w 4"], which: int
    ) -> tuple[Float[Tensor, ""], float]:
        """The sum of squared errors, and of how many values."""
        error = (picture - goal).square()
        counts = torch.ones_like(error[..., :1]) if self._has_alpha else (picture[..., 3:].detach() > 0.999).float()
        if self._usable is not None:
            counts = counts * self._usable[which].float()
        return (error * counts).sum(), error.shape[-1] * float(counts.sum())


def _premultiplied(image: UInt8[Tensor, "1 h w c"], height: int, width: int) -> UInt8[Tensor, "1 h2 w2 4"]:
    color = image[..., :3].float()
    alpha = image[..., 3:].float() if image.shape[-1] == 4 else torch.full_like(color[..., :1], 255)
    return _reduced(torch.cat([color * alpha / 255, alpha], -1), height, width).round().to(torch.uint8)


def _reduced(image: Float[Tensor, "1 h w c"], height: int, width: int) -> Float[Tensor, "1 h2 w2 c"]:
    if image.shape[1:3] == (height, width):
        return image
    return F.interpolate(image.permute(0, 3, 1, 2), (height, width), mode="area").permute(0, 2, 3, 1)
