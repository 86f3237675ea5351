"""The 2020 network: its shape, and its activations."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from nerf3d.core import Box
from nerf3d.core.numerics import normalize
from nerf3d.fields.mlp_field import FrequencyMLP

TINY = FrequencyMLP(width=16, depth=3, skip=1, position_octaves=2, direction_octaves=1, color_width=8)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_defaults_have_the_papers_size():
    """595,844: the parameters of the paper's network with 63 + 27 encoded inputs."""
    field = FrequencyMLP().build(Box.cube(1.0), rng())
    assert [layer.in_features for layer in field.trunk] == [63, 256, 256, 256, 256, 319, 256, 256]
    assert field.color_layer.in_features == 256 + 27
    assert sum(p.numel() for p in field.parameters()) == 595_844


def test_colour_depends_on_direction_and_density_does_not():
    field = TINY.build(Box.cube(1.0), rng())
    x = torch.rand(10, 3, generator=rng())
    one, other = (normalize(torch.randn(10, 3, generator=torch.Generator().manual_seed(k))) for k in (1, 2))
    assert torch.equal(field(x, one).density, field(x, other).density)
    assert not torch.allclose(field(x, one).color, field(x, other).color)


def test_activations_act_on_the_same_raw_answer():
    x = torch.rand(50, 3, generator=rng()) * 4 - 2
    box = Box.cube(2.0)  # the reference length is 2
    relu = replace(TINY, activation="relu", density_shift=0.0).build(box, rng()).density(x)
    softplus = replace(TINY, density_shift=-1.0).build(box, rng()).density(x)
    raw = torch.log(torch.expm1(2.0 * softplus.double())) + 1.0
    assert bool((relu == 0).any())
    assert bool((relu > 0).any())
    torch.testing.assert_close(relu.double(), F.relu(raw) / 2.0, atol=1e-5, rtol=1e-4)


def test_it_learns_a_ball():
    """200 steps on densities: inside of a ball 5, outside 0."""
    field = TINY.build(Box.cube(1.0), rng())
    chance = rng()
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    for _ in range(200):
        x = torch.rand(256, 3, generator=chance) * 2 - 1
        loss = (field.density(x) - 5.0 * (x.norm(dim=-1) < 0.7)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.2], [0.9, 0.9, 0.0], [-0.9, 0.0, 0.8]])
    density = field.density(probe).tolist()
    assert min(density[:2]) > 4.0
    assert max(density[2:]) < 0.5
