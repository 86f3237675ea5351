"""How much memory a step will take on a GPU, before there is one: by what autograd keeps of a few samples."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from nerf3d.core.protocols import Field
from nerf3d.core.spaces import Box

PROBED = (2048, 6144)
"""Points that a field is asked about, to see how much is kept of each, and how much whatever their number."""
BESIDE = 128
"""Bytes that a sample takes whatever the field: its interval, place, direction and weight, and what the renderer keeps."""
BACKWARD = 2
"""Of what is kept for the backward pass, so many times as much is there at its height: itself, and gradients of it."""
OPTIMISER = 3
"""A gradient and two moments, for every parameter."""


def kept_bytes(compute: Callable[[], Tensor]) -> int:
    """What autograd keeps of a computation until its backward pass, parameters and whatever else learns left aside.

    >>> x = torch.zeros(100, requires_grad=True)
    >>> kept_bytes(lambda: x.exp().sum())
    400
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not (tensor.is_leaf and tensor.requires_grad):
            kept[storage.data_ptr()] = storage.nbytes()  # views of one memory count once
        return tensor.detach()  # a tensor with its past would keep itself, and its memory, for ever

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = compute()
    assert result.requires_grad
    return sum(kept.values())


def samples_bytes(field: Field, box: Box, samples: int) -> float:
    """What so many samples of this field take in a step, by a rule and not to the byte: twice what is kept of them."""
    rng = torch.Generator().manual_seed(0)
    x = box.from_unit(torch.rand(max(PROBED), 3, generator=rng).to(box.low.device))
    d = torch.zeros_like(x)
    d[:, 2] = 1

    def asked(count: int) -> Tensor:
        seen = field(x[:count], d[:count])
        return seen.density.sum() + seen.color.sum()

    few, many = (kept_bytes(partial(asked, count)) for count in PROBED)
    each = (many - few) / (PROBED[1] - PROBED[0])
    return BACKWARD * (max(few - each * PROBED[0], 0.0) + samples * (each + BESIDE))


def made_bytes(make: Callable[[], Field], box: Box) -> float:
    """What the making of a field takes in a step, by the same rule, apart from what it is asked."""
    middle = box.center[None]
    return float(BACKWARD * kept_bytes(lambda: make().density(middle).sum()))


def learning_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """What training adds to parameters that are there."""
    return OPTIMISER * sum(p.numel() * p.element_size() for p in parameters)
