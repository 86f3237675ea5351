"""Compositing by nerfacc 0.5 (github.com/nerfstudio-project/nerfacc): its running sum along rays, and its accumulation.

Its weights are ours, T_i (1 - exp(-s_i w_i)), and agree within 1e-5. It knows no early termination here; what too little
light reaches is masked by its transmittance, as in the reference.

Its marching is not taken: it adds step to step where our lattice multiplies, grows steps by another law, knows no
contracted space, and does not say at which step of the lattice a walk that was cut short would go on.
"""

import nerfacc
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.kernels.borrow import borrow
from nerf3d.kernels.composite import Composited, composite_reference


def composite(density: Float[Tensor, "n"], color: Float[Tensor, "n c"], samples: Samples, stop: float) -> Composited:
    """As `composite.composite`; a second derivative goes by way of the reference, as for every version of it."""
    rays = samples.offsets.shape[0] - 1
    packed = torch.stack([samples.offsets[:-1], samples.offsets.diff()], -1)  # begin and count

    def theirs(density: Tensor, color: Tensor) -> tuple[Tensor, ...]:
        weights, light, _ = nerfacc.render_weight_from_density(samples.start, samples.end, density, packed_info=packed)
        if stop > 0:
            weights = weights * (light.detach() >= stop)
        total, opacity, distance = (
            nerfacc.accumulate_along_rays(weights, values, samples.ray, rays)
            for values in (color, None, samples.middle[:, None])
        )
        return weights, total, opacity[:, 0], distance[:, 0]

    def ours(density: Tensor, color: Tensor) -> tuple[Tensor, ...]:
        return composite_reference(density, color, samples, stop)

    weights, total, opacity, distance = borrow(theirs, ours, (density, color))
    return weights, total, opacity, distance


def probe(device: torch.device) -> None:
    """The worked example of `core.quadrature`; raises whatever nerfacc raises, or ArithmeticError for a wrong result."""
    edges = torch.tensor([[0.0, 1.0, 2.0]], device=device)
    half = torch.full((2,), 2.0, device=device).log()
    samples = Samples.from_edges(edges)
    opacity = composite(half, half[:, None], samples, 0.0)[2]
    if abs(float(opacity) - 0.75) > 1e-5:
        raise ArithmeticError(f"it found {float(opacity)} where 0.75 is right")
