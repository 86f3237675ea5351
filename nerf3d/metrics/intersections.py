"""Which faces of a mesh cut through others: a surface without any such face bounds a solid, prints and simulates well."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

PAIRS = 1 << 20  # looked at together
ROUNDING = 1e-15
"""Of the sum of all products' sizes: a determinant below it may have either sign (Shewchuk 1997: 7.8e-16)."""


def cut_faces(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Bool[Tensor, "f"]:
    """True for each face that cuts another one with which it shares no vertex. Weld seams first, or they hide nothing.

    Two faces cut each other where an edge of one passes from one side of the other to its other side through it, or where
    they overlap in one plane; to touch with a corner is no cut. Signs that rounding could turn count as zero.

    >>> x = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 1]])
    >>> cut_faces(x, torch.tensor([[0, 1, 2], [3, 4, 5]])).tolist()
    [True, True]
    """
    found = torch.zeros(len(faces), dtype=torch.bool)
    if len(faces) == 0:
        return found
    corners = vertices.double().cpu()[faces.cpu()]
    order = _along_a_curve(corners.mean(1))
    corners, names = corners[order], faces.cpu()[order]
    for i, j in _near(corners.amin(1), corners.amax(1)):
        strangers = (names[i][:, :, None] != names[j][:, None, :]).all(2).all(1)
        i, j = i[strangers], j[strangers]
        cut = _cut(corners[i], corners[j])
        found[order[i[cut]]] = True
        found[order[j[cut]]] = True
    return found


def _along_a_curve(x: Float[Tensor, "n 3"]) -> Int64[Tensor, "n"]:
    """An order in which neighbours mostly are near each other: along Morton's curve, 16 bits an axis."""
    low = x.amin(0)
    cell = ((x - low) / (x.amax(0) - low).amax().clamp_min(1e-300) * 65535).long()
    key = torch.zeros(len(x), dtype=torch.int64)
    for bit in range(16):
        for axis in range(3):
            key |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    return key.argsort(stable=True)


def _near(
    low: Float[Tensor, "n 3"], high: Float[Tensor, "n 3"]
) -> Iterator[tuple[Int64[Tensor, "p"], Int64[Tensor, "p"]]]:
    """Pairs i < j whose boxes touch, in portions: from the root of a binary tree of boxes downwards, against itself."""
    depth = (len(low) - 1).bit_length()
    missing = (1 << depth) - len(low)
    low = torch.cat([low, torch.full((missing, 3), torch.inf, dtype=low.dtype)])
    high = torch.cat([high, torch.full((missing, 3), -torch.inf, dtype=high.dtype)])
    tree = [(low, high)]
    for _ in range(depth):
        low, high = tree[-1]
        tree.append((low.reshape(-1, 2, 3).amin(1), high.reshape(-1, 2, 3).amax(1)))
    root = torch.zeros(1, dtype=torch.int64)
    waiting = [(depth, root, root)]
    while waiting:
        level, i, j = waiting.pop()
        if level == 0:
            yield i[i < j], j[i < j]
            continue
        low, high = tree[level - 1]
        i = torch.cat([2 * i, 2 * i, 2 * i + 1, 2 * i + 1])
        j = torch.cat([2 * j, 2 * j + 1, 2 * j, 2 * j + 1])
        touch = (i <= j) & (low[i] <= high[j]).all(1) & (low[j] <= high[i]).all(1)
        for part in touch.nonzero()[:, 0].split(PAIRS):
            waiting.append((level - 1, i[part], j[part]))


def _cut(a: Float[Tensor, "n 3 3"], b: Float[Tensor, "n 3 3"]) -> Bool[Tensor, "n"]:
    """Whether the triangles of each pair cut each other; corners in the second dimension."""
    result = torch.zeros(len(a), dtype=torch.bool)
    beside_a, beside_b = _sides(a, b), _sides(b, a)
    possible = ~_one_sided(beside_a) & ~_one_sided(beside_b)
    some = possible.nonzero()[:, 0]
    a, b, beside_a, beside_b = a[some], b[some], beside_a[some], beside_b[some]
    flat = (beside_a == 0).all(1) & (beside_b == 0).all(1)
    result[some] = _pierced(a, b, beside_a) | _pierced(b, a, beside_b)
    result[some[flat]] = _overlap(a[flat], b[flat])
    return result


def _sides(plane: Tensor, x: Tensor) -> Tensor:
    """On which side of each triangle's plane the three points of x lie: 1, 0, -1 (n 3)."""
    return torch.stack([_side(plane[:, 0], plane[:, 1], plane[:, 2], x[:, k]) for k in range(3)], 1)


def _one_sided(sides: Tensor) -> Tensor:
    return (sides > 0).all(1) | (sides < 0).all(1)


def _side(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The sign of det(a - d, b - d, c - d), 0 where rounding leaves it open: four points (n 3)."""
    u, v, w = a - d, b - d, c - d
    one, other = v[:, [1, 2, 0]] * w[:, [2, 0, 1]], v[:, [2, 0, 1]] * w[:, [1, 2, 0]]
    value = (u * (one - other)).sum(1)
    size = (u.abs() * (one.abs() + other.abs())).sum(1)
    return torch.where(value.abs() <= ROUNDING * size, 0.0, value.sign())


def _pierced(triangle: Tensor, other: Tensor, sides: Tensor) -> Tensor:
    """Whether an edge of the other triangle, whose corners lie on these sides, passes through the first one."""
    result = torch.zeros(len(triangle), dtype=torch.bool)
    a, b, c = triangle.unbind(1)
    for k in range(3):
        crossing = (sides[:, k] * sides[:, (k + 1) % 3] < 0).nonzero()[:, 0]
        p, q = other[crossing, k], other[crossing, (k + 1) % 3]
        turns = torch.stack([_side(p, q, x[crossing], y[crossing]) for x, y in ((a, b), (b, c), (c, a))], 1)
        result[crossing] |= (turns >= 0).all(1) | (turns <= 0).all(1)
    return result


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Whether two triangles in one plane have more than their borders in common: no edge's line separates them."""
    normal = torch.linalg.cross(a[:, 1] - a[:, 0], a[:, 2] - a[:, 0])
    other = torch.linalg.cross(b[:, 1] - b[:, 0], b[:, 2] - b[:, 0])
    kept = torch.tensor([[1, 2], [2, 0], [0, 1]])[normal.abs().argmax(1)]  # seen along the axis nearest to the normal
    flat = [x.gather(2, kept[:, None].expand(-1, 3, -1)) for x in (a, b)]
    result = (normal != 0).any(1) & (other != 0).any(1)
    for owner in flat:
        edges = owner.roll(-1, 1) - owner
        across = torch.stack([edges[..., 1], -edges[..., 0]], -1)
        first, second = (x @ across.transpose(1, 2) for x in flat)  # (n, corner, edge)
        size = torch.maximum(first.abs().amax(1), second.abs().amax(1))
        apart = torch.minimum(first.amax(1) - second.amin(1), second.amax(1) - first.amin(1)) <= 1e-12 * size
        result &= ~apart.any(1)
    return result
