"""Encodings against their formulas, and the harmonics against SciPy's and against their defining integral."""

import math

import numpy as np
import torch
from scipy.special import sph_harm_y

from nerf3d.core.numerics import normalize
from nerf3d.fields.encodings import SPHERICAL_HARMONICS, frequency, spherical_harmonics


def test_frequency_is_the_papers_formula():
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    encoded = frequency(x, octaves=4)
    assert encoded.shape == (5, 3 * 9)
    assert torch.equal(encoded[:, :3], x)
    for row in range(5):
        for k in range(4):
            for c in range(3):
                angle = 2**k * math.pi * float(x[row, c])
                assert math.isclose(float(encoded[row, 3 + 6 * k + c]), math.sin(angle), abs_tol=1e-12)
                assert math.isclose(float(encoded[row, 3 + 6 * k + 3 + c]), math.cos(angle), abs_tol=1e-12)
    assert torch.equal(frequency(x, 4, include_input=False), encoded[:, 3:])


def test_frequency_worked_example():
    expected = torch.tensor([[0.5, 1.0, 0.0, 0.0, -1.0]])
    torch.testing.assert_close(frequency(torch.tensor([[0.5]]), octaves=2), expected, atol=1e-6, rtol=0)


def test_frequency_without_octaves_is_the_input():
    assert torch.equal(frequency(torch.ones(2, 3), 0), torch.ones(2, 3))


def test_harmonics_are_orthonormal():
    """Gauss-Legendre in cos(theta) times equal steps in phi integrates products of degree 6 exactly."""
    nodes, node_weights = np.polynomial.legendre.leggauss(8)
    steps = 16
    phi = (np.arange(steps) + 0.5) * 2 * np.pi / steps
    z, phi = np.meshgrid(nodes, phi, indexing="ij")
    r = np.sqrt(1 - z * z)
    d = torch.from_numpy(np.stack([r * np.cos(phi), r * np.sin(phi), z], -1))
    weight = torch.from_numpy(np.repeat(node_weights[:, None], steps, 1) * 2 * np.pi / steps)
    y = spherical_harmonics(d)
    gram = torch.einsum("tp,tpi,tpj->ij", weight, y, y)
    torch.testing.assert_close(gram, torch.eye(SPHERICAL_HARMONICS, dtype=torch.float64), atol=1e-12, rtol=0)


def test_harmonics_are_scipys():
    d = normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    x, y, z = d.numpy().T
    theta, phi = np.arccos(z), np.arctan2(y, x)
    ours = spherical_harmonics(d).numpy()
    for degree in range(4):
        for order in range(-degree, degree + 1):
            complex_one = sph_harm_y(degree, abs(order), theta, phi) * (-1) ** abs(order)
            real = (
                complex_one.real if order == 0 else math.sqrt(2) * (complex_one.real if order > 0 else complex_one.imag)
            )
            np.testing.assert_allclose(ours[:, degree * degree + degree + order], real, atol=1e-12)
