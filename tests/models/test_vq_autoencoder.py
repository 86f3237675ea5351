"""Pictures to tokens to fields: which token lies where, what it reaches, and what is refused."""

from dataclasses import replace

import pytest
import torch

from nerf3d.core import Box, Field
from nerf3d.errors import InputError
from nerf3d.models.codebook import CodebookConfig, Gumbel, Nearest
from nerf3d.models.vq_autoencoder import VQAutoencoder, VQAutoencoderConfig

SMALL = VQAutoencoderConfig(
    encoder_channels=(8, 8),
    grid=(4, 3, 2),
    latent=6,
    codebook=Nearest(entries=16),
    channels=(8, 8),
    plane_features=4,
    decoder_width=8,
)
BOX = Box(torch.tensor([-1.0, -2.0, 0.0]), torch.tensor([1.0, 2.0, 1.0]))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(codebook: CodebookConfig = SMALL.codebook, seed: int = 0) -> VQAutoencoder:
    return replace(SMALL, codebook=codebook).build(BOX, rng(seed))


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 8, 8, 4, generator=rng(1))


def points(count: int = 50) -> torch.Tensor:
    return BOX.from_unit(torch.rand(count, 3, generator=rng(2)))


@torch.no_grad()
def test_a_picture_becomes_tokens_and_a_field() -> None:
    model, x = made(), points()
    model.learn(pictures(5), 0.0, rng(3))
    tokens = model.tokens(pictures(3))
    assert tokens.shape == (3, 24)
    codes = model.latents(tokens)
    assert codes.shape == (3, 24, 6)
    assert torch.equal(model.nearest(codes), tokens)
    fields = model.fields(codes)
    assert isinstance(fields[0], Field)
    assert fields[0].planes.shape == (3, 8, 8, 4)
    one = model.field(codes[1])
    torch.testing.assert_close(one.density(x), fields[1].density(x))
    assert not torch.allclose(fields[0].density(x), fields[1].density(x), atol=1e-4)


@torch.no_grad()
def test_what_differs_from_the_usual_is_quantised() -> None:
    """The codebook sees differences that are 0 on average, the decoder the whole answers."""
    model = made(Nearest(entries=120))  # as many as the first lesson has vectors: nothing is lost
    said = model.said(pictures(5))
    found = model.learn(pictures(5), 0.0, rng(3))
    torch.testing.assert_close(model.usual, said.mean(0))
    torch.testing.assert_close(found.values, said)
    torch.testing.assert_close(
        model.latents(found.tokens), said, atol=0.01, rtol=0
    )  # the entries have moved on a little
    model.learn(pictures(5) * 0.5, 0.0, rng(3))
    torch.testing.assert_close(model.usual, 0.9 * said.mean(0) + 0.1 * model.said(pictures(5) * 0.5).mean(0))


@torch.no_grad()
def test_a_token_lies_in_the_planes_where_its_cell_lies_in_the_box() -> None:
    """With layers that add up what they see, a single cell is one spot of each map: there the planes look it up."""
    model = made()
    for layer in model.maps.flatten:
        layer.weight.fill_(1.0)
    assert model.places.shape == (24, 3)
    assert model.places[0].tolist() == pytest.approx([-0.75, -4 / 3, 0.25])
    assert model.places[1].tolist() == pytest.approx([-0.25, -4 / 3, 0.25])  # x runs fastest
    assert model.places[-1].tolist() == pytest.approx([0.75, 4 / 3, 0.75])
    unit = BOX.to_unit(model.places)
    latents = torch.zeros(24, 24, 6)
    latents[range(24), range(24)] = 1
    for token, maps in enumerate(model.maps.maps(latents)[:, :, 0]):
        for plane, (column, row) in enumerate(((0, 1), (0, 2), (1, 2))):
            heavy = maps[plane] / maps[plane].sum()
            middle = (torch.arange(4) + 0.5) / 4
            across = float((heavy.sum(0) * middle).sum()), float((heavy.sum(1) * middle).sum())
            # Rows and columns that are made of fewer cells are smoothed, which draws what lies at the border inwards.
            assert across == pytest.approx((float(unit[token, column]), float(unit[token, row])), abs=0.09)


def test_a_token_reaches_most_where_it_is() -> None:
    """Of an untrained model, and beside the style, which reaches everywhere: the planes' features change more within a
    token's cell than in the opposite corner.
    """
    model = replace(SMALL, grid=(4, 4, 4), channels=(16, 16, 16)).build(BOX, rng())
    latents = torch.randn(1, 64, 6, generator=rng(1)).requires_grad_()
    style = torch.ones(1, model.synthesis.layers, 64 * 6)
    planes = model.synthesis(style, added=model.maps(latents))[0].unflatten(0, (3, -1)).square().sum(1)
    corner, opposite = (planes[:, rows, columns].sum() for rows, columns in ((slice(4),) * 2, (slice(-4, None),) * 2))
    reach = [torch.autograd.grad(part, latents, retain_graph=True)[0][0].abs().sum(1) for part in (corner, opposite)]
    assert float(reach[0][0]) > 2 * float(reach[1][0])
    assert float(reach[1][-1]) > 2 * float(reach[0][-1])


@pytest.mark.parametrize("codebook", [Nearest(entries=16), Gumbel(entries=16)])
def test_everything_learns_from_a_color(codebook) -> None:
    """The tokens reach the picture by all roads: maps, style, planes' reader, and back into the encoder."""
    model, x = made(codebook), points()
    codes = model.learn(pictures(2), 0.0, rng(3))
    total = codes.loss
    for field in model.fields(codes.values):
        answer = field(x, torch.zeros_like(x))
        total = total + answer.color.sum() + answer.density.square().sum()
    total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []


@torch.no_grad()
def test_every_token_has_a_part_in_the_style() -> None:
    """Changing any one of them changes how the planes are read, and two of them in their own ways."""
    model = made()
    latents = torch.randn(1, 24, 6, generator=rng(1)).repeat(25, 1, 1)
    latents[range(24), range(24)] += 1.0
    *changed, same = (field.bend for field in model.fields(latents))
    assert same is not None
    for one, other in zip(changed, changed[1:] + changed[:1], strict=True):
        assert not torch.allclose(one, same, atol=1e-3)
        assert not torch.allclose(one, other, atol=1e-3)


def test_a_seed_says_all() -> None:
    one, other, third = (made(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one)


def test_what_does_not_fit_is_refused() -> None:
    model = made()
    with pytest.raises(InputError, match="16 x 16 with 4 channels"):
        model.tokens(torch.zeros(1, 16, 16, 4))
    with pytest.raises(InputError, match="code is 23 x 6 numbers, but this model takes 24 x 6"):
        model.field(torch.zeros(23, 6))
    for bad in (replace(SMALL, grid=(4, 0, 2)), replace(SMALL, channels=()), replace(SMALL, latent=0)):
        with pytest.raises(InputError, match="at least 1"):
            bad.build(BOX, rng())
