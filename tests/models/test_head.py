"""The speaking head: a field at every moment, moved by the sound through its attention and through nothing else."""

import copy
from dataclasses import replace

import torch

from nerf3d.core import Box, Field
from nerf3d.core.numerics import normalize
from nerf3d.fields.common import Networked
from nerf3d.fields.encodings import spherical_harmonics
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.mlp import mlp_reference
from nerf3d.models.condition import Condition
from nerf3d.models.head import Head, HeadConfig
from nerf3d.models.sound_encoder import neighbours

BOX = Box(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 1.0, 1.0]))
TINY = HeadConfig(
    GridLayout(levels=3, features=2, log2_table_size=9, coarsest=4, finest=12),
    code=6,
    appearance=3,
    width=16,
    attention_width=8,
    geometry_features=5,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(config: HeadConfig = TINY, box: Box = BOX) -> Head:
    """Parameters as training might leave them, not the careful beginning."""
    head, chance = config.build(box, 5, 4, rng()), rng(9)
    with torch.no_grad():
        for parameter in [head.table, *head.networks()]:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=chance))
    return head


def condition(seed: int = 1, eye: float = 0.7) -> Condition:
    chance = rng(seed)
    return Condition(torch.randn(6, generator=chance), torch.tensor(eye), torch.randn(3, generator=chance))


def points(count: int = 200, box: Box = BOX) -> tuple[torch.Tensor, torch.Tensor]:
    chance = rng(1)
    x = box.from_unit(0.02 + 0.96 * torch.rand(count, 3, generator=chance))
    return x, normalize(torch.randn(count, 3, generator=chance))


@torch.no_grad()
def test_it_is_a_field_with_sane_answers():
    field, (x, d) = awake()(condition()), points()
    out = field(x, d)
    assert isinstance(field, Field)
    assert out.density.shape == (200,)
    assert out.color.shape == (200, 3)
    assert bool((torch.isfinite(out.density) & (out.density >= 0)).all())
    assert float(out.density.max()) > 0
    assert bool(((out.color >= 0) & (out.color <= 1)).all())
    assert float(out.color.std(0).min()) > 0
    torch.testing.assert_close(field.density(x), out.density)
    for part in (slice(0, 1), slice(3, 60)):  # no point knows of the others
        torch.testing.assert_close(field(x[part], d[part]).color, out.color[part])
        torch.testing.assert_close(field.density(x[part]), out.density[part])


@torch.no_grad()
def test_it_is_the_formula_with_nothing_folded():
    head, now, (x, d) = awake(), condition(), points()
    f = hash_encode(BOX.to_unit(x), head.table, head.layout)
    attention = torch.sigmoid(mlp_reference(f, list(head.attention_network)))
    a, e = attention[:, :6], attention[:, 6:]
    h = mlp_reference(torch.cat([f, a * now.sound, e * now.eye], 1), list(head.density_network))
    seen = torch.cat([h, spherical_harmonics(d), now.appearance.expand(200, 3)], 1)
    out = head(now)(x, d)
    torch.testing.assert_close(out.density, torch.exp(h[:, 0]))  # the longest side is 2, its half the unit
    torch.testing.assert_close(out.color, torch.sigmoid(mlp_reference(seen, list(head.color_network))))
    torch.testing.assert_close(head(now).attention(x).sound, a)
    torch.testing.assert_close(head(now).attention(x).eye, e[:, 0])


@torch.no_grad()
def test_each_condition_changes_what_it_should():
    head, now, (x, d) = awake(), condition(), points()
    out = head(now)(x, d)
    heard = head(replace(now, sound=now.sound + 1))(x, d)
    blinked = head(replace(now, eye=torch.tensor(0.0)))(x, d)
    lit = head(replace(now, appearance=now.appearance + 1))(x, d)
    for other in (heard, blinked):
        assert float((other.density - out.density).abs().max()) > 0.01
        assert float((other.color - out.color).abs().max()) > 0.01
    assert torch.equal(lit.density, out.density)  # light moves nothing
    assert float((lit.color - out.color).abs().max()) > 0.01


@torch.no_grad()
def test_without_attention_nothing_is_heard():
    head, now, (x, d) = awake(), condition(), points()
    head.table.abs_()
    head.attention_network[0].abs_()
    head.attention_network[1].fill_(-1e4)
    attention = head(now).attention(x)
    assert not bool(attention.sound.any())
    assert not bool(attention.eye.any())
    out, other = head(now)(x, d), head(replace(condition(7, eye=0.1), appearance=now.appearance))(x, d)
    assert float(out.density.max()) > 0
    assert torch.equal(other.density, out.density)
    assert torch.equal(other.color, out.color)


