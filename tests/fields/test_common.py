"""Spaces as modules, and layers from a generator."""

import math

import torch

from nerf3d.core import Box
from nerf3d.core.spaces import Contracted
from nerf3d.fields.common import Region, linear, reference_length


def test_reference_length_is_half_the_longest_side():
    box = Box(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 5.0, 2.0]))
    assert float(reference_length(box)) == 2.5
    assert float(reference_length(Contracted(box))) == 2.5


def test_a_region_answers_like_its_space():
    x = 3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    for space in (Box.cube(1.5), Contracted(Box.cube(1.5))):
        region = Region(space)
        assert type(region.space) is type(space)
        assert torch.equal(region.to_unit(x), space.to_unit(x))
        assert torch.equal(region.contains(x), space.contains(x))
        assert set(region.state_dict()) == {"low", "high"}
        expected = torch.where(space.contains(x), 2.0, 0.0)
        torch.testing.assert_close(region.density(torch.full((50,), 3.0), x), expected)


def test_a_region_does_not_share_memory_with_its_space():
    box = Box.cube(1.0)
    Region(box).low.fill_(7.0)
    assert box.low.tolist() == [-1.0, -1.0, -1.0]


def test_linear_follows_glorot():
    layer = linear(300, 200, torch.Generator().manual_seed(0))
    limit = math.sqrt(6 / 500)
    assert 0.99 * limit < float(layer.weight.detach().abs().max()) <= limit
    assert abs(float(layer.weight.detach().std()) - limit / math.sqrt(3)) < 0.01 * limit
    assert not bool(layer.bias.any())
    assert linear(3, 2, torch.Generator().manual_seed(0), bias=False).bias is None
