"""On what a talking head depends at one moment, and how the moment's look is learnt."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Condition:
    """One frame: the code of its sound, the eyes' opening (0 shut to 1 open), the frame's appearance, and how the mouth
    stands, for heads that are told.
    """

    sound: Float[Tensor, "k"]
    eye: Float[Tensor, ""]
    appearance: Float[Tensor, "a"]
    mouth: Float[Tensor, "m"] = field(default_factory=lambda: torch.zeros(0))


class Appearance(nn.Module):
    """A few numbers per training frame for what sound and eyes do not explain: light, exposure (NeRF in the Wild, 2021).

    All frames look the same at first.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(frames, width))

    def forward(self, frame: int | None = None) -> Float[Tensor, "a"]:
        """The look of a training frame; of a new one (None) the mean of them all."""
        return self.table.mean(0) if frame is None else self.table[frame]
