"""Compositing packed samples into one value per ray: `core.quadrature`, summed up, with early termination."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Samples, quadrature
from nerf3d.kernels.backend import Backend, backend, borrows
from nerf3d.kernels.mlp import rows_first

Composited = tuple[
    Float[Tensor, "n"],  # weights
    Float[Tensor, "rays c"],  # sum of weight * color
    Float[Tensor, "rays"],  # opacity: sum of weights
    Float[Tensor, "rays"],  # sum of weight * distance, of the intervals' middles
]


def composite(density: Float[Tensor, "n"], color: Float[Tensor, "n c"], samples: Samples, stop: float) -> Composited:
    """Weights per sample; color, opacity and distance per ray, without background.

    A sample that less than `stop` of the light reaches gets weight 0, and so do all behind it. Differentiable with
    respect to density and color; a second derivative goes by way of the reference.
    """
    if borrows("nerfacc", density) and len(density):
        from nerf3d.kernels import composite_nerfacc

        return composite_nerfacc.composite(density, color, samples, stop)
    name = backend(density)
    if name != "torch":
        return _Composite.apply(density, color, samples, stop, name)
    return composite_reference(density, color, samples, stop)


def composite_reference(
    density: Float[Tensor, "n"], color: Float[Tensor, "n c"], samples: Samples, stop: float
) -> Composited:
    """The same in plain torch. The other versions agree within 1e-5, forward and backward."""
    rays = samples.offsets.shape[0] - 1
    weights = quadrature.weights(density, samples.width, samples.offsets)
    if stop > 0:
        reached = quadrature.transmittance(density.detach(), samples.width, samples.offsets) >= stop
        weights = weights * reached
    total = quadrature.sum_per_ray(weights[:, None] * color, samples.ray, rays)
    opacity = quadrature.sum_per_ray(weights, samples.ray, rays)
    distance = quadrature.sum_per_ray(weights * samples.middle, samples.ray, rays)
    return weights, total, opacity, distance


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, density: Tensor, color: Tensor, samples: Samples, stop: float, name: Backend) -> Composited:
        ctx.samples, ctx.stop, ctx.name = samples, stop, name
        if name == "triton":
            from nerf3d.kernels import composite_triton

            outputs = composite_triton.forward(density, color, samples, stop)
            ctx.save_for_backward(density, color, outputs[0])
            return outputs
        from nerf3d.kernels import composite_numba

        rays, points = samples.offsets.shape[0] - 1, density.shape[0]
        weights, opacity, distance = torch.empty(points), torch.empty(rays), torch.empty(rays)
        total = torch.empty(color.shape[1], rays)
        composite_numba.forward(
            *_arrays(density, color, samples),
            np.float32(stop),
            weights.numpy(),
            total.numpy(),
            opacity.numpy(),
            distance.numpy(),
        )
        ctx.save_for_backward(density, color, weights)
        return weights, total.t(), opacity, distance

    @staticmethod
    def backward(ctx, dweights: Tensor, dtotal: Tensor, dopacity: Tensor, ddistance: Tensor):  # type: ignore[override]
        density, color, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative was asked for
            outputs = composite_reference(density, color, ctx.samples, ctx.stop)
            pair = [t for t, needed in zip((density, color), ctx.needs_input_grad) if needed]
            found = iter(torch.autograd.grad(outputs, pair, (dweights, dtotal, dopacity, ddistance), create_graph=True))
            return (*(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None, None)
        if ctx.name == "triton":
            from nerf3d.kernels import composite_triton

            gradients = (dweights, dtotal, dopacity, ddistance)
            return (
                *composite_triton.backward(density, color, ctx.samples, ctx.stop, weights, *gradients),
                None,
                None,
                None,
            )
        from nerf3d.kernels import composite_numba

        ddensity, dcolor = torch.empty_like(density), torch.empty(color.shape[1], color.shape[0])
        composite_numba.backward(
            *_arrays(density, color, ctx.samples),
            np.float32(ctx.stop),
            weights.numpy(),
            dweights.contiguous().numpy(),
            rows_first(dtotal),
            dopacity.contiguous().numpy(),
            ddistance.contiguous().numpy(),
            ddensity.numpy(),
            dcolor.numpy(),
        )
        return ddensity, dcolor.t(), None, None, None


def _arrays(density: Tensor, color: Tensor, samples: Samples) -> tuple[np.ndarray, ...]:
    return (
        density.detach().contiguous().numpy(),
        rows_first(color),
        samples.start.contiguous().numpy(),
        samples.end.contiguous().numpy(),
        samples.offsets.numpy(),
    )
