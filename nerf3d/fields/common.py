"""What every field needs: a space that moves with it, densities in the world's units, layers from a given rng."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nerf3d.core.spaces import Box, Contracted, Space


def reference_length(space: Space) -> Float[Tensor, ""]:
    """The world length that a field takes as its unit: half the longest side of the box, or of the contraction's focus.

    A network's raw answer is a density per this length. Divided by it, the same parameters describe the same picture
    in a scene of any size: a scene that is twice as large has half the density.

    >>> reference_length(Box.cube(1.5))
    tensor(1.5000)
    """
    box = space.focus if isinstance(space, Contracted) else space
    return 0.5 * box.size.amax()


class Region(nn.Module):
    """A `Space` whose tensors are buffers: it follows its field to another device and into the checkpoint."""

    low: Tensor
    high: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.contracted = isinstance(space, Contracted)
        box = space.focus if isinstance(space, Contracted) else space
        self.register_buffer("low", box.low.clone())
        self.register_buffer("high", box.high.clone())

    @property
    def space(self) -> Space:
        box = Box(self.low, self.high)
        return Contracted(box) if self.contracted else box

    def to_unit(self, x: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """World positions to [0, 1]^3."""
        return self.space.to_unit(x)

    def contains(self, x: Float[Tensor, "*b 3"]) -> Bool[Tensor, "*b"]:
        return self.space.contains(x)

    def density(self, per_length: Float[Tensor, "n"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Turn a density per reference length into one in 1 / world unit that is 0 outside of the space."""
        return torch.where(self.contains(x), per_length / reference_length(self.space), 0.0)


@runtime_checkable
class Networked(Protocol):
    """A field that tells its networks from its grids, which may learn at another rate."""

    def networks(self) -> list[nn.Parameter]: ...


def network(widths: list[int], rng: torch.Generator) -> nn.ParameterList:
    """Matrices without biases between layers of these widths, Glorot's uniform weights, as tiny-cuda-nn draws them."""
    layers = [torch.empty(o, i) for i, o in zip(widths, widths[1:])]
    return nn.ParameterList([nn.Parameter(nn.init.xavier_uniform_(w, generator=rng)) for w in layers])


def linear(inputs: int, outputs: int, rng: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot's uniform weights and zero biases (as in NeRF 2020's code), drawn from `rng` only.

    The weights lie in +- sqrt(6 / (inputs + outputs)).
    """
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
