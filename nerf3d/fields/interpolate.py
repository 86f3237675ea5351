"""Values between grid points, in one and two dimensions, twice differentiable, fast on a CPU.

The same numbers as `F.grid_sample(..., align_corners=True)`, but with the channels last, so that each corner is one
contiguous read. Sums have the precision of the positions, whatever the grid is in.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.kernels.rows import gather


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
    rows = gather(lines.to(x.dtype).reshape(-1, channels), index.reshape(-1, 2), weight.reshape(-1, 2))
    return rows.reshape(count, -1, channels)


def bilinear_lookup(planes: Float[Tensor, "k h w c"], x: Float[Tensor, "k n 2"]) -> Float[Tensor, "k n c"]:
    """Values of k planes at positions in [0, 1]^2; the first coordinate runs along w, the second along h."""
    count, height, width, channels = planes.shape
    column, across = _cell(x[..., 0], width)
    row, down = _cell(x[..., 1], height)
    corner = (torch.arange(count, device=x.device)[:, None] * height + row) * width + column
    index = torch.stack([corner, corner + 1, corner + width, corner + width + 1], -1)
    weight = torch.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], -1)
    rows = gather(planes.to(x.dtype).reshape(-1, channels), index.reshape(-1, 4), weight.reshape(-1, 4))
    return rows.reshape(count, -1, channels)
