"""How near a shape comes to the true one when nobody said how large it should be or which way it should look.

Both are brought into the ball of radius 1 first (the middle of the bounding box to the origin, the farthest point to
distance 1). Then the first is turned about the vertical axis z, made larger or smaller and moved up or down until the
Chamfer distance is least. Distances are therefore in radii of the true object's ball, whatever the units were.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from nerf3d.errors import InputError

Distance = Callable[[Tensor], Tensor]
"""Signed distances (n) at points (n 3), negative inside."""

SAMPLES = 4000
"""Points on each surface for the Chamfer distance: two samples of one surface are about 0.02 apart."""
SILHOUETTE_SAMPLES = 60_000
PIXELS = 72
TURNS = 24
"""Rotations that are tried before the three best are refined."""


@dataclass(frozen=True)
class ShapeError:
    """`chamfer`: half the sum of the mean distances from either surface to the other, in radii of the true ball.

    `silhouette_iou`: intersection over union of the outlines from eight sides, parallel projection, at the same
    alignment; 1 is perfect. `degrees`, `scale` and `height` say how the first was turned (counter-clockwise from
    above), scaled and raised after both were normalised.
    """

    chamfer: float
    silhouette_iou: float
    degrees: float
    scale: float
    height: float


def compare(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    true_vertices: Float[Tensor, "w 3"],
    true_faces: Int64[Tensor, "g 3"],
    rng: torch.Generator | None = None,
) -> ShapeError:
    """A triangle mesh against the true one, z up in both. Without `rng` the points are those of seed 0.

    Raises InputError for a mesh without area.
    """
    rng = torch.Generator().manual_seed(0) if rng is None else rng
    dense = normalized(on_surface(vertices, faces, SILHOUETTE_SAMPLES, rng)[0].float())
    true_dense = normalized(on_surface(true_vertices, true_faces, SILHOUETTE_SAMPLES, rng)[0].float())
    # Points on a surface come in random order, so that the first of them are a sample as well.
    chamfer, best = _align(dense[:SAMPLES].double().numpy(), true_dense[:SAMPLES].double().numpy())
    placed = torch.from_numpy(_placed(dense.double().numpy(), best)).float()
    overlap = [
        iou(silhouette(placed, angle), silhouette(true_dense, angle)) for angle in torch.arange(8) * (2 * math.pi / 8)
    ]
    turn, log_scale, height = best.tolist()
    degrees = (math.degrees(turn) + 180) % 360 - 180
    return ShapeError(chamfer, sum(overlap) / len(overlap), degrees, math.exp(log_scale), height)


def mesh_of(distance: Distance, resolution: int = 96, reach: float = 1.05) -> tuple[Tensor, Tensor]:
    """Vertices (v 3) and faces (f 3) of the surface where a signed distance is 0, within [-reach, reach]^3 (marching
    cubes on that many cells a side). Raises InputError where there is no surface.
    """
    from skimage.measure import marching_cubes

    line = torch.linspace(-reach, reach, resolution + 1)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    values = torch.cat([distance(part) for part in grid.split(2**18)]).reshape((len(line),) * 3)
    if not float(values.min()) < 0 < float(values.max()):
        raise InputError(f"The true object has no surface inside of the cube of half side {reach}: scale it to fit.")
    vertices, faces, _, _ = marching_cubes(values.numpy(), 0.0)
    step = 2 * reach / resolution
    return torch.from_numpy(vertices.copy()).float() * step - reach, torch.from_numpy(faces.astype(np.int64))


def on_surface(
    vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], count: int, rng: torch.Generator
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """`count` points, uniform by area and in random order, and the unit normals there; in double precision."""
    corners = vertices.cpu().double()[faces.cpu()]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    upto = normal.norm(dim=-1).cumsum(0)
    if len(faces) == 0 or not 0 < float(upto[-1]) < math.inf:
        raise InputError("The mesh has no surface to measure: it is empty, without area, or not finite.")
    pick, u, v = torch.rand(3, count, generator=rng, dtype=torch.float64)
    face = torch.searchsorted(upto, pick * upto[-1], right=True).clamp_max(len(faces) - 1)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    a, b, c = corners[face].unbind(1)
    n = normal[face]
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), n / n.norm(dim=-1, keepdim=True)


def normalized(x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """The middle of the bounding box at the origin, the farthest point at distance 1.

    >>> normalized(torch.tensor([[2.0, 0, 5], [6.0, 0, 5]])).tolist()
    [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    centered = x - (x.amin(0) + x.amax(0)) / 2
    return centered / centered.norm(dim=-1).amax().clamp_min(1e-12)


def put_in_place(x: Float[Tensor, "n 3"], alignment: ShapeError) -> Float[Tensor, "n 3"]:
    """Points of a surface's dense sample, normalised and placed as `compare` found it best."""
    where = np.array([math.radians(alignment.degrees), math.log(alignment.scale), alignment.height])
    return torch.from_numpy(_placed(normalized(x).double().numpy(), where)).float()


def chamfer_distance(a: Float[Tensor, "n 3"], b: Float[Tensor, "m 3"]) -> float:
    """Half of the mean distance from each a to its nearest b, plus half of that from each b to its nearest a.

    >>> chamfer_distance(torch.tensor([[0.0, 0, 0]]), torch.tensor([[0.0, 0, 1], [0.0, 0, 3]]))
    1.5
    """
    from scipy.spatial import cKDTree

    x, y = a.double().cpu().numpy(), b.double().cpu().numpy()
    return 0.5 * float(cKDTree(y).query(x)[0].mean() + cKDTree(x).query(y)[0].mean())


def silhouette(x: Float[Tensor, "n 3"], azimuth: Float[Tensor, ""]) -> Bool[Tensor, "p p"]:
    """The outline of a dense cloud of points in the ball of radius 1.3 around the origin, seen level from the azimuth."""
    across = torch.cos(azimuth) * x[:, 0] + torch.sin(azimuth) * x[:, 1]
    place = ((torch.stack([across, x[:, 2]], -1) / 1.3 + 1) * (PIXELS / 2)).long().clamp(0, PIXELS - 1)
    seen = torch.zeros(PIXELS, PIXELS, dtype=torch.bool)
    seen[place[:, 1], place[:, 0]] = True
    return seen


def iou(a: Bool[Tensor, "*s"], b: Bool[Tensor, "*s"]) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _placed(x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Turned about z, scaled, raised: `where` is (radians, logarithm of the scale, height)."""
    turn, log_scale, height = where
    c, s = math.cos(turn), math.sin(turn)
    return math.exp(log_scale) * x @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + [0.0, 0.0, height]


def _align(x: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray]:
    """The least Chamfer distance over all placements of x, and that placement.

    Neither tree is ever built anew: distances from the truth to a placed x are those from the truth, moved back, to x.
    """
    from scipy.optimize import minimize
    from scipy.spatial import cKDTree

    tree, true_tree = cKDTree(x), cKDTree(true)

    def cost(where: np.ndarray, stride: int = 1) -> float:
        turn, log_scale, height = where
        there = true_tree.query(_placed(x[::stride], where))[0].mean()
        moved_back = _placed((true[::stride] - [0.0, 0.0, height]) / math.exp(log_scale), np.array([-turn, 0.0, 0.0]))
        return 0.5 * float(there + math.exp(log_scale) * tree.query(moved_back)[0].mean())

    starts = [np.array([2 * math.pi * i / TURNS, 0.0, 0.0]) for i in range(TURNS)]
    starts.sort(key=lambda where: cost(where, 4))
    steps = np.array([[0.0, 0, 0], [0.13, 0, 0], [0, 0.1, 0], [0, 0, 0.08]])
    found = [
        minimize(cost, s, args=(4,), method="Nelder-Mead", options={"initial_simplex": s + steps, "maxfev": 80})
        for s in starts[:3]
    ]
    best = min(found, key=lambda result: result.fun).x
    return cost(best), best
