"""What is given of an object stays, whatever is drawn for the rest."""

import torch
from torch import Tensor

from nerf3d.core import Box
from nerf3d.models.codebook import Nearest
from nerf3d.models.vq_autoencoder import VQAutoencoder, VQAutoencoderConfig
from nerf3d.tasks.generate.completion import POINTS, points_in_cells, settle

BOX = Box(torch.tensor([-1.0, -2.0, 0.0]), torch.tensor([1.0, 2.0, 1.0]))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made() -> VQAutoencoder:
    config = VQAutoencoderConfig(
        encoder_channels=(8, 8),
        grid=(4, 2, 2),
        latent=6,
        codebook=Nearest(entries=16),
        channels=(8, 8),
        plane_features=4,
        decoder_width=8,
    )
    return config.build(BOX, rng())


def seen(model: VQAutoencoder, latents: Tensor, x: Tensor) -> Tensor:
    answer = model.field(latents)(x, torch.zeros_like(x))
    return answer.density[:, None] * answer.color


def test_the_given_half_looks_as_it_did_and_the_drawn_one_is_near_to_what_was_drawn() -> None:
    model = made()
    before, drawn = torch.randn(2, 16, 6, generator=rng(1))
    keep = model.places[:, 0] > 0
    drawn[keep] = before[keep]
    settled = settle(model, before, drawn, keep, rng(2))
    assert torch.equal(settled[keep], before[keep])
    x = points_in_cells(model, keep, rng(3))
    with torch.no_grad():
        aim, at_first, at_last = (seen(model, latents, x) for latents in (before, drawn, settled))
    assert float((at_last - aim).square().mean()) < 0.5 * float((at_first - aim).square().mean())
    assert float((settled - drawn).norm()) < 0.6 * float((before - drawn).norm())


def test_points_lie_in_the_cells_that_are_asked_for() -> None:
    model = made()
    which = torch.zeros(16, dtype=torch.bool)
    which[5] = True
    x = points_in_cells(model, which, rng())
    assert len(x) == POINTS
    low, high = (
        model.places[5] - BOX.size / torch.tensor([8, 4, 4]),
        model.places[5] + BOX.size / torch.tensor([8, 4, 4]),
    )
    assert bool(((x >= low - 1e-6) & (x <= high + 1e-6)).all())
    assert bool((x.amax(0) - x.amin(0) > 0.9 * (high - low)).all())


def test_with_all_or_nothing_given_nothing_moves() -> None:
    model = made()
    before, drawn = torch.randn(2, 16, 6, generator=rng(1))
    for keep in (torch.ones(16, dtype=torch.bool), torch.zeros(16, dtype=torch.bool)):
        assert torch.equal(settle(model, before, drawn, keep, rng()), drawn)
