"""Codes of sound: the network's shape, neighbours, and that nothing falls silent."""

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.models.sound_encoder import BEFORE, MouthGuess, SoundEncoder, neighbours


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def film(frames: int = 11, channels: int = 5) -> torch.Tensor:
    return torch.rand(frames, 16, channels, generator=rng(1))


def test_the_network_has_the_papers_layers():
    encoder = SoundEncoder(29, 32, rng())
    assert [tuple(c.weight.shape) for c in encoder.convolutions] == [(32, 29, 3), (32, 32, 3), (64, 32, 3), (64, 64, 3)]
    assert [tuple(c.weight.shape[:2]) for c in encoder.smoothing] == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    assert all(c.stride == (2,) for c in encoder.convolutions)
    assert encoder(film(8, 29)[None]).shape == (1, 32)


def test_neighbours_are_the_frames_around_and_silence():
    windows = film()
    around = neighbours(windows, torch.tensor([5, 1, 10]))
    assert torch.equal(around[0], windows[1:9])
    assert torch.equal(around[1, 3:], windows[:5])
    assert not bool(around[1, :3].any())
    assert torch.equal(around[2, :5], windows[6:])
    assert not bool(around[2, 5:].any())


@torch.no_grad()
def test_the_code_is_a_mean_of_the_neighbours_codes():
    """Written out: each window by itself, then a loop over the eight."""
    encoder, around = SoundEncoder(5, 6, rng()), neighbours(film(), torch.tensor([4, 9]))
    expected = torch.zeros(2, 6)
    for row in range(2):
        codes = torch.cat([encoder.encode(window[None]) for window in around[row]])
        weights = encoder.attention(codes[None])[0]
        assert float(weights.sum()) == pytest.approx(1.0)
        for weight, code in zip(weights, codes):
            expected[row] += weight * code
    torch.testing.assert_close(encoder(around), expected)


@torch.no_grad()
def test_at_first_a_frame_is_heard_more_than_its_neighbours():
    encoder = SoundEncoder(5, 6, rng())
    weights = encoder.attention(torch.randn(200, 8, 6, generator=rng(2))).mean(0)
    assert int(weights.argmax()) == BEFORE
    assert float(weights[BEFORE]) > 0.25


@torch.no_grad()
def test_one_frame_a_batch_and_a_film_in_portions_agree():
    encoder, windows = SoundEncoder(5, 6, rng()), film()
    batch = encoder(neighbours(windows, torch.arange(11)))
    single = torch.cat([encoder(neighbours(windows, torch.tensor([i]))) for i in range(11)])
    torch.testing.assert_close(single, batch)
    for portion in (1, 2, 5, 8, 100):
        streamed = list(encoder.along([*windows.split(portion), windows[:0]]))
        torch.testing.assert_close(torch.cat(streamed), batch)
    torch.testing.assert_close(
        torch.cat(list(encoder.along([windows[:2]]))), encoder(neighbours(windows[:2], torch.arange(2)))
    )
    assert list(encoder.along([])) == []


@torch.no_grad()
def test_different_sounds_have_clearly_different_codes_and_nothing_saturates():
    encoder = SoundEncoder(40, 32, rng())
    quiet, loud = torch.zeros(1, 8, 16, 40), 0.8 * torch.rand(1, 8, 16, 40, generator=rng(3))
    assert float((encoder(loud) - encoder(quiet)).norm()) > 0.3
    assert float(encoder(100 * loud).abs().max()) > 50 * float(encoder(loud).abs().max())  # no tanh


def test_gradients_reach_all_of_it_through_the_mouth():
    encoder = SoundEncoder(5, 6, rng())
    guess = MouthGuess(6, rng(1))
    mouth = guess(encoder(neighbours(film(), torch.arange(11))))
    assert mouth.shape == (11, 2)
    (mouth - torch.tensor([0.3, 0.7])).square().mean().backward()
    for name, parameter in [*encoder.named_parameters(), *guess.named_parameters()]:
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


def test_parameters_come_from_the_given_generator_only():
    before = torch.get_rng_state()
    first, again, other = (SoundEncoder(5, 6, rng(seed)).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_another_feature_is_refused():
    with pytest.raises(InputError, match=r"16 x 29 numbers, but this model hears 16 x 5"):
        SoundEncoder(5, 6, rng()).encode(film(2, 29))


def test_the_mouth_can_be_read_from_the_sound():
    """Whether the loud band is the low or the high one says how far the mouth is open, at the window's middle."""
    chance = rng(4)
    high = torch.rand(400, generator=chance)
    windows = 0.1 * torch.rand(400, 16, 4, generator=chance)
    windows[:, 6:10, 0] += (1 - high)[:, None]
    windows[:, 6:10, 3] += high[:, None]
    truth = torch.stack([high, 1 - 0.5 * high], -1)
    encoder, guess = SoundEncoder(4, 8, rng()), MouthGuess(8, rng(1))
    optimizer = torch.optim.Adam([*encoder.parameters(), *guess.parameters()], lr=3e-3)
    for _ in range(150):
        frames = torch.randint(320, (64,), generator=chance)
        loss = (guess(encoder(neighbours(windows, frames))) - truth[frames]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        said = guess(encoder(neighbours(windows, torch.arange(320, 400))))
    assert float(torch.corrcoef(torch.stack([said[:, 0], truth[320:, 0]]))[0, 1]) > 0.9
