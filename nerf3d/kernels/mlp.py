"""A small multilayer perceptron without biases: ReLU between the layers, nothing after the last.

instant-ngp's networks (Müller et al. 2022, section 5.1). y = W_L relu(W_{L-1} ... relu(W_1 x)), each W (out, in).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.kernels.backend import Backend, backend, borrows


def mlp(x: Float[Tensor, "n i"], weights: list[Tensor]) -> Float[Tensor, "n o"]:
    """Apply the layers to n points. Differentiable twice; the second derivative goes by way of the reference."""
    if borrows("tcnn", x) and x.shape[0] > 0:
        from nerf3d.kernels import tcnn

        if tcnn.fuses(x, weights):
            return tcnn.mlp(x, weights, _mlp)
    return _mlp(x, weights)


def _mlp(x: Tensor, weights: list[Tensor]) -> Tensor:
    name = backend(x)
    if name == "triton":
        from nerf3d.kernels import mlp_triton

        name = name if mlp_triton.fits(x, weights) else "torch"
    if name == "torch" or x.shape[0] == 0:
        return mlp_reference(x, weights)
    return _FastMLP.apply(x, name, *weights)


def mlp_reference(x: Float[Tensor, "n i"], weights: list[Tensor]) -> Float[Tensor, "n o"]:
    """The same in plain torch. The other versions agree within 1e-5 of the largest value, forward and backward."""
    for weight in weights[:-1]:
        x = torch.relu(x @ weight.t())
    return x @ weights[-1].t()


def rows_first(x: Tensor) -> np.ndarray:
    """(n, c) as a contiguous (c, n) array; free of charge for what the kernels themselves returned."""
    return x.detach().t().contiguous().numpy()


def _pack(weights: tuple[Tensor, ...]) -> tuple[np.ndarray, np.ndarray]:
    flat = torch.cat([w.detach().reshape(-1) for w in weights]).numpy()
    widths = np.array([weights[0].shape[1], *(w.shape[0] for w in weights)])
    return flat, widths


class _FastMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, name: Backend, *weights: Tensor) -> Tensor:
        ctx.name = name
        ctx.save_for_backward(x, *weights)
        if name == "triton":
            from nerf3d.kernels import mlp_triton

            return mlp_triton.forward(x, list(weights))
        from nerf3d.kernels import mlp_numba

        flat, widths = _pack(weights)
        y = torch.empty(int(widths[-1]), x.shape[0])
        mlp_numba.forward(rows_first(x), flat, widths, y.numpy())
        return y.t()

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        x, *weights = ctx.saved_tensors
        want_x, _, *want_weights = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a second derivative was asked for
            dx, *twice = _differentiable_gradients(x, weights, grad, (want_x, *want_weights))
            return (dx, None, *twice)
        if ctx.name == "triton":
            from nerf3d.kernels import mlp_triton

            dx, gradients = mlp_triton.backward(x, weights, grad, want_x)
            return (dx, None, *gradients)
        from nerf3d.kernels import mlp_numba

        flat, widths = _pack(tuple(weights))
        points = x.shape[0]
        dx = torch.empty(x.shape[1], points if want_x else 0)
        parts = -(-points // mlp_numba.PART)
        partial = torch.empty(parts, flat.shape[0])
        mlp_numba.backward(rows_first(x), flat, widths, rows_first(grad), dx.numpy(), partial.numpy(), want_x)
        gradients, at = [], 0
        total = partial.sum(0)
        for weight in weights:
            gradients.append(total[at : at + weight.numel()].view_as(weight))
            at += weight.numel()
        return (dx.t() if want_x else None, None, *gradients)


def _differentiable_gradients(
    x: Tensor, weights: list[Tensor], grad: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """The gradients as functions that can be differentiated once more: of x, the weights and `grad`."""
    inputs = [t for t, need in zip([x, *weights], needed, strict=True) if need]
    y = mlp_reference(x, weights)
    found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)
