"""A gradient that was computed by other means, as a loss."""

from jaxtyping import Float
from torch import Tensor


def as_loss(x: Float[Tensor, "*b"], grad: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """A scalar whose gradient with respect to x is exactly `grad`, and whose value is half its squared length.

    The value is that of 0.5 |x - target|^2 with target = x - grad held fixed (the usual way to write it, in which the
    difference of two large numbers would cost digits), so it falls as the judge grows content.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> loss = as_loss(x, torch.tensor([3.0, -4.0]))
    >>> loss.backward()
    >>> loss.item(), x.grad.tolist()
    (12.5, [3.0, -4.0])
    """
    grad = grad.detach()
    along = (x * grad).sum()
    return along - along.detach() + 0.5 * grad.square().sum()
