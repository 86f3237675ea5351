"""A flow whose right answer is known: for one code it is a straight line, for many their distribution."""

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.models.latent_flow import LatentFlow


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Known(LatentFlow):
    """The velocity for one code x alone: (x_s - x) / s."""

    def forward(self, x_s, s, condition=None):
        aim = torch.tensor([1.0, -2.0]) if condition is None else condition
        return (x_s - aim) / s.clamp_min(1e-3)[:, None]


def test_a_straight_line_is_followed_to_its_end() -> None:
    flow = Known(2, 8, 1, 0, rng())
    flow.mean.copy_(torch.tensor([10.0, 20.0]))
    flow.deviation.copy_(torch.tensor([2.0, 3.0]))
    found = flow.sample(5, rng(1), steps=4)
    assert torch.allclose(found, torch.tensor([12.0, 14.0]).expand(5, 2), atol=1e-4)


def test_guidance_goes_on_beyond_the_condition() -> None:
    flow = Known(2, 8, 1, 2, rng())
    told = torch.tensor([[3.0, 0.0]])
    assert torch.allclose(flow.sample(1, rng(1), told, steps=4), told, atol=1e-4)
    assert torch.allclose(flow.sample(1, rng(1), told, scale=2.0, steps=4), torch.tensor([[5.0, 2.0]]), atol=1e-3)


def test_it_learns_two_heaps_and_which_is_which() -> None:
    """Codes around (4, 0) and (-4, 1), with the heap as the condition for one half of them."""
    flow = LatentFlow(2, 64, 2, 2, rng())
    heap = torch.arange(512) % 2
    codes = torch.where(heap[:, None] == 0, torch.tensor([4.0, 0.0]), torch.tensor([-4.0, 1.0]))
    codes = codes + 0.3 * torch.randn(512, 2, generator=rng(1))
    told = torch.nn.functional.one_hot(heap, 2).float()
    told[256:] = torch.nan
    flow.learn_scale(codes)
    optimizer, chance = torch.optim.Adam(flow.parameters(), 3e-3), rng(2)
    for _ in range(400):
        optimizer.zero_grad()
        flow.loss(codes, told, chance).backward()
        optimizer.step()
    free = flow.sample(200, rng(3))
    near = torch.where(free[:, :1] > 0, torch.tensor([4.0, 0.0]), torch.tensor([-4.0, 1.0]))
    assert 0.3 < float((free[:, 0] > 0).float().mean()) < 0.7
    assert float((free - near).square().mean().sqrt()) < 0.6
    second = flow.sample(50, rng(3), torch.tensor([[0.0, 1.0]]).expand(50, 2))
    assert float((second[:, 0] < 0).float().mean()) > 0.95


def test_conditions_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="condition"):
        LatentFlow(2, 8, 1, 0, rng()).sample(1, rng(), torch.zeros(1, 3))
    with pytest.raises(InputError, match="condition"):
        LatentFlow(2, 8, 1, 2, rng()).sample(1, rng(), torch.zeros(1, 3))
