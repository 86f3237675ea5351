"""Encodings: fixed functions that give a network more to hold on to than bare positions and directions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SPHERICAL_HARMONICS = 16


def frequency(x: Float[Tensor, "*b c"], octaves: int, include_input: bool = True) -> Float[Tensor, "*b e"]:
    """Sines and cosines of x at `octaves` doubling frequencies, x itself in front unless told otherwise.

    NeRF (2020), equation 4, on each of the c coordinates: sin(2^k pi x), cos(2^k pi x) for k = 0 ... octaves - 1.
    The order is x, then octave by octave all sines, all cosines: e = c (2 octaves + 1). Coordinates should lie in
    [-1, 1], where the lowest frequency makes one full turn.

    >>> frequency(torch.tensor([[0.5]]), octaves=2).round(decimals=3) + 0.0  # 1/2; sin, cos of pi/2; sin, cos of pi
    tensor([[ 0.5000,  1.0000,  0.0000,  0.0000, -1.0000]])
    """
    scale = math.pi * 2.0 ** torch.arange(octaves, dtype=x.dtype, device=x.device)
    angle = scale[:, None] * x[..., None, :]
    waves = torch.cat([torch.sin(angle), torch.cos(angle)], -1).flatten(-2)
    return torch.cat([x, waves], -1) if include_input else waves


def spherical_harmonics(d: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 16"]:
    """The 16 real spherical harmonics of degree 0 to 3 at unit directions d = (x, y, z).

    They are orthonormal: the integral of Y_i Y_j over the sphere is 1 for i = j and 0 otherwise. Number l^2 + l + m
    belongs to degree l and order m = -l ... l (sin |m| phi for m < 0, cos m phi for m > 0), without the
    Condon-Shortley sign. (instant-ngp's "degree 4" are these four bands.)

    >>> spherical_harmonics(torch.tensor([0.0, 0.0, 1.0]))[:4]  # sqrt(1 / 4 pi), 0, sqrt(3 / 4 pi), 0
    tensor([0.2821, 0.0000, 0.4886, 0.0000])
    """
    x, y, z = d.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    one, three, five, seven = (math.sqrt(k / (4 * math.pi)) for k in (1, 3, 5, 7))
    return torch.stack(
        [
            torch.full_like(x, one),
            three * y,
            three * z,
            three * x,
            five * math.sqrt(3) * x * y,
            five * math.sqrt(3) * y * z,
            five / 2 * (3 * zz - 1),
            five * math.sqrt(3) * x * z,
            five * math.sqrt(3) / 2 * (xx - yy),
            seven * math.sqrt(5 / 8) * y * (3 * xx - yy),
            seven * math.sqrt(15) * x * y * z,
            seven * math.sqrt(3 / 8) * y * (5 * zz - 1),
            seven / 2 * z * (5 * zz - 3),
            seven * math.sqrt(3 / 8) * x * (5 * zz - 1),
            seven * math.sqrt(15) / 2 * z * (xx - yy),
            seven * math.sqrt(5 / 8) * x * (xx - 3 * yy),
        ]
    ).movedim(0, -1)  # in memory one coefficient after the other, as the kernels want it
