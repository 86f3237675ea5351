"""From a field to the surface of what is there: marching cubes in world coordinates.

The cubes are marched on opacity, not on density: v = 1 - 2^(-density / level), which is 0 in the void, 1/2 on the
surface and 1 in the densest matter. A density that jumps from 0 to 10,000 within a cell would pull the vertices of a
linear interpolation onto the outer nodes, and the mesh would show the cells as stairs.

A field that knows how far away its surface is needs no level: there v = 1/2 - distance / (8 cells), cut to [0, 1]. Where
the distance is a true one, a sample of the survey is within 2 sqrt(3) cells of every point of the surface, so that its v
is above what is looked into (`lattice.MAYBE`) and no cell with a piece of the surface is passed over.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from nerf3d.core import Box, Field
from nerf3d.errors import InputError
from nerf3d.export.lattice import Counter, Density, Lattice, Progress, fill, survey
from nerf3d.export.level import automatic_level

EDGE = 2
GROOVE = 5  # steps from node to node, three of them for what the erosion took
REFINEMENTS = 4  # each halves the cell at a sharp edge
REACH = 4.0  # cells: how far from the surface distances are told apart


@runtime_checkable
class HasDistance(Protocol):
    """A field that knows the signed distance to its surface: world units, negative inside."""

    def distance(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]: ...


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in the world's own frame and units, on the CPU; the faces' corners run anticlockwise seen from
    outside.

    `level` is the density on the surface (0 where something else decided), `cell` the longest side of a cell of the
    lattice that it was found on.
    """

    vertices: Float32[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    level: float
    cell: float


def surface_of(
    field: Field, box: Box, resolution: int = 256, level: float | None = None, progress: Progress | None = None
) -> Surface:
    """The surface of a field inside the box: where its distance is 0 if it knows one and no level is asked for
    (`extract_zero_set`), else where its density reaches the level (`extract_surface`).
    """
    if level is None and isinstance(field, HasDistance):
        return extract_zero_set(field.distance, box, resolution, progress)
    return extract_surface(field.density, box, resolution, level, progress)


def extract_zero_set(distance: Density, box: Box, resolution: int = 256, progress: Progress | None = None) -> Surface:
    """The closed surface around everything inside the box where a signed distance (world units) is negative.

    What is said of `extract_surface` about the box, cavities and errors holds here too.
    """
    lattice = Lattice.over(box, resolution)
    cell = float(lattice.spacing.max())
    ask = Counter(lambda x: (0.5 - distance(x) / (2 * REACH * cell)).clamp(0, 1), progress)
    nodes, asked = fill(ask, lattice, survey(ask, lattice), 0.5)
    if not bool((nodes > 0.5).any()):
        raise InputError(
            f"The field is empty inside the box {words(box)}: its distance is negative nowhere; train longer."
        )
    vertices, faces = _mesh(ask, lattice, nodes, asked, off_the_half)
    return Surface(vertices, faces, 0.0, cell)


def extract_surface(
    density: Density, box: Box, resolution: int = 256, level: float | None = None, progress: Progress | None = None
) -> Surface:
    """The closed surface around everything inside the box that is denser than `level` (1 / world unit).

    `resolution` is the number of cells along the box's longest side. Without a level one is chosen, see `export.level`.
    What reaches beyond the box is cut off flat at its side; cavities that cannot be seen from outside are filled.
    Structures thinner than about two cells may be missed, see `export.lattice`, which says how few points are asked
    for.

    Raises InputError where there is no surface (an empty mesh is never returned) or where the density is NaN.
    """
    lattice = Lattice.over(box, resolution)
    ask = Counter(density, progress)
    surveyed = survey(ask, lattice)
    cell = float(lattice.spacing.max())
    if level is None:
        level = automatic_level(surveyed, 2 * lattice.spacing, cell)
    elif not (math.isfinite(level) and level > 0):
        raise InputError(f"The level of a surface is a positive density, not {level}.")
    if level is None:
        raise _nothing_here(surveyed, box, "nowhere is it dense enough to hide what is behind it")
    nodes, asked = fill(ask, lattice, surveyed, level)
    if float(nodes.amax()) < level:
        raise _nothing_here(torch.maximum(surveyed.amax(), nodes.amax()), box, f"nowhere is it as dense as {level:.4g}")
    vertices, faces = _mesh(ask, lattice, nodes, asked, lambda density: _opacity(density, level))
    return Surface(vertices, faces, level, cell)


def largest_components(surface: Surface, minimum_share: float = 0.01) -> Surface:
    """Only those connected parts whose area is at least that share of the largest part's; never none."""
    corners, count = surface.faces.numpy(), surface.vertices.shape[0]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    parts, part_of_vertex = connected_components(graph, directed=False)
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    areas = 0.5 * torch.linalg.cross(b - a, c - a).norm(dim=-1).numpy()
    part_of_face = part_of_vertex[corners[:, 0]]
    share = np.bincount(part_of_face, weights=areas, minlength=parts)
    faces = corners[share[part_of_face] >= min(minimum_share, 1.0) * share.max()]
    used, index = np.unique(faces, return_inverse=True)
    return Surface(
        surface.vertices[torch.from_numpy(used)],
        torch.from_numpy(index.reshape(-1, 3).astype(np.int64)),
        surface.level,
        surface.cell,
    )


def _nothing_here(densities: Tensor, box: Box, why: str) -> InputError:
    return InputError(
        f"The field is empty inside the box {words(box)}: {why} (the largest density is {float(densities.max()):.3g}); "
        "train longer, or give a lower level."
    )


def words(box: Box) -> str:
    return " to ".join(str([round(x, 3) for x in corner.tolist()]) for corner in (box.low, box.high))


Value = Callable[[Tensor], Tensor]
"""From a field's answers to numbers from 0 (outside) to 1 (inside), 1/2 on the surface."""


def _mesh(
    ask: Counter, lattice: Lattice, nodes: Float32[Tensor, "i j k"], asked: Bool[Tensor, "i j k"], value_of: Value
) -> tuple[Float32[Tensor, "v 3"], Int64[Tensor, "f 3"]]:
    """Vertices in the world, and faces, from the field's answers at the nodes."""
    value = (nodes > 0).float()  # 0 or deep inside where nobody asked
    value[asked] = value_of(nodes[asked])
    value = fill_cavities(value)
    vertices, faces = march(value)
    vertices = refine(ask, lattice, value, asked, vertices, value_of)
    return lattice.to_world(vertices).float().cpu(), faces


def _opacity(density: Tensor, level: float) -> Tensor:
    """1 - 2^(-density / level), kept off the exact half."""
    return off_the_half(-torch.expm1(-math.log(2) * density.clamp_min(0.0) / level))


def off_the_half(v: Tensor) -> Tensor:
    """A vertex on a node makes triangles without area."""
    return torch.where((v - 0.5).abs() < 1e-3, torch.where(v >= 0.5, 0.501, 0.499), v)


def fill_cavities(value: Float32[Tensor, "i j k"]) -> Float32[Tensor, "i j k"]:
    """Set all outside nodes to inside that cannot be reached from outside the box by a path three nodes wide.

    Nobody sees what is in there, no photograph says anything about it, and a field's noise puts thousands of bubbles
    there, which pinholes connect with the outside. What is narrow but not deep (a groove, a slit) stays open.
    """
    outside = np.pad(value.numpy() < 0.5, EDGE, constant_values=True)
    label, _ = ndimage.label(_eroded(outside))
    reached = ndimage.binary_dilation(label == label[0, 0, 0], iterations=GROOVE, mask=outside)
    cavity = (outside & ~reached)[EDGE:-EDGE, EDGE:-EDGE, EDGE:-EDGE]
    return value.masked_fill(torch.from_numpy(cavity), 1.0)


def _eroded(outside: np.ndarray) -> np.ndarray:
    """Only those nodes whose 26 neighbours are outside too, axis by axis; beyond the array all is outside."""
    for axis in range(3):
        there = np.moveaxis(np.pad(outside, [(int(a == axis),) * 2 for a in range(3)], constant_values=True), axis, 0)
        outside = np.moveaxis(there[:-2] & there[1:-1] & there[2:], 0, axis)
    return outside


def march(
    value: Float32[Tensor, "i j k"], known: Bool[Tensor, "i j k"] | None = None
) -> tuple[Float32[Tensor, "v 3"], Int64[Tensor, "f 3"]]:
    """Marching cubes (Lewiner et al. 2003) at 1/2, in units of nodes; closed at the sides by a layer of void around.

    Where only some nodes are `known`, there is a surface in those cells alone whose eight nodes are: it is open where
    knowledge ends, at the sides too. It may be empty then.
    """
    from skimage.measure import marching_cubes

    if known is None:
        vertices, faces, _, _ = marching_cubes(np.pad(value.numpy(), 1), 0.5, gradient_direction="ascent")
        return torch.from_numpy(vertices - 1.0), torch.from_numpy(faces.astype(np.int64))
    whole = known[:-1] & known[1:]
    whole = whole[:, :-1] & whole[:, 1:]
    whole = whole[:, :, :-1] & whole[:, :, 1:]
    mask = np.pad(whole.numpy(), ((1, 0), (1, 0), (1, 0)))  # a cell is named by its last node
    try:
        vertices, faces, _, _ = marching_cubes(value.numpy(), 0.5, gradient_direction="ascent", mask=mask)
    except (RuntimeError, ValueError):  # it finds nothing, or 1/2 is beyond all values
        return torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
    return torch.from_numpy(vertices.astype(np.float32)), torch.from_numpy(faces.astype(np.int64))


def refine(
    ask: Counter,
    lattice: Lattice,
    value: Float32[Tensor, "i j k"],
    asked: Bool[Tensor, "i j k"],
    vertices: Float32[Tensor, "v 3"],
    value_of: Value,
) -> Float32[Tensor, "v 3"]:
    """Move each vertex along its lattice edge to where the value is 1/2: false position, a few more questions a
    vertex.

    A smooth field is already there after the linear interpolation; at a sharp edge every step halves what is left of
    the cell. The vertices that close the mesh at the box's side are laid onto that side.
    """
    last = torch.tensor(lattice.cells)
    laid = vertices.clamp(torch.zeros(3), last.float())
    along = (laid - laid.round()).abs()
    low, high = laid.floor().long(), laid.ceil().long()
    one_edge = ((high != low).sum(-1) == 1) & (along.amax(-1) > 0)
    first, second = value[tuple(low.T)], value[tuple(high.T)]
    crossing = (first > 0.5) != (second > 0.5)
    trusted = asked[tuple(low.T)] & asked[tuple(high.T)]
    move = (one_edge & crossing & trusted).nonzero()[:, 0]

    flip = (second > first)[move, None]
    inner = torch.where(flip, high[move], low[move]).float()
    outer = torch.where(flip, low[move], high[move]).float()
    inner_value, outer_value = torch.maximum(first, second)[move], torch.minimum(first, second)[move]

    def meeting() -> Tensor:
        share = (inner_value - 0.5) / (inner_value - outer_value)
        return inner + share[:, None] * (outer - inner)

    ask.expect(REFINEMENTS * len(move))
    for _ in range(REFINEMENTS):
        middle = meeting()
        found = value_of(ask(lattice.to_world(middle)))
        inside = found > 0.5
        inner, inner_value = torch.where(inside[:, None], middle, inner), torch.where(inside, found, inner_value)
        outer, outer_value = torch.where(inside[:, None], outer, middle), torch.where(inside, outer_value, found)
    laid[move] = meeting()
    return laid
