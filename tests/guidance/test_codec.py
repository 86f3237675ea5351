from types import SimpleNamespace

import torch
from torch import Tensor, nn

from nerf3d.guidance.codec import Latents, Pixels, pixels


class Halving(nn.Module):
    """An autoencoder whose posterior is known: the mean of 2 x 2 pixels, which it was told not to sample."""

    def encode(self, x: Tensor) -> SimpleNamespace:
        def sample() -> Tensor:
            raise AssertionError("the posterior must not be sampled")

        return SimpleNamespace(latent_dist=SimpleNamespace(mean=nn.functional.avg_pool2d(x, 2), sample=sample))

    def decode(self, z: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=nn.functional.interpolate(z, scale_factor=2))


def test_pixels_are_resized_bilinearly_and_on_average(rng: torch.Generator) -> None:
    images = torch.rand(1, 8, 8, 3, generator=rng)
    assert torch.equal(pixels(images, 8), 2 * images.permute(0, 3, 1, 2) - 1)
    # a ramp stays a ramp, away from the edges
    ramp = torch.linspace(0, 1, 9)[:8].view(1, 1, 8, 1).expand(1, 8, 8, 3)
    wide = pixels(ramp.contiguous(), 16)[0, 0, 5]
    torch.testing.assert_close(wide.diff()[2:-2], torch.full((11,), 2 / 8 / 2))
    # a checkerboard shrinks to grey instead of aliasing
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    grey = Pixels(4)(board[None, :, :, None].expand(1, 8, 8, 3).float())
    assert grey.abs().max() < 0.2


def test_latents_are_scaled_means_with_a_gradient(rng: torch.Generator) -> None:
    codec = Latents(Halving(), 4, scale=3.0, shift=0.5)
    images = torch.rand(2, 4, 4, 3, generator=rng, requires_grad=True)
    latents = codec(images)
    mean = nn.functional.avg_pool2d(2 * images.permute(0, 3, 1, 2) - 1, 2)
    torch.testing.assert_close(latents, (mean - 0.5) * 3)
    latents.sum().backward()
    torch.testing.assert_close(images.grad, torch.full_like(images, 3 * 2 / 4))
    shown = codec.decode(latents)
    torch.testing.assert_close(nn.functional.avg_pool2d(shown.permute(0, 3, 1, 2), 2) * 2 - 1, mean.detach())


def test_an_autoencoder_without_a_distribution_will_do() -> None:
    class Tiny(nn.Module):
        def encode(self, x: Tensor) -> SimpleNamespace:
            return SimpleNamespace(latents=x[:, :, ::2, ::2])

    assert Latents(Tiny(), 4, scale=2.0)(torch.ones(1, 4, 4, 3)).tolist() == torch.full((1, 3, 2, 2), 2.0).tolist()
