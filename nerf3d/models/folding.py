"""What is the same at every point need not be multiplied at every point: it goes into a layer's weights, exactly."""

import torch
from jaxtyping import Float
from torch import Tensor


def fold_constant(weight: Float[Tensor, "o i"], constant: Float[Tensor, "c"]) -> Float[Tensor, "o j"]:
    """The last c columns, which meet the same inputs at every point, as one column that meets a 1: j = i - c + 1.

    W [x; c] = [W_x, W_c c] [x; 1].

    >>> fold_constant(torch.tensor([[5.0, 1.0, 2.0]]), torch.tensor([10.0, 100.0]))
    tensor([[  5., 210.]])
    """
    rest = weight.shape[1] - len(constant)
    return torch.cat([weight[:, :rest], (weight[:, rest:] @ constant)[:, None]], 1)


def fold_product(weight: Float[Tensor, "o i"], factor: Float[Tensor, "c"]) -> Float[Tensor, "o i"]:
    """The last c columns times the factors by which their inputs would be multiplied at every point.

    W [x; a * c] = [W_x, W_a * c] [x; a].

    >>> fold_product(torch.tensor([[5.0, 1.0, 2.0]]), torch.tensor([10.0, 100.0]))
    tensor([[  5.,  10., 200.]])
    """
    rest = weight.shape[1] - len(factor)
    return torch.cat([weight[:, :rest], weight[:, rest:] * factor], 1)
