"""Mapping, truncation, and modulated convolutions, the latter against weights that are written out for every sample."""

import math

import pytest
import torch
import torch.nn.functional as F

from nerf3d.errors import InputError
from nerf3d.models.style import (
    EqualizedLinear,
    MappingNetwork,
    StyledConvolution,
    Synthesis,
    modulated_convolution,
    unit_mean_square,
    upsample,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent_weights(weight: torch.Tensor, style: torch.Tensor, demodulate: bool) -> torch.Tensor:
    """StyleGAN2's equations 1 and 3 to the letter, one kernel per sample: (b o i k k)."""
    w = weight[None] * style[:, None, :, None, None]
    return w / (w.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt() if demodulate else w


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_scaled_inputs_and_outputs_are_weights_of_each_samples_own(kernel, demodulate):
    """Against a convolution per sample, and against the paper's one grouped convolution (appendix B)."""
    chance = rng()
    x = torch.randn(3, 4, 6, 5, generator=chance, dtype=torch.float64)
    weight = torch.randn(7, 4, kernel, kernel, generator=chance, dtype=torch.float64)
    style = torch.randn(3, 4, generator=chance, dtype=torch.float64)
    own = bent_weights(weight, style, demodulate)
    one_by_one = torch.cat([F.conv2d(a[None], w, padding=kernel // 2) for a, w in zip(x, own)])
    grouped = F.conv2d(x.reshape(1, 12, 6, 5), own.flatten(0, 1), padding=kernel // 2, groups=3).reshape(3, 7, 6, 5)
    found = modulated_convolution(x, weight, style, demodulate)
    torch.testing.assert_close(found, one_by_one)
    torch.testing.assert_close(found, grouped)


def test_demodulated_outputs_have_unit_deviation_whatever_the_style():
    x = torch.randn(2, 16, 40, 40, generator=rng())
    weight = torch.randn(8, 16, 3, 3, generator=rng(1))
    style = torch.randn(2, 16, generator=rng(2)) * torch.tensor([[0.01], [100.0]])
    y = modulated_convolution(x, weight, style)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(y.std((2, 3)), torch.ones(2, 8), atol=0.1, rtol=0)


def test_modulated_convolutions_have_true_derivatives():
    chance = rng()
    x, weight, style = (
        torch.randn(*shape, generator=chance, dtype=torch.float64, requires_grad=True)
        for shape in [(2, 2, 3, 3), (2, 2, 3, 3), (2, 2)]
    )
    assert torch.autograd.gradcheck(modulated_convolution, (x, weight, style))
    assert torch.autograd.gradgradcheck(modulated_convolution, (x, weight, style))


def test_upsampling_is_zeros_between_and_the_filter_1_3_3_1():
    x = torch.randn(2, 3, 4, 5, generator=rng(), dtype=torch.float64)
    between = torch.zeros(2, 3, 8, 10, dtype=torch.float64)
    between[:, :, ::2, ::2] = x
    one = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    bell = (one[:, None] * one / one.sum() ** 2 * 4).expand(3, 1, 4, 4)
    filtered = F.conv2d(F.pad(between, (2, 1, 2, 1)), bell, groups=3)
    torch.testing.assert_close(upsample(x)[:, :, 2:-2, 2:-2], filtered[:, :, 2:-2, 2:-2])


def test_a_layers_rate_leaves_its_start_and_slows_its_learning():
    plain, slow = EqualizedLinear(5, 3, rng()), EqualizedLinear(5, 3, rng(), rate=0.01)
    x = torch.randn(4, 5, generator=rng(1))
    start = plain(x)
    torch.testing.assert_close(slow(x), start)
    torch.testing.assert_close(start, x @ plain.weight.t() / math.sqrt(5))
    for layer in (plain, slow):
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(slow(x) - start, 0.01 * (plain(x) - start), atol=1e-6, rtol=0.02)
    assert float((plain(x) - start).detach().abs().max()) > 1e-3
    assert EqualizedLinear(5, 3, rng(), rate=0.01, bias=1.0)(torch.zeros(5)).tolist() == pytest.approx([1.0] * 3)


@torch.no_grad()
def test_mapping_hears_the_direction_of_z_and_the_condition():
    mapping = MappingNetwork(6, 3, 8, 4, rng())
    z, condition = torch.randn(5, 6, generator=rng(1)), torch.randn(5, 3, generator=rng(2))
    w = mapping(z, condition)
    assert w.shape == (5, 8)
    torch.testing.assert_close(mapping(10 * z, condition), w)
    torch.testing.assert_close(unit_mean_square(z).square().mean(1), torch.ones(5))
    assert float((mapping(z, -condition) - w).abs().max()) > 0.01
    assert float((mapping(-z, condition) - w).abs().max()) > 0.01


@torch.no_grad()
def test_signals_neither_die_nor_explode_in_the_layers():
    mapping = MappingNetwork(64, 0, 128, 8, rng())
    assert 0.5 < float(mapping(torch.randn(16, 64, generator=rng(1))).square().mean()) < 2
    backbone = Synthesis((32, 32, 32, 32, 32), 3, 16, False, rng())
    assert 0.5 < float(backbone(torch.randn(2, 10, 16, generator=rng(1))).std()) < 4


@torch.no_grad()
def test_mapping_is_its_formula():
    mapping = MappingNetwork(4, 0, 3, 2, rng(), rate=0.5)
    z = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    hidden = z / math.sqrt((1 + 4 + 0.25 + 9) / 4)
    for layer in mapping.layers:
        hidden = hidden @ (layer.weight * 0.5 / math.sqrt(layer.weight.shape[1])).t() + 0.5 * layer.bias
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden) * math.sqrt(2)
    torch.testing.assert_close(mapping(z), hidden)


@torch.no_grad()
def test_truncation_draws_towards_the_running_mean():
    mapping = MappingNetwork(6, 0, 8, 2, rng())
    w = mapping(torch.randn(64, 6, generator=rng(1)))
    for _ in range(3):
        mapping.track(w, keep=0.5)
    torch.testing.assert_close(mapping.mean, 0.875 * w.mean(0))
    torch.testing.assert_close(mapping.truncate(w, 1.0), w)
    torch.testing.assert_close(mapping.truncate(w, 0.0), mapping.mean.expand(64, -1))
    torch.testing.assert_close(mapping.truncate(w, 0.7).std(0), 0.7 * w.std(0))
    assert mapping.truncate(w.reshape(4, 16, 8), 0.7).shape == (4, 16, 8)
    other = MappingNetwork(6, 0, 8, 2, rng(1))
    other.load_state_dict(mapping.state_dict())
    assert torch.equal(other.mean, mapping.mean)


def test_codes_and_conditions_of_another_width_are_refused():
    with pytest.raises(InputError, match="hold 5 numbers, but this model takes 6"):
        MappingNetwork(6, 0, 8, 2, rng())(torch.zeros(1, 5))
    with pytest.raises(InputError, match="holds 0 numbers, but this model depends on 2"):
        MappingNetwork(6, 2, 8, 2, rng())(torch.zeros(1, 6))
    with pytest.raises(InputError, match="holds 3 numbers, but this model depends on 0"):
        MappingNetwork(6, 0, 8, 2, rng())(torch.zeros(1, 6), torch.zeros(1, 3))


@torch.no_grad()
def test_noise_is_chance_of_a_learnt_strength():
    layer = StyledConvolution(3, 4, 5, True, True, rng())
    x, w = torch.randn(2, 3, 4, 4, generator=rng(1)), torch.randn(2, 5, generator=rng(2))
    still = layer(x, w, None)
    assert still.shape == (2, 4, 8, 8)
    assert torch.equal(layer(x, w, rng(3)), still)  # the strength begins at 0
    layer.noise.fill_(0.5)
    assert torch.equal(layer(x, w, None), still)
    noisy = layer(x, w, rng(3))
    assert torch.equal(layer(x, w, rng(3)), noisy)
    both = (noisy > 0) & (still > 0)
    added = ((noisy - still) / math.sqrt(2))[both]
    assert 0.3 < float(added.std()) < 0.7
    quiet = StyledConvolution(3, 4, 5, True, False, rng())
    assert torch.equal(quiet(x, w, rng(3)), still)


def test_a_backbones_picture_has_the_size_of_its_last_channels_and_every_layer_its_own_code():
    backbone = Synthesis((8, 6, 4), 5, 7, True, rng())
    assert backbone.layers == 6
    w = torch.randn(2, 6, 7, generator=rng(1), requires_grad=True)
    picture = backbone(w)
    assert picture.shape == (2, 5, 16, 16)
    picture[0].square().sum().backward()
    assert w.grad is not None
    assert bool((w.grad[0].abs().amax(1) > 0).all())
    assert bool((w.grad[1] == 0).all())  # samples do not see each other
    silent = {name for name, p in backbone.named_parameters() if p.grad is None}
    assert silent == {f"convolutions.{k}.noise" for k in range(5)}
    torch.testing.assert_close(backbone(w[1:])[0], picture[1])


def test_the_coarsest_features_may_come_from_the_code():
    backbone = Synthesis((8, 6), 5, 7, False, rng(), from_code=True)
    w = torch.randn(2, 4, 7, generator=rng(1))
    at_4 = backbone._coarsest(w[:, 0])
    assert at_4.shape == (2, 8, 4, 4)
    torch.testing.assert_close(
        2 * at_4, backbone._coarsest(2 * w[:, 0])
    )  # no more than one layer, whose bias begins at 0
    assert backbone(w).shape == (2, 5, 8, 8)
    assert "constant" not in dict(backbone.named_parameters())
    assert "start.weight" not in dict(Synthesis((8, 6), 5, 7, False, rng()).named_parameters())


def test_a_backbone_has_the_published_number_of_parameters():
    """By formula, which gives the 30,370,060 of StyleGAN2 for 1024 x 1024; built here at an eighth of the width."""

    def count(channels: tuple[int, ...], w: int) -> int:
        pairs = [(channels[0], channels[0])]
        for i, o in zip(channels, channels[1:]):
            pairs += [(i, o), (o, o)]
        convolutions = sum((w + 1) * i + 9 * i * o + o + 1 for i, o in pairs)
        return 16 * channels[0] + convolutions + sum((w + 1) * c + 3 * c + 3 for c in channels)

    published = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    mapping = 8 * (512 * 512 + 512)
    assert count(published, 512) + mapping == 30_370_060
    narrow = tuple(c // 8 for c in published)
    assert sum(p.numel() for p in Synthesis(narrow, 3, 64, True, rng()).parameters()) == count(narrow, 64)
