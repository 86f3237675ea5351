"""Short looks into a surface: what the field is like on a line through each of many places."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.quadrature import weights
from nerf3d.errors import InputError


def look(
    field: Field,
    place: Float[Tensor, "n 3"],
    direction: Float[Tensor, "n 3"],
    edges: Float[Tensor, "s1"],
    device: torch.device | str,
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s 3"]]:
    """Weights (NeRF, equation 3) and colours of the s intervals between `edges`, which are distances along each place's
    unit direction. `device` is the field's; the answers are on the CPU.

    Raises InputError for a field whose colours are features, not three channels.
    """
    n, samples = len(place), len(edges) - 1
    middle, width = 0.5 * (edges[1:] + edges[:-1]), edges[1:] - edges[:-1]
    x = (place[:, None] + middle[:, None] * direction[:, None]).reshape(-1, 3)
    with torch.no_grad():
        answer = field(x.to(device), direction.repeat_interleave(samples, 0).to(device))
    if answer.color.shape[-1] != 3:
        raise InputError(f"The field answers with {answer.color.shape[-1]} channels, but a mesh's colours need 3.")
    share = weights(answer.density.float().cpu(), width.repeat(n), torch.arange(n + 1) * samples)
    return share.reshape(n, samples), answer.color.float().cpu().reshape(n, samples, 3)
