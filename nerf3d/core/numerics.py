"""Small numerics that must exist once."""

import torch
from jaxtyping import Float
from torch import Tensor


class _TruncatedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = torch.exp(x.clamp(max=15.0))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * torch.exp(x.clamp(-15.0, 15.0))


def truncated_exp(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """exp(x) whose value and gradient cannot overflow (x is cut at 15): instant-ngp's density activation."""
    return _TruncatedExp.apply(x)


def normalize(x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
    """Unit length along the last axis; the zero vector stays zero and its gradient finite."""
    return x / x.square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
