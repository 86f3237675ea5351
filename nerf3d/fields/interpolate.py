"""Values between grid points, in one and two dimensions, twice differentiable, fast on a CPU.

The same numbers as `F.grid_sample(..., align_corners=True)`, but with the channels last, so that each corner is one
contiguous read: with 48 channels on three planes of 300^2, forward and backward take half as long or less.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


class _WeightedRows(torch.autograd.Function):
    """sum_k weight[:, k] * table[index[:, k]]. embedding_bag is fast, but lacks the second derivative; here it is."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weight)
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:  # type: ignore[override]
        table, index, weight = ctx.saved_tensors
        to_table = to_weight = None
        if ctx.needs_input_grad[0]:
            rows = (weight[:, :, None] * grad[:, None, :]).flatten(0, 1)
            to_table = torch.zeros_like(table).index_add(0, index.flatten(), rows)
        if ctx.needs_input_grad[2]:
            to_weight = (table[index] @ grad[:, :, None])[:, :, 0]
        return to_table, None, to_weight


def _cell(x: Float[Tensor, "*b"], points: int) -> tuple[Int64[Tensor, "*b"], Float[Tensor, "*b"]]:
    """The grid point below x in [0, 1], and how far x has come (0 to 1) from it to the next. Outside: the border."""
    scaled = x.clamp(0.0, 1.0) * (points - 1)
    below = scaled.detach().floor().clamp(max=points - 2)
    return below.long(), scaled - below


def linear_lookup(lines: Float[Tensor, "k w c"], x: Float[Tensor, "k n"]) -> Float[Tensor, "k n c"]:
    """Values of k lines at positions in [0, 1], whose ends are the first and the last of w grid points.

    >>> linear_lookup(torch.tensor([[[0.0], [10.0], [40.0]]]), torch.tensor([[0.25, 0.75]]))
    tensor([[[ 5.],
             [25.]]])
    """
    count, width, channels = lines.shape
    below, part = _cell(x, width)
    below = below + width * torch.arange(count, device=x.device)[:, None]
    index = torch.stack([below, below + 1], -1)
    weight = torch.stack([1 - part, part], -1)
    rows = _WeightedRows.apply(lines.reshape(-1, channels), index.reshape(-1, 2), weight.reshape(-1, 2))
    return rows.reshape(count, -1, channels)


def bilinear_lookup(planes: Float[Tensor, "k h w c"], x: Float[Tensor, "k n 2"]) -> Float[Tensor, "k n c"]:
    """Values of k planes at positions in [0, 1]^2; the first coordinate runs along w, the second along h."""
    count, height, width, channels = planes.shape
    column, across = _cell(x[..., 0], width)
    row, down = _cell(x[..., 1], height)
    corner = (torch.arange(count, device=x.device)[:, None] * height + row) * width + column
    index = torch.stack([corner, corner + 1, corner + width, corner + width + 1], -1)
    weight = torch.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], -1)
    rows = _WeightedRows.apply(planes.reshape(-1, channels), index.reshape(-1, 4), weight.reshape(-1, 4))
    return rows.reshape(count, -1, channels)
