"""Low-rank adaptation (Hu et al. 2021) of a frozen network's attention, by hooks: the network itself is never changed.

While an adaptation is applied, every linear layer of the attention gives W x + up(down(x)); otherwise it gives W x as
before. So teacher and student are one network in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerf3d.errors import InputError

LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


class LoRA(nn.Module):
    """The adaptation's own parameters, in single precision; `up` begins at zero, and with it the difference."""

    def __init__(self, network: nn.Module, rank: int, rng: torch.Generator | None) -> None:
        super().__init__()
        self.layers = tuple(
            layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear) and name.endswith(LAYERS)
        )
        if not self.layers:
            raise InputError(
                f"a {type(network).__name__} has no attention that could be adapted; use SDS instead of VSD"
            )
        rng = torch.Generator().manual_seed(0) if rng is None else rng
        device = self.layers[0].weight.device
        downs = [torch.randn(rank, layer.in_features, generator=rng, device=rng.device) / rank for layer in self.layers]
        self.down = nn.ParameterList([nn.Parameter(down.to(device)) for down in downs])
        self.up = nn.ParameterList(
            [nn.Parameter(torch.zeros(layer.out_features, rank, device=device)) for layer in self.layers]
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network is adapted inside, and as it was outside, even after an error."""
        hooks = [
            layer.register_forward_hook(_Addition(down, up)) for layer, down, up in zip(self.layers, self.down, self.up)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class _Addition:
    def __init__(self, down: Tensor, up: Tensor) -> None:
        self.down, self.up = down, up

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + F.linear(F.linear(inputs[0].float(), self.down), self.up).to(output.dtype)
