"""How many bits large networks compute with while they are trained, beside parameters that always have 32.

In mixed precision torch's products and convolutions take 16 bits (its autocast decides which), which GPUs multiply several
times faster. bfloat16 has the range of single precision with an eighth of its digits. Half precision has more digits, but
ends at 65504 and loses what is below 6e-8, and gradients often are: losses are multiplied by a scale before the backward
pass, and gradients divided by it before the optimiser sees them. Where one of them is not finite the step is left out and
the scale halved; after 2000 steps without that it is doubled (Micikevicius et al., "Mixed Precision Training", 2018,
section 3.2).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["single", "bfloat16", "half"]
Wide = Literal["single", "bfloat16"]
"""Those with the range of single precision."""
_TYPES = {"bfloat16": torch.bfloat16, "half": torch.float16}


class Mixed:
    """What a precision asks of a training loop."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._device, self._type = device.type, _TYPES.get(precision)
        self._scaler = torch.amp.GradScaler(device.type) if precision == "half" else None

    def region(self) -> AbstractContextManager[object]:
        """Losses are computed inside of it."""
        return nullcontext() if self._type is None else torch.autocast(self._device, self._type)

    def backward(self, total: Tensor) -> None:
        """Leaves gradients that are as many times too large as `step` expects them to be."""
        (total if self._scaler is None else self._scaler.scale(total)).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimiser step, unless its gradients are not finite for their scale."""
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state of a run in another precision says nothing here."""
        if state_dict and self._scaler is not None:
            self._scaler.load_state_dict(state_dict)


def in_single(device: torch.device) -> AbstractContextManager[object]:
    """A part of such a region in single precision."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()
