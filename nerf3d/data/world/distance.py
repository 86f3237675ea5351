"""Shapes as signed distance functions: negative inside, in world units (Quilez, "3D SDFs", for the primitives).

A `Distance` maps points (n 3) to distances (n). Some are bounds rather than exact (ellipsoids, cones, soft unions):
they never claim more than the true distance by much, and the tracer steps with a margin.

    >>> round(float(moved(ball(0.5), 0, 0, 1)(torch.zeros(1, 3))), 3)
    0.5
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Distance = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n"]]

Real = float | int
"""The run-time checks do not take an int for a float."""

AXES = {"x": 0, "y": 1, "z": 2}


def _length(v: Tensor) -> Tensor:
    return v.square().sum(-1).add(1e-12).sqrt()


def ball(radius: Real) -> Distance:
    return lambda p: _length(p) - radius


def ellipsoid(x: Real, y: Real, z: Real) -> Distance:
    """With these half axes; a bound."""

    def distance(p: Tensor) -> Tensor:
        radii = p.new_tensor([x, y, z])
        k, slope = _length(p / radii), _length(p / radii**2)
        return k * (k - 1) / slope

    return distance


def block(x: Real, y: Real, z: Real, rounding: Real = 0.0) -> Distance:
    """With these half sides, its edges rounded."""

    def distance(p: Tensor) -> Tensor:
        q = p.abs() - (p.new_tensor([x, y, z]) - rounding)
        return _length(q.clamp_min(0)) + q.amax(-1).clamp_max(0) - rounding

    return distance


def _in_section(radial: Tensor, z: Tensor, radius: Tensor | Real, half_height: Real) -> Tensor:
    across, along = radial - radius, z.abs() - half_height
    outside = (across.clamp_min(0).square() + along.clamp_min(0).square()).add(1e-12).sqrt()
    return outside + torch.maximum(across, along).clamp_max(0)


def cylinder(radius: Real, half_height: Real) -> Distance:
    """About the z axis."""
    return lambda p: _in_section(_length(p[:, :2]), p[:, 2], radius, half_height)


def cone(bottom: Real, top: Real, half_height: Real) -> Distance:
    """A cone about the z axis that is cut off flat at both ends, with these radii there."""
    slope = (top - bottom) / (2 * half_height)
    shrink = 1 / math.sqrt(1 + slope**2)

    def distance(p: Tensor) -> Tensor:
        radius = bottom + slope * (p[:, 2].clamp(-half_height, half_height) + half_height)
        across, along = (_length(p[:, :2]) - radius) * shrink, p[:, 2].abs() - half_height
        outside = (across.clamp_min(0).square() + along.clamp_min(0).square()).add(1e-12).sqrt()
        return outside + torch.maximum(across, along).clamp_max(0)

    return distance


def pyramid(half_side: Real, half_height: Real) -> Distance:
    """Four sides that meet in a point above; a bound."""
    slope = half_side / (2 * half_height)
    shrink = 1 / math.sqrt(1 + slope**2)

    def distance(p: Tensor) -> Tensor:
        side = slope * (half_height - p[:, 2])
        across = (p[:, :2].abs().amax(-1) - side) * shrink
        return torch.maximum(across, -p[:, 2] - half_height)

    return distance


def ring(major: Real, minor: Real) -> Distance:
    """A torus about the z axis."""
    return lambda p: _length(torch.stack([_length(p[:, :2]) - major, p[:, 2]], -1)) - minor


def rod(a: tuple[Real, Real, Real], b: tuple[Real, Real, Real], radius: Real) -> Distance:
    """All points within `radius` of the line from a to b."""

    def distance(p: Tensor) -> Tensor:
        start, along = p.new_tensor(a), p.new_tensor(b) - p.new_tensor(a)
        share = (((p - start) * along).sum(-1) / along.square().sum()).clamp(0, 1)
        return _length(p - start - share[:, None] * along) - radius

    return distance


def prism(corners: list[tuple[Real, Real]], half_depth: Real) -> Distance:
    """A polygon in the x-z plane, drawn out along y. Its corners run either way round; it may be concave."""

    def distance(p: Tensor) -> Tensor:
        point = p[:, [0, 2]]
        squared = torch.full_like(p[:, 0], torch.inf)
        inside = torch.zeros_like(p[:, 0], dtype=torch.bool)
        for (ax, az), (bx, bz) in zip(corners, corners[1:] + corners[:1], strict=True):
            edge = point.new_tensor([bx - ax, bz - az])
            from_a = point - point.new_tensor([ax, az])
            share = ((from_a * edge).sum(-1) / edge.square().sum()).clamp(0, 1)
            squared = torch.minimum(squared, (from_a - share[:, None] * edge).square().sum(-1))
            if az != bz:  # a line to the right crosses this edge: the point changes sides
                crosses = (point[:, 1] < az) != (point[:, 1] < bz)
                inside ^= crosses & (from_a[:, 0] < (bx - ax) * from_a[:, 1] / (bz - az))
        flat = torch.where(inside, -1.0, 1.0) * squared.add(1e-12).sqrt()
        along = p[:, 1].abs() - half_depth
        outside = (flat.clamp_min(0).square() + along.clamp_min(0).square()).add(1e-12).sqrt()
        return outside + torch.maximum(flat, along).clamp_max(0)

    return distance


def union(*shapes: Distance) -> Distance:
    return lambda p: torch.stack([shape(p) for shape in shapes]).amin(0)


def melted(softness: Real, *shapes: Distance) -> Distance:
    """A union whose seams are filled (Quilez' polynomial minimum)."""

    def distance(p: Tensor) -> Tensor:
        total = shapes[0](p)
        for shape in shapes[1:]:
            other = shape(p)
            near = (1 - (total - other).abs() / softness).clamp_min(0)
            total = torch.minimum(total, other) - near.square() * softness / 4
        return total

    return distance


def cut(shape: Distance, *holes: Distance) -> Distance:
    return lambda p: torch.maximum(shape(p), -union(*holes)(p))


def common(*shapes: Distance) -> Distance:
    return lambda p: torch.stack([shape(p) for shape in shapes]).amax(0)


def moved(shape: Distance, x: Real, y: Real, z: Real) -> Distance:
    return lambda p: shape(p - p.new_tensor([x, y, z]))


def scaled(shape: Distance, factor: Real) -> Distance:
    return lambda p: shape(p / factor) * factor


def turned(shape: Distance, axis: str, degrees: Real) -> Distance:
    """Turned counter-clockwise about an axis, seen from its tip."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i = AXES[axis]
    j, k = (i + 1) % 3, (i + 2) % 3

    def distance(p: Tensor) -> Tensor:
        back = [p[:, 0]] * 3
        back[i], back[j], back[k] = p[:, i], c * p[:, j] + s * p[:, k], c * p[:, k] - s * p[:, j]
        return shape(torch.stack(back, -1))

    return distance


def mirrored(shape: Distance, axes: str) -> Distance:
    """What stands at positive x (y, z) stands at negative x as well."""

    def distance(p: Tensor) -> Tensor:
        return shape(torch.stack([p[:, i].abs() if name in axes else p[:, i] for name, i in AXES.items()], -1))

    return distance
