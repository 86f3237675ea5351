"""A triangle mesh as a signed distance function, watertight or not: distances on a lattice, read between its points."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.world.distance import Distance

RESOLUTION = 112
SHELL = 0.6
"""How far out the surface is moved, in cells: a wall without an inside would be too thin to be seen."""
NEAR = 4
MARGIN = 0.1
"""Empty space around the mesh, as a share of its longest side."""

Axes = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]


def solid(file: Path, axes: Axes) -> Distance:
    """The mesh in `file` (OBJ), fitted into the cube [-1, 1]^3 after its axes are turned: row i of `axes` says how much
    of the file's x, y and z goes into our axis i. `name` tells one mesh from another in the cache.
    """

    def distance(p: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        lattice = _lattice(file, axes).to(p)
        reach = 1 + MARGIN
        # grid_sample wants x (the last axis of the volume) first, and a batch.
        where = (p / reach).clamp(-1, 1).flip(-1)[None, :, None, None, :]
        inside = F.grid_sample(lattice[None, None], where, align_corners=True)[0, 0, :, 0, 0]
        return inside + (p - p.clamp(-reach, reach)).norm(dim=-1)

    return distance


@cache
def _lattice(file: Path, axes: Axes) -> Float[Tensor, "n n n"]:
    """Distances at the points of a lattice over [-1 - MARGIN, 1 + MARGIN]^3.

    Outside is what can be reached from the lattice's border without coming nearer to the surface than one cell: small
    gaps are closed, and what they lead to counts as inside. Points nearer than that go with their nearest neighbour.
    """
    import trimesh
    from scipy.ndimage import distance_transform_edt, gaussian_filter, label

    mesh = trimesh.load(file, force="mesh", process=False)
    points = trimesh.sample.sample_surface(mesh, 150_000, seed=0)[0] @ np.array(axes, dtype=float).T
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) / ((high - low).max() / 2)
    line = np.linspace(-1 - MARGIN, 1 + MARGIN, RESOLUTION)
    cell = line[1] - line[0]
    unsigned = _unsigned(points, line)
    clear = unsigned > cell
    parts, _ = label(clear)
    outside = parts == parts[0, 0, 0]
    nearest = distance_transform_edt(~clear, return_distances=False, return_indices=True)
    sign = np.where(outside[tuple(nearest)], 1.0, -1.0)
    return torch.from_numpy(gaussian_filter(sign * unsigned - SHELL * cell, 0.6)).float()


def _unsigned(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The distance from each lattice point to the nearest of many points; beyond NEAR cells a little less than that."""
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    cell = line[1] - line[0]
    empty = np.ones((len(line),) * 3, dtype=bool)
    empty[tuple(np.rint((points - line[0]) / cell).astype(int).T)] = False
    distance = (distance_transform_edt(empty) - 1) * cell  # whoever fell into a cell is within one of its middle
    near = np.nonzero(distance < NEAR * cell)
    distance[near] = cKDTree(points).query(line[np.stack(near, -1)], workers=-1)[0]
    return distance
