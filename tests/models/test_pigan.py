"""pi-GAN's generator: its sines against closed forms, how they begin, and what every field keeps to."""

import copy
import math

import pytest
import torch

from nerf3d.core import Box, Field
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.models.pigan import PiGANGenerator, PiGANGeneratorConfig

BOX = Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
TINY = PiGANGeneratorConfig(z=5, width=6, depth=2, mapping_width=7, mapping_layers=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 60, box: Box = BOX) -> tuple[torch.Tensor, torch.Tensor]:
    u = 0.02 + 0.96 * torch.rand(count, 3, generator=rng(2))
    return box.from_unit(u), normalize(torch.randn(count, 3, generator=rng(3)))


def codes(generator: PiGANGenerator, count: int = 3) -> torch.Tensor:
    return generator.codes(torch.randn(count, generator.z, generator=rng(1)))


@torch.no_grad()
def test_the_first_layer_is_one_sine_of_the_position():
    """One unit that sees x with the weight pi / 30: at f = 0 it is sin(pi x + p), at f = 2 sin(2 pi x + p)."""
    generator = PiGANGeneratorConfig(z=1, width=1, depth=1).build(Box.cube(2.0), rng())
    generator.trunk[0].weight.copy_(torch.tensor([[math.pi / 30, 0.0, 0.0]]))
    generator.trunk[0].bias.zero_()
    generator.density_head.weight.fill_(3.0)
    generator.density_head.bias.fill_(1.0)
    x = torch.tensor([[-2.0, 0.3, 0.1], [-0.5, -1.0, 0.0], [0.7, 0.0, 1.9], [2.0, 0.0, 0.0]])
    for f, p in ((0.0, 0.0), (0.0, 0.5), (2.0, 0.5)):
        code = torch.tensor([[[[f], [0.0]], [[p], [0.0]]]])
        (field,) = generator.fields(code)
        wave = torch.sin((1 + f / 2) * math.pi * x[:, 0] / 2 + p)
        torch.testing.assert_close(field.density(x), torch.log1p(torch.exp(3 * wave)) / 2)


@torch.no_grad()
def test_the_answer_is_the_formula():
    generator = TINY.build(BOX, rng()).double()
    z = torch.randn(3, 5, generator=rng(1), dtype=torch.float64)
    hidden = z
    for layer in generator.mapping:
        hidden = hidden @ layer.weight.t() + layer.bias
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    numbers = hidden @ generator.mapping_head.weight.t() + generator.mapping_head.bias
    code = generator.codes(z)
    assert code.shape == (3, 2, 3, 6)
    torch.testing.assert_close(code.flatten(1), numbers)
    x, d = (t.double() for t in points())
    out = generator.fields(code)[1](x, d)
    f, p = 15 * numbers[1, :18].reshape(3, 6) + 30, numbers[1, 18:].reshape(3, 6)
    h = 2 * BOX.to_unit(x) - 1
    for i, layer in enumerate(generator.trunk):
        h = torch.sin(f[i] * (h @ layer.weight.t() + layer.bias) + p[i])
    raw = h @ generator.density_head.weight[0] + generator.density_head.bias
    torch.testing.assert_close(out.density, torch.log1p(torch.exp(raw - 1)))  # half the longest side is 1
    seen = torch.cat([h, d], 1) @ generator.color_layer.weight.t() + generator.color_layer.bias
    seen = torch.sin(f[2] * seen + p[2]) @ generator.color_head.weight.t() + generator.color_head.bias
    torch.testing.assert_close(out.color, 1 / (1 + torch.exp(-seen)))


@torch.no_grad()
def test_it_begins_as_the_paper_says():
    generator = PiGANGeneratorConfig(width=64, depth=4).build(Box.cube(1.0), rng())
    layers = [
        (generator.trunk[0], 1 / 3),
        *((layer, math.sqrt(6 / 64) / 25) for layer in generator.trunk[1:]),
        (generator.density_head, math.sqrt(6 / 64) / 25),
        (generator.color_layer, math.sqrt(6 / 67) / 25),
        (generator.color_head, math.sqrt(6 / 64) / 25),
        (generator.mapping_head, 0.25 * math.sqrt(6 / 1.04 / 256)),
    ]
    for layer, bound in layers:
        assert 0.9 * bound < float(layer.weight.abs().max()) <= bound
        assert abs(float(layer.weight.mean())) < 0.1 * bound
    f = codes(generator, 64)[:, 0]
    assert 0.05 < float(f.std(0).mean()) < 0.5  # frequencies differ between objects by some, of 30
    x, _ = points(500, Box.cube(1.0))
    features = generator.fields(codes(generator))[0]._features(x)
    assert 0.6 < float(features.square().mean().sqrt()) < 0.8  # sines of wide arguments: sqrt(1/2), whatever the depth


