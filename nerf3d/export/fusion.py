"""A surface from depth pictures: truncated signed distances, averaged over the cameras, on a lattice's nodes.

Curless & Levoy 1996 (equations 1 and 2) with distances, truncation and weights after KinectFusion (Newcombe et al. 2011,
equations 6 to 12). For a place x at distance r from a camera's centre, and the pixel that x falls into, with the ray's
direction d, the point p that it meets and the normal n there:

    s = (x - p) . n                 distance to the pixel's plane, positive on the camera's side
    v = min(s / t, 1)               t is the truncation, four cells
    w = (-n . d) / r                steep looks and far cameras count less; behind the surface w falls, to 0 two cells deep
    V = sum of w v / sum of w       over the cameras; the surface is where V = 0

Worked example: a plane seen head-on from r = 1 / w, t = 4: places 1 before it and 1 behind it have v = 1/4 and -1/4, and
so has V, whatever w; 5 before it v = 1; 3 behind it nothing is said.

A pixel that meets nothing speaks of void all along its ray. Pixels at depth edges and steep ones keep silent. So little is
said of what is behind a surface so that the two sides of a thin thing do not push each other apart.

What no camera speaks of is neither solid nor void, and cells with such a node have no surface. So the mesh is open where
nobody looked; it has no back where the distances end, and nothing is invented in shadows or at the box's sides.

Only blocks of nodes in which a pixel meets something, and their neighbours, are asked about: 512^3 cells come to some
million nodes, each with as many projections as there are cameras.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from scipy import ndimage
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.export.depth import DepthPictures
from nerf3d.export.lattice import BLOCK, TOUCHING, Counter, Lattice
from nerf3d.export.surface import Surface, march, off_the_half, refine, words

TRUNCATION = 4.0  # cells, no more than a block
BACK = 2.0  # cells; more than the sqrt(3) between the nodes of one
EDGE = 2.0
"""A pixel is at an edge where its depth is so many pixels' widths, and a cell, away from the middle of its neighbours'."""
STEEPEST = math.cos(math.radians(80))
BESIDE = 2.0  # pixels from a node to the ray of its pixel; more of them only where a lens's formula folds over
VOID = 0.25
"""The weight of what is farther before a surface than the truncation: it contradicts what is no surface, but says little
about where one is. With its full weight surfaces would shrink at their outlines."""
UNHEARD = 2.0
CHUNK = 1 << 16  # nodes

Progress = Callable[[int, int], None]


@torch.no_grad()
def fused_surface(
    pictures: DepthPictures, box: Box, resolution: int = 256, progress: Progress | None = None
) -> Surface:
    """The surface that the pictures agree on inside the box; `resolution` is the number of cells along its longest side.

    It is open where no camera looked. `progress` counts nodes. Raises InputError where no surface was seen.
    """
    lattice = Lattice.over(box, resolution)
    cell = float(lattice.spacing.max())
    views = [_View.of(pictures, index, cell) for index in range(len(pictures.cameras))]
    x, y, z = (cells + 1 for cells in lattice.cells)
    value, known = torch.zeros(x, y, z), torch.zeros(x, y, z, dtype=torch.bool)
    blocks = _blocks_near(views, lattice)
    ask = Counter(lambda x: _average(views, x, TRUNCATION * cell), progress)
    ask.expect(len(blocks) * BLOCK**3)
    for some in blocks.split(CHUNK // BLOCK**3):
        node = _nodes(some, lattice)
        distance = ask(lattice.to_world(node.float()))
        i, j, k = node.T
        value[i, j, k] = _inside(distance)
        known[i, j, k] = distance != UNHEARD
    vertices, faces = march(value, known)
    if len(faces) == 0:
        raise InputError(
            f"No camera sees a surface inside the box {words(box)}; give another --box, train "
            "longer, or take the surface from the density."
        )
    vertices = refine(ask, lattice, value, known, vertices, _inside)
    return Surface(lattice.to_world(vertices).float(), faces, 0.0, cell)


@dataclass(frozen=True)
class _View:
    """A camera and what its pixels say: depth (NaN: nothing), outward normals, and the angles between them."""

    camera: Cameras
    depth: Float[Tensor, "h w"]
    direction: Float[Tensor, "h w 3"]
    normal: Float[Tensor, "h w 3"]
    pitch: Float[Tensor, "h w"]

    @staticmethod
    def of(pictures: DepthPictures, index: int, cell: float) -> "_View":
        camera, depth = pictures.cameras[index : index + 1], pictures.depth[index]
        direction = camera.rays(0).direction.reshape(*depth.shape, 3)
        point = direction * depth[..., None]
        said, normal, pitch = torch.full_like(depth, torch.nan), -direction, torch.zeros_like(depth)
        inner = (slice(1, -1), slice(1, -1))
        left, right, above, below = _neighbours(depth)
        own = depth[inner]
        west, east, north, south = _neighbours(point)
        found = normalize(torch.linalg.cross(south - north, east - west))
        pitch[inner] = 0.5 * (_neighbours(direction)[1] - _neighbours(direction)[0]).norm(dim=-1)
        bend = torch.maximum((0.5 * (left + right) - own).abs(), (0.5 * (above + below) - own).abs())
        facing = -(found * direction[inner]).sum(-1)
        surface = (bend <= EDGE * own * pitch[inner] + cell) & (facing >= STEEPEST)
        void = torch.stack([own, left, right, above, below]).amin(0) == torch.inf
        said[inner] = torch.where(surface | void, own, torch.nan)
        normal[inner] = torch.where(surface[..., None], found, -direction[inner])
        return _View(camera, said, direction, normal, pitch)


def _neighbours(picture: Float[Tensor, "h w *c"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of all pixels but the outermost: left, right, above, below."""
    return picture[1:-1, :-2], picture[1:-1, 2:], picture[:-2, 1:-1], picture[2:, 1:-1]


