"""AD-NeRF's network: its size, and that the folded sound is the sound beside every position."""

import copy

import torch
import torch.nn.functional as F

from nerf3d.core import Box, Field
from nerf3d.core.numerics import normalize
from nerf3d.fields.common import Networked
from nerf3d.fields.encodings import frequency
from nerf3d.models.adnerf import ADNeRF, ADNeRFConfig
from nerf3d.models.condition import Condition
from nerf3d.models.sound_encoder import neighbours

BOX = Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
TINY = ADNeRFConfig(
    code=6, width=24, depth=4, skip=1, position_octaves=3, direction_octaves=2, color_width=16, color_layers=2
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(seed: int = 0) -> ADNeRF:
    return TINY.build(BOX, 5, 4, rng(seed))


def condition(seed: int = 1) -> Condition:
    return Condition(torch.randn(6, generator=rng(seed)), torch.tensor(0.5), torch.zeros(0))


def points(count: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    chance = rng(1)
    return BOX.from_unit(torch.rand(count, 3, generator=chance)), normalize(torch.randn(count, 3, generator=chance))


def test_defaults_have_the_released_codes_layers():
    head = ADNeRFConfig().build(Box.cube(1.0), 29, 10, rng())
    assert [layer.in_features for layer in head.trunk] == [127, 256, 256, 256, 256, 383, 256, 256]
    assert [layer.in_features for layer in head.color_layers] == [283, 128, 128]
    assert head.sound_encoder.connected[-1].out_features == 64


@torch.no_grad()
def test_it_is_a_field_and_the_formula_with_nothing_folded():
    head, now, (x, d) = build(), condition(), points()
    encoded = torch.cat([frequency(2 * BOX.to_unit(x) - 1, 3), now.sound.expand(100, 6)], 1)
    hidden = encoded
    for index, layer in enumerate(head.trunk):
        hidden = F.relu(layer(torch.cat([hidden, encoded], 1) if index == 2 else hidden))
    field = head(now)
    out = field(x, d)
    assert isinstance(field, Field)
    torch.testing.assert_close(out.density, F.softplus(head.density_layer(hidden)[:, 0] - 1.0))
    torch.testing.assert_close(field.density(x), out.density)
    seen = torch.cat([head.bottleneck(hidden), frequency(d, 2)], 1)
    for layer in head.color_layers:
        seen = F.relu(layer(seen))
    torch.testing.assert_close(out.color, torch.sigmoid(head.color_layer(seen)))
    torch.testing.assert_close(field(x[3:7], d[3:7]).color, out.color[3:7])
    assert field.density(torch.tensor([[1.2, 0.0, 0.5]])).tolist() == [0.0]
    assert field(x[:0], d[:0]).color.shape == (0, 3)


@torch.no_grad()
def test_the_sound_is_heard_and_the_eye_is_not():
    head, now, (x, d) = build(), condition(), points()
    out = head(now)(x, d)
    assert float((head(condition(2))(x, d).density - out.density).abs().max()) > 0.01
    assert torch.equal(head(Condition(now.sound, torch.tensor(0.0), now.appearance))(x, d).color, out.color)


def test_gradients_reach_everything_from_a_picture_to_the_sound():
    head, (x, d) = build(), points()
    windows = torch.rand(4, 16, 5, generator=rng(2))
    code = head.sound_encoder(neighbours(windows, torch.tensor([2])))[0]
    out = head(Condition(code, torch.tensor(0.7), head.appearance(2)))(x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name
    named = {id(p) for p in head.networks()}
    assert {name.split(".")[0] for name, p in head.named_parameters() if id(p) not in named} == {"sound_encoder"}
    assert isinstance(head, Networked)


@torch.no_grad()
def test_state_goes_round_and_comes_from_the_given_generator_only():
    before = torch.get_rng_state()
    head, again, other, (x, d) = build(5), build(5), build(6), points()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again(condition())(x, d).color, head(condition())(x, d).color)
    assert not torch.equal(other(condition())(x, d).color, head(condition())(x, d).color)
    other.load_state_dict(copy.deepcopy(head.state_dict()))
    assert torch.equal(other(condition())(x, d).color, head(condition())(x, d).color)
