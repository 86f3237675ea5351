import pytest
import torch
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.guidance.lora import LoRA


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(4, 6), nn.Identity()])
        self.other = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out[0](self.to_q(x) * self.to_k(x)) + self.other(x)


def test_it_adds_low_rank_matrices_to_the_attention_alone(rng: torch.Generator) -> None:
    network, x = Attention().requires_grad_(False), torch.randn(5, 6, generator=rng)
    lora = LoRA(network, 2, rng)
    assert len(lora.layers) == 3
    plain = network(x)
    with lora.applied():
        assert torch.equal(network(x), plain)  # nothing is added at first
    with torch.no_grad():
        for up in lora.up:
            up.copy_(torch.randn(up.shape, generator=rng))
    with lora.applied():
        found = network(x)
    merged = Attention()
    merged.load_state_dict(network.state_dict())
    with torch.no_grad():
        for layer, down, up in zip((merged.to_q, merged.to_k, merged.to_out[0]), lora.down, lora.up, strict=True):
            layer.weight += up @ down
    torch.testing.assert_close(found, merged(x))
    assert not torch.allclose(found, plain)
    assert torch.equal(network(x), plain)  # and nothing outside


def test_only_its_own_parameters_learn_and_are_kept(rng: torch.Generator) -> None:
    network = Attention().requires_grad_(False)
    lora = LoRA(network, 2, rng)
    with lora.applied():
        network(torch.randn(5, 6, generator=rng)).square().sum().backward()
    assert all(up.grad is not None and bool(up.grad.abs().max() > 0) for up in lora.up)
    assert all(p.grad is None for p in network.parameters())
    assert len(lora.state_dict()) == 6
    again = LoRA(network, 2, torch.Generator().manual_seed(5))
    again.load_state_dict(lora.state_dict())
    assert torch.equal(again.down[1], lora.down[1])


def test_the_network_is_freed_after_an_error(rng: torch.Generator) -> None:
    network = Attention()
    lora = LoRA(network, 1, rng)

    def fail() -> None:
        with lora.applied():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not any(layer._forward_hooks for layer in lora.layers)


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(InputError, match="no attention"):
        LoRA(nn.Sequential(nn.Linear(3, 3)), 1, None)
