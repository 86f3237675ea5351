"""Lookups against PyTorch's own grid sampling, and all their derivatives against finite differences."""

import torch
import torch.nn.functional as F

from nerf3d.fields.interpolate import bilinear_lookup, linear_lookup


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_bilinear_is_grid_sample():
    planes = torch.randn(3, 5, 7, 2, generator=rng(), dtype=torch.float64)
    x = torch.rand(3, 50, 2, generator=rng(), dtype=torch.float64) * 1.4 - 0.2  # some outside: the border counts on
    x[0, :4] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    expected = F.grid_sample(planes.permute(0, 3, 1, 2), 2 * x[:, None] - 1, align_corners=True, padding_mode="border")
    torch.testing.assert_close(bilinear_lookup(planes, x), expected[:, :, 0].transpose(1, 2))


def test_linear_is_bilinear_with_equal_rows():
    lines = torch.randn(3, 6, 2, generator=rng(), dtype=torch.float64)
    x = torch.rand(3, 20, generator=rng(), dtype=torch.float64)
    planes = lines[:, None].expand(3, 4, 6, 2)
    expected = bilinear_lookup(planes, torch.stack([x, x.flip(1)], -1))
    torch.testing.assert_close(linear_lookup(lines, x), expected)


def test_first_and_second_derivatives():
    planes = torch.randn(2, 3, 4, 2, generator=rng(), dtype=torch.float64, requires_grad=True)
    lines = torch.randn(2, 4, 2, generator=rng(), dtype=torch.float64, requires_grad=True)
    x = (0.05 + 0.9 * torch.rand(2, 6, 2, generator=rng(), dtype=torch.float64)).requires_grad_()

    def product(planes, lines, x):
        return bilinear_lookup(planes, x) * linear_lookup(lines, x[..., 0])

    assert torch.autograd.gradcheck(product, (planes, lines, x))
    assert torch.autograd.gradgradcheck(product, (planes, lines, x))