def test_gradients_reach_everything_from_a_picture_to_the_sound():
    head, (x, d) = awake(), points()
    windows = torch.rand(4, 16, 5, generator=rng(2))
    code = head.sound_encoder(neighbours(windows, torch.tensor([2])))[0]
    field = head(Condition(code, torch.tensor(0.7), head.appearance(2)))
    out = field(x, d)
    (out.density.sum() + (out.color * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name
    assert head.appearance.table.grad.abs().sum(1).nonzero().flatten().tolist() == [2]


def test_the_sound_is_heard_from_the_first_step_on():
    """Before any training, with the grid's features still next to nothing."""
    head, (x, _) = TINY.build(BOX, 5, 4, rng()), points()
    code = torch.randn(6, generator=rng(3), requires_grad=True)
    head(replace(condition(), sound=code)).density(x).sum().backward()
    assert float(code.grad.norm()) > 1e-3


def test_attention_is_between_0_and_1_and_can_be_driven_down():
    head, (x, _) = awake(), points()
    attention = head(condition()).attention(x)
    for share in (attention.sound, attention.eye):
        assert bool(((share >= 0) & (share <= 1)).all())
        assert float(share.detach().std()) > 0.01
    attention.sound.mean().backward()
    assert bool((head.attention_network[0].grad != 0).any())
    assert bool((head.table.grad != 0).any())


def test_a_new_frame_looks_like_the_mean_of_all():
    head = awake()
    torch.testing.assert_close(head.appearance(), sum(head.appearance(i) for i in range(4)) / 4)
    fresh = TINY.build(BOX, 5, 4, rng())
    assert torch.equal(fresh.appearance(0), fresh.appearance(3))


@torch.no_grad()
def test_there_is_nothing_outside_of_the_box_and_no_points_give_no_answers():
    field = awake()(condition())
    outside = torch.tensor([[1.2, 0.0, 0.5], [0.0, -0.6, 0.5], [0.0, 0.0, 7.0]])
    assert field.density(outside).tolist() == [0.0, 0.0, 0.0]
    out = field(torch.zeros(0, 3), torch.zeros(0, 3))
    assert out.density.shape == (0,)
    assert out.color.shape == (0, 3)


@torch.no_grad()
def test_twice_the_head_has_half_the_density():
    large = Box(2 * BOX.low, 2 * BOX.high)
    (x, d), now = points(), condition()
    out, grown = awake()(now)(x, d), awake(box=large)(now)(2 * x, d)
    torch.testing.assert_close(grown.density, 0.5 * out.density)
    torch.testing.assert_close(grown.color, out.color)


@torch.no_grad()
def test_state_goes_round_and_comes_from_the_given_generator_only():
    before = torch.get_rng_state()
    first, again, other = (TINY.build(BOX, 5, 4, rng(seed)).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    head, copied, (x, d) = awake(), TINY.build(Box.cube(3.0), 5, 4, rng(3)), points(50)
    copied.load_state_dict(copy.deepcopy(head.state_dict()))
    assert torch.equal(copied(condition())(x, d).color, head(condition())(x, d).color)
    assert torch.equal(copied(condition()).density(x), head(condition()).density(x))


def test_grid_and_sound_learn_at_rates_of_their_own():
    head = TINY.build(BOX, 5, 4, rng())
    assert isinstance(head, Networked)
    slow = {id(p) for p in head.networks()}
    rest = {name for name, p in head.named_parameters() if id(p) not in slow}
    assert "table" in rest
    assert {name for name in rest if not name.startswith("sound_encoder.")} == {"table"}


def test_it_learns_a_ball_whose_size_is_in_the_sound():
    """Heard aright, the ball has the right size; heard in another order it is as wrong as a ball of one size."""
    head, chance = TINY.build(Box.cube(1.0), 5, 8, rng()), rng(4)
    radius = torch.linspace(0.3, 0.9, 8)
    codes = torch.randn(8, 6, generator=chance)
    eye, look = torch.tensor(1.0), torch.zeros(3)
    optimizer = torch.optim.Adam([*head.networks()[:-1], head.table], lr=1e-2)

    def error(frame: int, heard: int, x: torch.Tensor) -> torch.Tensor:
        density = head(Condition(codes[heard], eye, look)).density(x)
        return ((1 - torch.exp(-density)) - (x.norm(dim=-1) < radius[frame]).float()).square().mean()

    for step in range(160):
        frame = step % 8
        loss = error(frame, frame, torch.rand(256, 3, generator=chance) * 2 - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.rand(2000, 3, generator=chance) * 2 - 1
    with torch.no_grad():
        true = sum(float(error(frame, frame, x)) for frame in range(8)) / 8
        shuffled = sum(float(error(frame, (frame + 4) % 8, x)) for frame in range(8)) / 8
    assert true < 0.04
    assert shuffled > 3 * true
