"""What leaves the program as a mesh, for all formats: corners, faces, colours, texture coordinates and textures."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from nerf3d.core.numerics import normalize

UP_Y, UP_Z = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Textures:
    """Pictures on a surface. Row 0 is the top row; texture coordinate (0, 0) is the lower left corner of the picture, as in
    OBJ and USD (glTF counts from the top).

    `color` is sRGB. `normal` holds unit normals in the tangent frame as 127.5 (n + 1), green upwards (OpenGL's way, which
    glTF, USD and Blender share); None: the surface's own normals.
    """

    color: UInt8[Tensor, "h w 3"]
    normal: UInt8[Tensor, "h2 w2 3"] | None = None


@dataclass(frozen=True)
class Asset:
    """A triangle mesh ready to be written; the faces' corners run anticlockwise seen from outside.

    Positions are in the file's own frame, whose upward direction is `up`; one unit is a metre in formats that speak of
    metres. `colors` are sRGB bytes at the corners. With `textures` there is one texture coordinate `uv` in [0, 1] per
    vertex; vertices on a seam are there twice.

    A radiance field's colours hold the light that fell on the scene, so by default the material is not `lit` again.
    `roughness` and `metallic` are in [0, 1]. `facts` are single lines that a file carries along: where it comes from, and
    how to go back to the scene's world frame.
    """

    vertices: Float32[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    normals: Float32[Tensor, "v 3"]
    colors: UInt8[Tensor, "v 3"] | None = None
    uv: Float32[Tensor, "v 2"] | None = None
    textures: Textures | None = None
    up: tuple[float, float, float] = UP_Z
    lit: bool = False
    roughness: float = 1.0
    metallic: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)


def turned(asset: Asset, world_from_asset: Float[Tensor, "3 3"]) -> Asset:
    """The same asset in a frame that is rotated: positions, normals and `up` are multiplied by the matrix.

    >>> corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> asset = Asset(corners, torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 0, 1]]).expand(3, 3))
    >>> quarter = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # z to y
    >>> turned(asset, quarter).up
    (0.0, 1.0, 0.0)
    """
    matrix = world_from_asset.double()
    up = (matrix @ torch.tensor(asset.up, dtype=torch.float64)).tolist()
    return replace(
        asset,
        vertices=(asset.vertices.double() @ matrix.T).float(),
        normals=(asset.normals.double() @ matrix.T).float(),
        up=(up[0], up[1], up[2]),
    )


def vertex_normals(vertices: Float32[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Float32[Tensor, "v 3"]:
    """Outward unit normals: the sum of the adjacent triangles' normals, weighted by their areas."""
    a, b, c = vertices.double()[faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros(vertices.shape, dtype=torch.float64)
    for corner in range(3):
        total.index_add_(0, faces[:, corner], area)
    # A tiny mesh has tiny areas, so the length is taken relative to the largest before it is divided out.
    normals = normalize(total / total.abs().max().clamp_min(1e-300)).float()
    pointless = normals.square().sum(-1, keepdim=True) < 0.5  # the triangles around cancel: formats want unit length
    return torch.where(pointless, torch.tensor([0.0, 0.0, 1.0]), normals)
