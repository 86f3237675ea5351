"""Operations of other libraries behind our signatures: their first derivatives are taken, second ones are our own.

tiny-cuda-nn has no second derivatives of networks and half of those of encodings; nerfacc's running sum has none and does
not say so.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Operation = Callable[..., tuple[Tensor, ...]]
LEAST = 1e-30
"""Gradients that add up to less are not enlarged any more."""


def borrow(
    theirs: Operation, ours: Operation, tensors: Sequence[Tensor], total: float | None = None
) -> tuple[Tensor, ...]:
    """theirs(*tensors). A second derivative goes by way of ours(*tensors), which has to be the same function.

    What computes in half precision says in `total` what the gradients of any output channel shall add up to over all rows:
    they are scaled to that on their way in and back on their way out, since derivatives are linear in them. As they come,
    those of a mean over many rays would be rounded to nothing, and sums over many rows could pass the largest number.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        outputs: tuple[Tensor, ...] = _Borrowed.apply(theirs, ours, total, *tensors)
        return outputs
    with torch.no_grad():
        return theirs(*(tensor.detach() for tensor in tensors))


class _Borrowed(torch.autograd.Function):
    """Their graph is made and kept in here, where autograd does not see it."""

    @staticmethod
    def forward(ctx, theirs: Operation, ours: Operation, total: float | None, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.ours, ctx.total = ours, total
        ctx.save_for_backward(*tensors)
        wanted = ctx.needs_input_grad[3:]
        with torch.enable_grad():
            ctx.inputs = [tensor.detach().requires_grad_(want) for tensor, want in zip(tensors, wanted, strict=True)]
            ctx.outputs = theirs(*ctx.inputs)
        return tuple(output.detach() for output in ctx.outputs)

    @staticmethod
    def backward(ctx, *gradients: Tensor):  # type: ignore[override]
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():  # a second derivative was asked for
            found = _gradients(ctx.ours(*ctx.saved_tensors), ctx.saved_tensors, wanted, gradients)
        elif ctx.total is None:
            found = _gradients(ctx.outputs, ctx.inputs, wanted, gradients)
        else:
            sums = torch.stack([gradient.abs().sum(0).amax() for gradient in gradients])
            gain = ctx.total / sums.amax().clamp_min(LEAST)  # stays on its device, so that nothing waits for it
            scaled = _gradients(ctx.outputs, ctx.inputs, wanted, [gradient * gain for gradient in gradients])
            found = [gradient if gradient is None else gradient / gain for gradient in scaled]
        return (None, None, None, *found)


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], given: Sequence[Tensor]
) -> list[Tensor | None]:
    """Those of the inputs that want one. Outputs without any are left out: opacity, where only colors want theirs."""
    pairs = [(output, gradient) for output, gradient in zip(outputs, given, strict=True) if output.requires_grad]
    asked = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want]
    some, theirs = zip(*pairs)
    create = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(some, asked, theirs, retain_graph=True, create_graph=create, allow_unused=True))
    return [next(found) if want else None for want in wanted]
