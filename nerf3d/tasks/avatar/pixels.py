"""Which pixels of a frame are looked at. Boxes are x, y, width, height in whole pixels; pixels are (column, row)."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def or_else(box: Int64[Tensor, "4"], other: Int64[Tensor, "4"]) -> Int64[Tensor, "4"]:
    """The box, or another one where the data has none (its size is 0)."""
    return box if int(box[2:].min()) > 0 else other


def grown(box: Int64[Tensor, "4"], whole: Int64[Tensor, "4"], share: float) -> Int64[Tensor, "4"]:
    """The box, wider by a share of its size on every side, as far as the frame goes.

    >>> grown(torch.tensor([20, 40, 10, 10]), torch.tensor([0, 0, 64, 48]), 0.2)
    tensor([18, 38, 14, 10])
    """
    by = (share * box[2:].float()).round().long()
    low = (box[:2] - by).clamp_min(0)
    high = torch.minimum(box[:2] + box[2:] + by, whole[2:])
    return torch.cat([low, high - low])


def eyes(face: Int64[Tensor, "4"], whole: Int64[Tensor, "4"]) -> Int64[Tensor, "4"]:
    """Where in the box of a face, hair and chin included, the eyes are, as far as the frame goes; the frame, where it does
    not go there.

    >>> eyes(torch.tensor([100, 50, 100, 150]), torch.tensor([0, 0, 256, 256]))
    tensor([115, 113,  70,  27])
    >>> eyes(torch.tensor([100, 50, 100, 150]), torch.tensor([0, 0, 150, 128]))
    tensor([115, 113,  35,  15])
    """
    x, y, width, height = face.tolist()
    left, top = int(x + 0.15 * width), int(y + 0.42 * height)
    low = face.new_tensor([left, top]).clamp_min(0)
    high = torch.minimum(face.new_tensor([left + int(0.7 * width), top + int(0.18 * height)]), whole[2:])
    return or_else(torch.cat([low, high - low]), whole)


def inside(box: Int64[Tensor, "4"], x: Int64[Tensor, "n"], y: Int64[Tensor, "n"]) -> Bool[Tensor, "n"]:
    left, top, width, height = box
    return (x >= left) & (x < left + width) & (y >= top) & (y < top + height)


def within(box: Int64[Tensor, "4"], count: int, rng: torch.Generator) -> Int64[Tensor, "count 2"]:
    """So many pixels of a box, by chance and with repetition."""
    unit = torch.rand(count, 2, generator=rng, device=rng.device)
    return box[:2] + torch.minimum((unit * box[2:]).long(), box[2:] - 1)


def square(
    box: Int64[Tensor, "4"], side: int, whole: Int64[Tensor, "4"], rng: torch.Generator
) -> Int64[Tensor, "pixels 2"]:
    """All pixels of a square inside of the frame, row by row, whose middle lies in the box by chance."""
    middle = within(box, 1, rng)[0]
    corner = torch.minimum((middle - side // 2).clamp_min(0), (whole[2:] - side).clamp_min(0))
    row, column = torch.meshgrid(*(torch.arange(side, device=box.device) for _ in range(2)), indexing="ij")
    return corner + torch.stack([column, row], -1).reshape(-1, 2)
