"""Pictures to codes to fields: shapes, what the code reaches, and what is refused."""

import pytest
import torch

from nerf3d.core import Box, Field
from nerf3d.errors import InputError
from nerf3d.models.object_autoencoder import ObjectAutoencoder, ObjectAutoencoderConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig

SMALL = ObjectAutoencoderConfig(
    PictureEncoderConfig(channels=(8, 8), code=6), channels=(8, 8), plane_features=4, decoder_width=8
)


def made(seed: int = 0) -> ObjectAutoencoder:
    return SMALL.build(Box.cube(1.0), torch.Generator().manual_seed(seed))


def test_a_picture_becomes_a_field() -> None:
    model = made()
    codes = model.encoder(torch.rand(3, 8, 8, 4, generator=torch.Generator().manual_seed(1)))
    assert codes.shape == (3, 6)
    fields = model.fields(codes)
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert isinstance(fields[0], Field)
    one = model.field(codes[1])
    assert torch.allclose(one.density(x), fields[1].density(x), atol=1e-5)
    assert not torch.allclose(fields[0].density(x), fields[1].density(x), atol=1e-4)
    assert fields[0].planes.shape == (3, 8, 8, 4)


def test_everything_learns_from_a_color() -> None:
    """The code reaches the picture by all roads: backbone, planes' reader, and back into the encoder."""
    model = made()
    field = model.fields(model.encoder(torch.rand(1, 8, 8, 4)))[0]
    x = torch.rand(50, 3) * 2 - 1
    answer = field(x, torch.zeros_like(x))
    (answer.color.sum() + answer.density.square().sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0]
    assert silent == []


def test_a_seed_says_all() -> None:
    one, other, third = (made(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one)


def test_what_does_not_fit_is_refused() -> None:
    model = made()
    with pytest.raises(InputError, match="16 x 16 with 3 channels"):
        model.encoder(torch.zeros(1, 16, 16, 3))
    with pytest.raises(InputError, match="a code is 5 numbers"):
        model.field(torch.zeros(5))
    with pytest.raises(InputError, match="at least 1"):
        PictureEncoderConfig(channels=()).build(torch.Generator())
    with pytest.raises(InputError, match="at least 1"):
        ObjectAutoencoderConfig(decoder_width=0).build(Box.cube(1.0), torch.Generator())
    with pytest.raises(InputError, match="style of 6 numbers"):
        model.decoder(torch.zeros(3, 4, 8, 8))