@torch.no_grad()
def test_it_is_a_field_whose_density_has_no_direction():
    generator = TINY.build(BOX, rng())
    field = generator.fields(codes(generator))[0]
    assert isinstance(field, Field)
    x, d = points()
    out, other = field(x, d), field(x, -d)
    assert bool(((out.color > 0) & (out.color < 1)).all())
    assert bool((out.density > 0).all())
    assert torch.equal(out.density, other.density)
    assert torch.equal(out.density, field.density(x))
    assert float((out.color - other.color).abs().max()) > 1e-3
    assert field.density(torch.tensor([[1.1, 0.0, 0.5], [0.0, 0.0, 9.0]])).tolist() == [0.0, 0.0]
    assert field(x[:0], d[:0]).color.shape == (0, 3)


@torch.no_grad()
def test_twice_the_scene_has_half_the_density():
    small, large = TINY.build(BOX, rng()), TINY.build(Box(2 * BOX.low, 2 * BOX.high), rng())
    x, d = points()
    first, second = small.fields(codes(small))[0](x, d), large.fields(codes(large))[0](2 * x, d)
    torch.testing.assert_close(second.density, 0.5 * first.density)
    torch.testing.assert_close(second.color, first.color)


@torch.no_grad()
def test_objects_differ_and_noise_is_that_of_raw_densities():
    generator = PiGANGeneratorConfig(z=8, width=32, depth=3, mapping_width=32).build(BOX, rng())
    x, d = points(2000)
    code = codes(generator, 8)
    colors = torch.stack([field(x, d).color for field in generator.fields(code)])
    assert float(colors.std(0).mean()) > 0.3 * float(colors.std(1).mean())
    still, noisy = generator.fields(code[:1])[0], generator.fields(code[:1], rng(4), 0.7)[0]
    raw = [torch.log(torch.expm1(density)) for density in (still.density(x), noisy.density(x))]
    assert 0.65 < float((raw[1] - raw[0]).std()) < 0.75
    assert torch.equal(generator.fields(code[:1], rng(4))[0].density(x), still.density(x))
    assert torch.equal(generator.fields(code[:1], None, 0.7)[0].density(x), still.density(x))


def test_gradients_reach_all_parameters():
    generator = TINY.build(BOX, rng())
    x, d = points()
    out = generator.fields(codes(generator))[1](x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_the_usual_code_follows():
    generator = TINY.build(BOX, rng())
    code = codes(generator, 16)
    for _ in range(2):
        generator.track(code)
    torch.testing.assert_close(generator.usual(), (1 - 0.998**2) * code.mean(0))


@torch.no_grad()
def test_parameters_come_from_the_given_generator_and_travel_with_the_state():
    before = torch.get_rng_state()
    first, again, other = TINY.build(BOX, rng(5)), TINY.build(BOX, rng(5)), TINY.build(Box.cube(3.0), rng(6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    x, _ = points()
    code = codes(first)
    assert not torch.equal(other.fields(code)[0].density(x), first.fields(code)[0].density(x))
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(other.fields(code)[0].density(x), first.fields(code)[0].density(x))


def test_what_it_was_not_made_for_is_refused():
    generator = TINY.build(BOX, rng())
    with pytest.raises(InputError, match="hold 4 numbers, but this model takes 5"):
        generator.codes(torch.zeros(1, 4))
    with pytest.raises(InputError, match="holds 25 numbers, but this model depends on 0"):
        generator.codes(torch.zeros(1, 5), torch.zeros(1, 25))
    with pytest.raises(InputError, match="is 2 x 4 x 6 numbers, but this generator takes 2 x 3 x 6"):
        generator.fields(torch.zeros(1, 2, 4, 6))
    with pytest.raises(InputError, match="at least 1"):
        PiGANGeneratorConfig(depth=0).build(BOX, rng())