def _blocks_near(views: list[_View], lattice: Lattice) -> Int64[Tensor, "n 3"]:
    """The blocks of the lattice that a camera sees a point in, and those around them."""
    marked = torch.zeros(lattice.blocks, dtype=torch.bool)
    last = torch.tensor(lattice.blocks) - 1
    for view in views:
        hit = view.depth.isfinite()
        point = view.camera.center + view.direction[hit] * view.depth[hit][:, None]
        block = (point - lattice.box.low) / lattice.spacing / BLOCK
        block = block[((block > -1) & (block < last + 2)).all(-1)]
        i, j, k = torch.minimum(block.floor().long().clamp_min(0), last).T
        marked[i, j, k] = True
    return torch.from_numpy(ndimage.binary_dilation(marked.numpy(), TOUCHING)).nonzero()


def _nodes(block: Int64[Tensor, "b 3"], lattice: Lattice) -> Int64[Tensor, "n 3"]:
    step = torch.arange(BLOCK)
    offset = torch.stack(torch.meshgrid(step, step, step, indexing="ij"), -1).reshape(1, -1, 3)
    node = (BLOCK * block[:, None] + offset).reshape(-1, 3)
    return node[(node <= torch.tensor(lattice.cells)).all(-1)]


def _average(views: list[_View], x: Float[Tensor, "n 3"], reach: float) -> Float[Tensor, "n"]:
    """V at some places; UNHEARD where no camera speaks of them."""
    total, weight = torch.zeros(len(x)), torch.zeros(len(x))
    for view in views:
        at, v, w = _heard(view, x, reach)
        total.index_add_(0, at, w * v)
        weight.index_add_(0, at, w)
    return torch.where(weight > 0, total / weight, UNHEARD)


def _inside(distance: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """From V to 0 (void) to 1 (inside), 1/2 on the surface, never that itself."""
    return off_the_half((0.5 - 0.5 * distance).clamp(0, 1))


def _heard(
    view: _View, x: Float[Tensor, "n 3"], reach: float
) -> tuple[Int64[Tensor, "m"], Float[Tensor, "m"], Float[Tensor, "m"]]:
    """Of which places one camera speaks, and its v and w there."""
    height, width = view.depth.shape
    pixel, z = view.camera.project(torch.zeros(len(x), dtype=torch.int64), x)
    inside = ((pixel >= 0) & (pixel < torch.tensor([width, height]))).all(-1)
    if view.camera.lens == "pinhole":
        inside &= z > 0
    at = inside.nonzero()[:, 0]
    column, row = pixel[at].long().T
    which = row * width + column
    offset, depth = x[at] - view.camera.center, view.depth.reshape(-1)[which]
    direction, normal = view.direction.reshape(-1, 3)[which], view.normal.reshape(-1, 3)[which]
    along = (offset * direction).sum(-1)
    aside = (offset - along[:, None] * direction).norm(dim=-1)
    facing = -(normal * direction).sum(-1)
    v = ((offset * normal).sum(-1) + depth * facing) / reach  # (x - p) . n / t; infinite before void
    fading = 1 + v * TRUNCATION / BACK
    w = facing / along * torch.where(v < 1, fading.clamp_max(1), VOID)
    speaks = (fading > 0) & (along - depth <= reach)
    speaks &= aside <= BESIDE * view.pitch.reshape(-1)[which] * along
    return at[speaks], v[speaks].clamp(-1, 1), w[speaks]
