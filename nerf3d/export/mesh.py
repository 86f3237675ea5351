"""The colours of a field at the vertices of its surface."""

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.export.asset import vertex_normals
from nerf3d.export.look import look
from nerf3d.export.surface import Surface

CHUNK = 1 << 15  # vertices
SMOOTHINGS = 8  # of the normals to look along
LOOKS = 16  # points along the line into the surface
BEFORE, BEHIND = 1.0, 9.0  # cells


def _smooth(normals: Float32[Tensor, "v 3"], surface: Surface) -> Float32[Tensor, "v 3"]:
    """Unit normals averaged over some cells: along those of a noisy surface one would look in directions of chance."""
    corners = surface.faces
    for _ in range(SMOOTHINGS):
        around = normals[corners].sum(1)
        total = torch.zeros_like(normals)
        for corner in range(3):
            total.index_add_(0, corners[:, corner], around)
        normals = normalize(total)
    return normals


def color_vertices(surface: Surface, field: Field, device: torch.device | str = "cpu") -> UInt8[Tensor, "v 3"]:
    """What one sees of the field when one looks at each vertex from outside, against its normal: bytes in [0, 255].

    The colour of a field means something where it is dense only, and a vertex stands at the edge of that: so sixteen
    points on the line from one cell before the vertex to nine behind it are composited like on any ray (NeRF, equation
    3), and what shines through is left out. `device` is the field's. The colours keep the field's encoding (sRGB).
    Raises InputError for a field whose colours are features, not three channels.
    """
    inward = -_smooth(vertex_normals(surface.vertices, surface.faces), surface)
    edges = torch.linspace(-BEFORE, BEHIND, LOOKS + 1) * surface.cell
    colors = []
    for place, d in zip(surface.vertices.split(CHUNK), inward.split(CHUNK)):
        share, color = look(field, place, d, edges, device)
        share = share[..., None] + 1e-9  # where all is empty, the mean
        mean = (share * color).sum(1) / share.sum(1)
        colors.append((mean.clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(colors)
