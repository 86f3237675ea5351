"""Lens models, and their inverses by Newton's method.

OPENCV (k1 k2 p1 p2 k3), for x, y on the plane z = 1 and r^2 = x^2 + y^2:

    x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)
    y' = y (1 + k1 r^2 + k2 r^4 + k3 r^6) + p1 (r^2 + 2 y^2) + 2 p2 x y

OPENCV_FISHEYE (k1 k2 k3 k4), for the angle a between the ray and the optical axis:

    a' = a (1 + k1 a^2 + k2 a^4 + k3 a^6 + k4 a^8),    x' = a' x / r,    y' = a' y / r
"""

import torch
from jaxtyping import Float
from torch import Tensor

NEWTON_STEPS = 10
CLOSE_ENOUGH = 1e-7


def distort(p: Float[Tensor, "*b 2"], k: Float[Tensor, "*b 5"]) -> Float[Tensor, "*b 2"]:
    """Where the lens with coefficients (k1, k2, p1, p2, k3) puts a point of the plane z = 1."""
    x, y = p.unbind(-1)
    k1, k2, p1, p2, k3 = k.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def undistort(q: Float[Tensor, "*b 2"], k: Float[Tensor, "*b 5"]) -> Float[Tensor, "*b 2"]:
    """The point that the lens puts at `q`: solves distort(p) = q by Newton's method, beginning at q.

    Where the model folds over (strong coefficients far from the centre), a step is kept below a quarter of the picture
    plane so that the iteration stays finite.
    """
    if q.numel() == 0 or not bool((k != 0).any()):
        return q
    k1, k2, p1, p2, k3 = k.unbind(-1)
    p = q
    for _ in range(NEWTON_STEPS):
        x, y = p.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)  # d radial / d r^2
        a = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        b = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        c = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        miss = distort(p, k) - q
        if float(miss.detach().abs().max()) < CLOSE_ENOUGH:
            break
        miss_x, miss_y = miss.unbind(-1)
        determinant = a * c - b * b
        determinant = torch.where(determinant.abs() < 1e-6, torch.full_like(determinant, 1e-6), determinant)
        step = torch.stack([c * miss_x - b * miss_y, a * miss_y - b * miss_x], -1) / determinant[..., None]
        p = p - step.clamp(-0.25, 0.25)
    return p


def fisheye_distort(p: Float[Tensor, "*b 2"], k: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 2"]:
    """Where a fisheye lens with coefficients (k1, k2, k3, k4) puts a point given as (angle) x (direction in the plane)."""
    angle = p.square().sum(-1, keepdim=True)
    k1, k2, k3, k4 = (c[..., None] for c in k.unbind(-1))
    return p * (1 + angle * (k1 + angle * (k2 + angle * (k3 + angle * k4))))


def fisheye_undistort(q: Float[Tensor, "*b 2"], k: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 2"]:
    """The inverse of `fisheye_distort`, by Newton's method on the angle."""
    bent = q.square().sum(-1).clamp_min(1e-20).sqrt()
    k1, k2, k3, k4 = k.unbind(-1)
    angle = bent
    for _ in range(NEWTON_STEPS):
        s = angle * angle
        value = angle * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4)))) - bent
        slope = 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))
        slope = torch.where(slope.abs() < 1e-6, torch.full_like(slope, 1e-6), slope)
        angle = angle - (value / slope).clamp(-0.25, 0.25)
    return q * (angle / bent)[..., None]
