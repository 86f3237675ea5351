"""Photographs with poses, as every loader returns them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.core import Box, Cameras


@dataclass(frozen=True)
class Photographs:
    """Pictures and the cameras that took them.

    `images` stay 8-bit in memory: three channels, or four with straight (not premultiplied) alpha. `masks` are True
    where a pixel may be used; None where all may.
    """

    images: UInt8[Tensor, "b h w c"]
    cameras: Cameras
    names: tuple[str, ...]
    masks: Bool[Tensor, "b h w"] | None = None

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def has_alpha(self) -> bool:
        return self.images.shape[-1] == 4

    def to(self, device: torch.device | str) -> "Photographs":
        masks = None if self.masks is None else self.masks.to(device)
        return Photographs(self.images.to(device), self.cameras.to(device), self.names, masks)


@dataclass(frozen=True)
class Capture:
    """A data set as it was found on disk, in its own world frame and units.

    `box` bounds a single object in front of nothing (Blender-style scenes with alpha); it is None for a capture of a
    real place, which goes on to the horizon. `points` are the world points that structure from motion found, where it
    left any. `notes` are sentences that the person should read: pictures that were skipped, how the split was made.
    """

    train: Photographs
    test: Photographs
    up: Float[Tensor, "3"]
    box: Box | None = None
    points: Float[Tensor, "p 3"] | None = None
    notes: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> "Capture":
        box = None if self.box is None else Box(self.box.low.to(device), self.box.high.to(device))
        points = None if self.points is None else self.points.to(device)
        return Capture(self.train.to(device), self.test.to(device), self.up.to(device), box, points, self.notes)
