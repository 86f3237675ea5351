"""Pictures of a collection from their files, made smaller on the way so that they never lie in memory at full size."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.data.pictures import common_size, load_pictures
from nerf3d.errors import InputError

CHUNK = 256
"""Pictures that are decoded at once."""


def resized_size(width: int, height: int, size: int | None) -> tuple[int, int]:
    """(width, height) of pictures that become `size` pixels wide and keep their shape; None leaves them as they are.

    >>> resized_size(800, 600, 64)
    (64, 48)
    """
    if size is None:
        return width, height
    if size < 1:
        raise InputError(f"pictures cannot become {size} pixels wide; choose 1 or more")
    return size, max(round(height * size / width), 1)


def load_resized(paths: Sequence[Path], size: int | None = None) -> UInt8[Tensor, "n h w 4"]:
    """All pictures with straight alpha, `size` pixels wide. Raises InputError where they differ in size."""
    width, height = resized_size(*common_size(paths), size)
    pictures = torch.empty(len(paths), height, width, 4, dtype=torch.uint8)
    for start in range(0, len(paths), CHUNK):
        part = load_pictures(paths[start : start + CHUNK], alpha=True)
        pictures[start : start + CHUNK] = resized(part, width, height)
    return pictures


def resized(pictures: UInt8[Tensor, "n h w 4"], width: int, height: int) -> UInt8[Tensor, "n h2 w2 4"]:
    """Each new pixel is the mean of the area that it covers; colours count by their alpha, 0 where there is none.

    >>> pair = torch.tensor([[[[200, 0, 0, 255], [0, 0, 0, 0]]]], dtype=torch.uint8)
    >>> resized(pair, 1, 1).tolist()
    [[[[200, 0, 0, 128]]]]
    """
    if pictures.shape[1:3] == (height, width):
        return pictures
    value = pictures.float()
    alpha = value[..., 3:] / 255
    weighted = torch.cat([value[..., :3] * alpha, alpha], -1)
    down, across = area_weights(pictures.shape[1], height), area_weights(pictures.shape[2], width)
    mean = torch.einsum("yh,nhwc,xw->nyxc", down, weighted, across)
    color = mean[..., :3] / mean[..., 3:].clamp_min(1e-6)
    return (torch.cat([color, 255 * mean[..., 3:]], -1) + 0.5).clamp(0, 255).to(torch.uint8)


def area_weights(old: int, new: int) -> Float[Tensor, "new old"]:
    """The share that each of `old` cells has in each of `new` cells that cover the same length. Rows sum to 1.

    >>> area_weights(3, 2)
    tensor([[0.6667, 0.3333, 0.0000],
            [0.0000, 0.3333, 0.6667]])
    """
    edge = torch.arange(new + 1, dtype=torch.float64) * old / new
    cell = torch.arange(old, dtype=torch.float64)
    overlap = torch.minimum(edge[1:, None], cell + 1) - torch.maximum(edge[:-1, None], cell)
    return (overlap.clamp_min(0) * new / old).float()
