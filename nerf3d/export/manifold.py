"""Closed surfaces whose sheets touch, made into surfaces in which each edge belongs to two triangles."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

ROUNDS = 10
DRAWN = 0.02  # of the way to the neighbours


def is_closed(faces: Int64[Tensor, "f 3"]) -> bool:
    """Whether each edge belongs to exactly two triangles that run along it in opposite directions.

    >>> is_closed(torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]))  # a tetrahedron
    True
    """
    if len(faces) == 0:
        return False
    edges = _half_edges(faces)
    count = int(faces.max()) + 1
    one_way, other_way = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    once = len(torch.unique(one_way)) == len(one_way)
    return once and torch.equal(one_way.sort().values, other_way.sort().values)


def without_fins(faces: Int64[Tensor, "f 3"]) -> Int64[Tensor, "g 3"]:
    """Without triangles that have a corner twice, and without pairs of triangles back to back, which hold no volume."""
    a, b, c = faces.unbind(1)
    faces = faces[(a != b) & (b != c) & (c != a)]
    kind, which = torch.unique(faces.sort(1).values, dim=0, return_inverse=True)
    rising = (faces[:, 0] < faces[:, 1]).int() + (faces[:, 1] < faces[:, 2]).int() + (faces[:, 2] < faces[:, 0]).int()
    way = torch.where(rising == 2, 1, -1)
    balance = torch.zeros(len(kind), dtype=torch.int64).index_add_(0, which, way)
    # Of each kind as many stay as there are more of one direction than of the other: the first ones.
    order = torch.argsort(2 * which + (way > 0), stable=True)
    group = (2 * which + (way > 0))[order]
    _, size = torch.unique_consecutive(group, return_counts=True)
    place = torch.arange(len(faces)) - torch.repeat_interleave(size.cumsum(0) - size, size)
    left = (balance[which] * way).clamp_min(0)[order]
    return faces[order[place < left].sort().values]


def apart(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> tuple[Tensor, Tensor]:
    """Vertices and faces of the same surface in which sheets that merely touch, along an edge or at a vertex, have their
    own vertices there. Vertices that no triangle uses are dropped.

    Where more than two triangles meet at an edge, those are neighbours between which the solid lies (Guéziec et al. 2001).
    Sheets that touch along an edge and are one and the same around both of its ends get a vertex each in the middle of
    it. Vertices that get twins draw back a little from each other. What is open stays open.
    """
    for _ in range(ROUNDS):
        pairs, doubtful = _pairs(vertices, faces)
        vertices, faces = _own_vertices(vertices, faces, pairs)
        half = _half_edges(faces)
        key = half[:, 0] * len(vertices) + half[:, 1]
        _, which, times = torch.unique(key, return_inverse=True, return_counts=True)
        again = [pair for pair in doubtful if int(times[which[pair[0]]]) > 1]
        if not again:
            break
        vertices, faces = _split_in_the_middle(vertices, faces, half, again)
    return _drawn_back(vertices, faces), faces


def _drawn_back(vertices: Tensor, faces: Tensor) -> Tensor:
    """Vertices that share a place are moved a little towards their own neighbours: programs that join vertices by their
    places would join the sheets again.
    """
    _, place, times = torch.unique(vertices, dim=0, return_inverse=True, return_counts=True)
    shared = times[place] > 1
    half = _half_edges(faces)
    half = torch.cat([half, half.flip(1)])
    total = torch.zeros_like(vertices).index_add_(0, half[:, 0], vertices[half[:, 1]])
    count = torch.bincount(half[:, 0], minlength=len(vertices)).clamp_min(1)[:, None]
    return torch.where(shared[:, None], vertices + DRAWN * (total / count - vertices), vertices)


def _pairs(vertices: Tensor, faces: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
    """Half-edges (p 2) that are two sides of one edge; and those of them at edges where more than two triangles meet."""
    half = _half_edges(faces)
    _, edge, size = torch.unique(half.amin(1) * len(vertices) + half.amax(1), return_inverse=True, return_counts=True)
    order = torch.argsort(edge, stable=True)
    begin = size.cumsum(0) - size
    pairs = torch.stack([order[begin[size == 2]], order[begin[size == 2] + 1]], 1)
    pairs = pairs[half[pairs[:, 0], 0] == half[pairs[:, 1], 1]]
    crowded = [order[b : b + n].tolist() for b, n in zip(begin[size > 2].tolist(), size[size > 2].tolist())]
    more = [pair for group in crowded for pair in _neighbours(vertices, faces, half, group)]
    return (torch.cat([pairs, torch.tensor(more)]) if more else pairs), more


def _own_vertices(vertices: Tensor, faces: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """A vertex for all corners that are connected by pairs of half-edges, and no others."""
    first, second = pairs.unbind(1)
    one = torch.cat([_corner(first, 0, faces), _corner(first, 1, faces)])
    other = torch.cat([_corner(second, 1, faces), _corner(second, 0, faces)])
    graph = coo_array((torch.ones(len(one)).numpy(), (one.numpy(), other.numpy())), shape=(faces.numel(),) * 2)
    number, label = connected_components(graph, directed=False)
    corners = torch.from_numpy(label).long()
    origin = torch.empty(number, dtype=torch.int64)
    origin[corners] = faces.reshape(-1)
    return vertices[origin], corners.reshape(-1, 3)


def _split_in_the_middle(
    vertices: Tensor, faces: Tensor, half: Tensor, pairs: list[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """A new vertex in the middle of each of these edges, and four triangles in place of two; one edge a triangle."""
    count, replaced = len(faces), faces.tolist()
    touched: set[int] = set()
    middles: list[Tensor] = []
    for pair in pairs:
        owners = {h % count for h in pair}
        if owners & touched:
            continue
        touched |= owners
        middle = len(vertices) + len(middles)
        middles.append(vertices[half[pair[0]]].mean(0))
        for h in pair:
            start, end = half[h].tolist()
            opposite = int(faces.reshape(-1)[_corner(torch.tensor(h), 2, faces)])
            replaced[h % count] = [start, middle, opposite]
            replaced.append([middle, end, opposite])
    return torch.cat([vertices, torch.stack(middles)]), torch.tensor(replaced)


@dataclass(frozen=True)
class _Sheet:
    half_edge: int
    angle: float
    forward: bool


def _neighbours(vertices: Tensor, faces: Tensor, half: Tensor, group: list[int]) -> list[tuple[int, int]]:
    """Pairs among the half-edges of one edge: from each that runs forward, against the angle, through the solid, to the
    next that runs back.
    """
    start, end = half[group[0]].tolist()
    axis = vertices[end].double() - vertices[start].double()
    axis = axis / axis.norm().clamp_min(1e-300)
    helper = torch.eye(3, dtype=torch.float64)[int(axis.abs().argmin())]
    x = torch.linalg.cross(axis, helper)
    x = x / x.norm()
    y = torch.linalg.cross(axis, x)
    sheets = []
    for h in group:
        opposite = int(faces.reshape(-1)[_corner(torch.tensor(h), 2, faces)])
        arm = vertices[opposite].double() - vertices[start].double()
        sheets.append(_Sheet(h, math.atan2(float(arm @ y), float(arm @ x)), int(half[h, 0]) == start))
    free = [s for s in sheets if not s.forward]
    pairs = []
    for sheet in (s for s in sheets if s.forward):
        if free:
            partner = min(free, key=lambda s: (sheet.angle - s.angle) % (2 * math.pi))
            free.remove(partner)
            pairs.append((sheet.half_edge, partner.half_edge))
    return pairs


def _half_edges(faces: Tensor) -> Tensor:
    """(3 f, 2): first the edges from corner 0 to 1 of all triangles, then 1 to 2, then 2 to 0."""
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _corner(half_edge: Tensor, step: int, faces: Tensor) -> Tensor:
    """The number 3 f + i of the corner where a half-edge begins (step 0), ends (1), or that is opposite (2)."""
    count = len(faces)
    return 3 * (half_edge % count) + (half_edge // count + step) % 3
