"""A generator's scenes: fields of the published shape, decided by code and condition and nothing else."""

import copy
from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box, Field
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.models.generator import TriPlaneGenerator, TriPlaneGeneratorConfig, swap_poses

TINY = TriPlaneGeneratorConfig(
    z=6, w=8, channels=(8, 6), plane_features=4, decoder_width=8, color_channels=3, pose=5, label=2
)
BOX = Box.cube(0.5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    u = 0.02 + 0.96 * torch.rand(count, 3, generator=rng(2))
    return BOX.from_unit(u), normalize(torch.randn(count, 3, generator=rng(3)))


def codes(generator: TriPlaneGenerator, count: int = 4) -> torch.Tensor:
    chance = rng(1)
    return generator.mapping(torch.randn(count, 6, generator=chance), torch.randn(count, 7, generator=chance))


@torch.no_grad()
def test_a_code_becomes_a_field():
    generator = TINY.build(BOX, rng())
    w = codes(generator)
    assert w.shape == (4, 8)
    assert TINY.plane_resolution == 8
    planes = generator.planes(w)
    assert planes.shape == (4, 3, 4, 8, 8)
    picture = generator.synthesis(w[:, None].expand(-1, 4, -1))
    assert torch.equal(planes[:, 2], picture[:, 8:])  # the features of a plane lie together, as in EG3D
    x, d = points()
    scene = generator(w[2])
    assert isinstance(scene, Field)
    out, same = scene(x, d), generator.decoder(planes[2])(x, d)
    torch.testing.assert_close(out.density, same.density)
    torch.testing.assert_close(out.color, same.color)
    assert out.color.shape == (40, 3)


@torch.no_grad()
def test_a_styled_decoder_is_bent_by_the_last_layers_code():
    generator = replace(TINY, styled_decoder=True).build(BOX, rng())
    w = codes(generator)
    x, d = points()
    each = w[:, None].expand(-1, generator.layers, -1).clone()
    scene = generator.fields(each)[1]
    torch.testing.assert_close(scene(x, d).color, generator(w[1])(x, d).color)
    assert scene.bend is not None
    assert torch.equal(scene.bend, generator.decoder.style_layer(w[1]))
    each[:, 0] += 1  # the first layer's code changes the planes, but not how they are read
    other = generator.fields(each)[1]
    assert torch.equal(other.bend, scene.bend)
    assert not torch.equal(other.planes, scene.planes)
    assert TINY.build(BOX, rng()).decoder.style_layer is None


@torch.no_grad()
def test_scenes_differ_at_the_start_and_depend_on_the_condition():
    """Between codes colors differ about as much as between places: the code is not drowned from the beginning."""
    generator = TINY.build(BOX, rng())
    x, d = points()
    colors = torch.stack([generator(w)(x, d).color for w in codes(generator, 12)])
    assert float(colors.std(0).mean()) > 0.3 * float(colors.std(1).mean())
    z, pose, label = torch.ones(1, 6), torch.randn(1, 5, generator=rng(1)), torch.tensor([[0.0, 1.0]])
    told = generator.mapping(z, torch.cat([pose, label], 1))
    for other in (torch.cat([-pose, label], 1), torch.cat([pose, 1 - label], 1)):
        assert float((generator.mapping(z, other) - told).abs().max()) > 0.01


@torch.no_grad()
def test_one_code_is_that_code_for_every_layer():
    generator = TINY.build(BOX, rng())
    w = codes(generator)
    assert generator.layers == 4
    extended = w[:, None].expand(-1, 4, -1).clone()
    torch.testing.assert_close(generator.planes(extended), generator.planes(w))
    extended[:, 3] = w.flip(0)
    assert float((generator.planes(extended) - generator.planes(w)).abs().max()) > 0.01
    x, _ = points()
    torch.testing.assert_close(
        generator(extended[0]).density(x), generator.decoder(generator.planes(extended)[0]).density(x)
    )


def test_gradients_reach_all_parameters():
    generator = TINY.build(BOX, rng())
    x, d = points()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise"):
                parameter.fill_(0.1)
    out = generator(codes(generator)[0], rng(4))(x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_everything_comes_from_the_given_generators_and_travels_with_the_state():
    before = torch.get_rng_state()
    first, again, other = TINY.build(BOX, rng(5)), TINY.build(BOX, rng(5)), TINY.build(Box.cube(2.0), rng(6))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    x, _ = points()
    w = codes(first)
    assert not torch.equal(other(w[0]).density(x), first(w[0]).density(x))
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(other(w[0]).density(x), first(w[0]).density(x))
    for synthesis in (first.synthesis, again.synthesis):
        for convolution in synthesis.convolutions:
            convolution.noise.fill_(1.0)
    assert torch.equal(first.planes(w, rng(1)), again.planes(w, rng(1)))
    assert not torch.equal(first.planes(w, rng(1)), first.planes(w, rng(2)))
    assert torch.equal(first.planes(w), again.planes(w))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_defaults_are_eg3ds():
    config = TriPlaneGeneratorConfig()
    assert config.plane_resolution == 256
    assert 2 * len(config.channels) == 14  # the codes of EG3D's w+
    assert 3 * config.plane_features == 96


def test_codes_of_another_model_and_empty_networks_are_refused():
    generator = TINY.build(BOX, rng())
    with pytest.raises(InputError, match="are 4 x 9 numbers, but this generator takes 4 x 8"):
        generator(torch.zeros(9))
    with pytest.raises(InputError, match="are 14 x 8 numbers"):
        generator.planes(torch.zeros(1, 14, 8))
    for bad in (TriPlaneGeneratorConfig(channels=()), TriPlaneGeneratorConfig(z=0), TriPlaneGeneratorConfig(pose=-1)):
        with pytest.raises(InputError, match="at least 1"):
            bad.build(BOX, rng())


def test_poses_are_swapped_as_often_as_asked_within_the_batch():
    poses = torch.arange(400.0)[:, None].expand(-1, 5)
    assert torch.equal(swap_poses(poses, 0.0, rng()), poses)
    assert torch.equal(swap_poses(poses, 0.5, None), poses)
    assert torch.equal(swap_poses(poses, 1.0, rng()), poses.roll(1, 0))
    half = swap_poses(poses, 0.5, rng())
    assert 0.4 < float((half != poses).all(1).float().mean()) < 0.6
    assert bool(((half == poses).all(1) | (half == poses.roll(1, 0)).all(1)).all())


def test_it_learns_two_scenes():
    """Two codes, two boxes of fog, one dense and red, one thin and blue: a few steps tell them apart."""
    generator = TINY.build(BOX, rng())
    z, condition = torch.randn(2, 6, generator=rng(1)), torch.zeros(2, 7)
    color = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    x, d = points()

    def loss() -> torch.Tensor:
        w = generator.mapping(z, condition)
        total = torch.zeros(())
        for scene, density, target in zip(w, [4.0, 0.4], color):
            out = generator(scene)(x, d)
            total = total + (out.color - target).square().mean() + (out.density / density - 1).square().mean()
        return total

    first = loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.25 * first
