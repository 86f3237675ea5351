"""Super-resolution adds to the raw picture, bent by one code throughout, and without any chance."""

import pytest
import torch
import torch.nn.functional as F

from nerf3d.errors import InputError
from nerf3d.models.style import upsample
from nerf3d.models.super_resolution import SuperResolutionConfig

TINY = SuperResolutionConfig(raw=4, channels=(6, 5))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(side: int = 4, count: int = 2) -> torch.Tensor:
    return torch.rand(count, side, side, 7, generator=rng(1))


def w(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 8, generator=rng(2))


@pytest.mark.parametrize(("doubled", "side"), [((True, True), 16), ((False, True), 8), ((True, False), 8)])
@torch.no_grad()
def test_with_nothing_to_add_it_is_the_raw_picture_enlarged(doubled, side):
    config = SuperResolutionConfig(raw=4, channels=(6, 5), doubled=doubled)
    assert config.resolution == side
    network = config.build(7, 8, rng())
    plain = network(features(), w())
    for layer in network.to_picture:
        layer.weight.zero_()
    picture = features()[..., :3].permute(0, 3, 1, 2)
    for double in doubled:
        picture = upsample(picture) if double else picture
    found = network(features(), w())
    torch.testing.assert_close(found, picture.permute(0, 2, 3, 1))
    assert found.shape == (2, side, side, 3)
    assert float((plain - found).abs().max()) > 0.01


@torch.no_grad()
def test_every_layer_is_bent_by_the_same_code():
    network = TINY.build(7, 8, rng())
    x = 2 * features().permute(0, 3, 1, 2) - 1
    picture = x[:, :3]
    for k in range(2):
        x = network.second[k](network.first[k](x, w(), None), w(), None)
        picture = upsample(picture) + network.to_picture[k](x, w())
    torch.testing.assert_close(network(features(), w()), 0.5 * (picture.permute(0, 2, 3, 1) + 1))
    assert not any(name.endswith("noise") for name, _ in network.named_parameters())


@torch.no_grad()
def test_features_of_another_size_are_resized():
    network = TINY.build(7, 8, rng())
    for side in (2, 6, 8):
        planes = features(side).permute(0, 3, 1, 2)
        small = F.interpolate(planes, size=(4, 4), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
        torch.testing.assert_close(network(features(side), w()), network(small, w()))


def test_gradients_reach_features_codes_and_all_parameters():
    network = TINY.build(7, 8, rng())
    x, code = features().requires_grad_(), w().requires_grad_()
    (network(x, code) * torch.tensor([1.0, 2.0, 3.0])).square().sum().backward()
    for name, tensor in [*network.named_parameters(), ("features", x), ("codes", code)]:
        assert tensor.grad is not None, name
        assert bool((tensor.grad != 0).any()), name
    assert bool((x.grad.abs().amax((0, 1, 2)) > 0).all())


def test_it_has_the_parameters_of_its_layers():
    """Two convolutions and a picture for each block: styles, weights, biases."""

    def count(features: int, channels: tuple[int, ...], w: int) -> int:
        total, i = 0, features
        for o in channels:
            total += (w + 1) * i + 9 * i * o + o + (w + 1) * o + 9 * o * o + o + (w + 1) * o + 3 * o + 3
            i = o
        return total

    network = TINY.build(7, 8, rng())
    assert sum(p.numel() for p in network.parameters()) == count(7, (6, 5), 8)


def test_parameters_come_from_the_given_generator_only():
    before = torch.get_rng_state()
    first, again = TINY.build(7, 8, rng(5)), TINY.build(7, 8, rng(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(features(), w()), again(features(), w()))


def test_blocks_that_are_half_there_are_refused():
    for bad in (SuperResolutionConfig(channels=()), SuperResolutionConfig(channels=(4,)), SuperResolutionConfig(raw=0)):
        with pytest.raises(InputError, match="for every block"):
            bad.build(32, 512, rng())
    with pytest.raises(InputError, match="2 channels hold less"):
        TINY.build(2, 8, rng())
