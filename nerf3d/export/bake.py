"""A field's colours, and a fine surface's normals, painted into the textures of a coarser mesh."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.export.asset import vertex_normals
from nerf3d.export.look import look
from nerf3d.kernels.raster import Fragments, corner_weights, interpolate, rasterize

CHUNK = 1 << 14  # texels
LOOKS = 12  # points along the line into the surface
BEFORE, BEHIND = 3.0, 9.0  # cells of the lattice that the surface was found on
TILT = math.radians(40)
MARGIN = 3.0  # texels around every chart that show the surface as if it went on

Progress = Callable[[int, int], None]


def texels(uv: Float[Tensor, "v 2"], faces: Int64[Tensor, "f 3"], size: int) -> Fragments:
    """Which triangle every texel of a texture of size x size belongs to; -1 for none.

    Around each chart some texels are given to the nearest triangle, which is thought to go on beyond its edge: what a
    renderer mixes in at a seam is then the colour that the surface really has there.
    """
    place = torch.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, torch.ones(len(uv))], 1)
    inside = rasterize(place, faces, size, size)
    empty = (inside.face < 0).numpy()
    distance, (row, column) = ndimage.distance_transform_edt(empty, return_indices=True)
    nearest = inside.face[torch.from_numpy(row).long(), torch.from_numpy(column).long()]
    face = torch.where(torch.from_numpy(distance <= MARGIN), nearest, -1)
    return Fragments(face, corner_weights(place, faces, face), inside.depth)


def at_texels(
    fragments: Fragments, faces: Int64[Tensor, "f 3"], attribute: Float[Tensor, "v c"]
) -> Float[Tensor, "n c"]:
    """An attribute of the vertices at every texel that has a triangle, row by row."""
    return interpolate(fragments, faces, attribute)[fragments.face >= 0]


def bake_color(
    field: Field,
    positions: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    cell: float,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> UInt8[Tensor, "n 3"]:
    """What one sees of the field at points on its surface, from outside: the mean over five directions, along the normal
    and tilted by 40 degrees to four sides. `cell` is the side of the cells that the surface was found with.

    Each look composites twelve points on a line through the place, from three cells before it to nine behind (NeRF,
    equation 3). Directions count by the cosine to the normal, and by how near to the place the light comes from: what
    stands before it, or is seen past its edge, is left out. The colours keep the field's encoding (sRGB).

    Raises InputError for a field whose colours are features, not three channels.
    """
    edges = torch.linspace(-BEFORE, BEHIND, LOOKS + 1) * cell
    near = torch.exp(-0.5 * (0.5 * (edges[1:] + edges[:-1]) / (2 * cell)).square())
    colors = []
    for begin in range(0, len(positions), CHUNK):
        x, n = positions[begin : begin + CHUNK], normals[begin : begin + CHUNK]
        total, share = torch.zeros(len(x), 3), torch.zeros(len(x), 1)
        for d, cosine in _directions(-n):
            w, color = look(field, x, d, edges, device)
            w = (w * near + 1e-6)[..., None]
            total += cosine * (w * color).sum(1)
            share += cosine * w.sum(1)
        colors.append(((total / share).clamp(0, 1) * 255).round().to(torch.uint8))
        if progress is not None:
            progress(min(begin + CHUNK, len(positions)), len(positions))
    return torch.cat(colors)


def _directions(inward: Float[Tensor, "n 3"]) -> list[tuple[Tensor, float]]:
    first, second = _across(inward)
    straight, aside = math.cos(TILT), math.sin(TILT)
    tilted = [inward * straight + aside * side for side in (first, -first, second, -second)]
    return [(inward, 1.0), *((t, straight) for t in tilted)]


def _across(axis: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
    """Two unit vectors at right angles to the axis and to each other."""
    helper = torch.where(axis[:, :1].abs() < 0.6, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    first = normalize(torch.linalg.cross(axis, helper))
    return first, torch.linalg.cross(axis, first)


def fine_normals(
    positions: Float[Tensor, "n 3"], around: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
) -> Float[Tensor, "n 3"]:  # fmt: skip
    """Normals of a fine surface at places near it: the mean of the four nearest vertices', by nearness.

    Vertices whose normals look away from `around`, the coarse surface's normals, are on another side and do not count.
    """
    own = vertex_normals(vertices, faces)
    distance, index = cKDTree(vertices.numpy()).query(positions.numpy(), k=4, workers=-1)
    near = own[torch.from_numpy(index)]
    share = 1 / (torch.from_numpy(distance).float() + 1e-9)
    share = share * ((near * around[:, None]).sum(-1) > 0)
    mean = (near * share[..., None]).sum(1)
    return torch.where(share.sum(1, keepdim=True) > 0, normalize(mean), around)


def in_tangent_frame(
    normal: Float[Tensor, "n 3"], smooth: Float[Tensor, "n 3"], tangent: Float[Tensor, "n 4"]
) -> UInt8[Tensor, "n 3"]:
    """Normals as a normal map has them: along the tangent, across it, and along the mesh's own normal; (128, 128, 255)
    where both normals are the same.
    """
    z = normalize(smooth)
    x = normalize(tangent[:, :3] - (tangent[:, :3] * z).sum(-1, keepdim=True) * z)
    y = torch.linalg.cross(z, x) * torch.where(tangent[:, 3:] < 0, -1.0, 1.0)
    local = torch.stack([(normal * axis).sum(-1) for axis in (x, y, z)], -1)
    return ((local.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def spread(picture: UInt8[Tensor, "h w 3"], painted: Bool[Tensor, "h w"]) -> UInt8[Tensor, "h w 3"]:
    """Texels without a triangle get the colour of the nearest one that has one: smaller copies of a texture, which
    renderers use far away, mix them in.
    """
    if bool(painted.all()) or not bool(painted.any()):
        return picture
    row, column = ndimage.distance_transform_edt((~painted).numpy(), return_distances=False, return_indices=True)
    return picture[torch.from_numpy(row).long(), torch.from_numpy(column).long()]
