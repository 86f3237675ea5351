"""What every recipe of this story leaves behind: codes can be drawn and read from pictures, and a code is a field."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field, Sampler, Task


@runtime_checkable
class Maker(Protocol):
    """Makes objects of codes. Codes are tensors of one shape, whatever it is, which may be mixed and optimised.

    `kinds` are the captions that it was told in training and can be asked for, none where it was told nothing.
    """

    sampler: Sampler
    kinds: tuple[str, ...]

    def draw(
        self, count: int, rng: torch.Generator, truncation: float = 1.0, kind: str | None = None
    ) -> Float[Tensor, "n *code"]:
        """Random codes. With `truncation` below 1 more usual ones, which differ less; of one kind only where asked for.

        Raises InputError for a kind that it does not know.
        """
        ...

    def fields(self, codes: Float[Tensor, "n *code"]) -> list[Field]:
        """The objects of codes; gradients flow into the codes. Raises InputError for codes of another model."""
        ...

    def read(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n *code"]:
        """Where to begin with finding the codes of pictures (colours over black and opacity): what an encoder reads in
        them, or the most usual code where the model has none.
        """
        ...


@runtime_checkable
class GenerateTask(Task, Protocol):
    """A `core.Task` that leaves a maker. `maker` and `helpers` (critics and such) are what checkpoints hold."""

    @property
    def maker(self) -> torch.nn.Module: ...

    @property
    def helpers(self) -> torch.nn.Module: ...
