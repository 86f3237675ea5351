"""A surface with colours, as a file that other programs read."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.core.quadrature import weights
from nerf3d.errors import InputError
from nerf3d.export.asset import Asset, vertex_normals
from nerf3d.export.formats import FORMATS as FORMATS  # can be had here too
from nerf3d.export.formats import write_asset
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
    middle, width = 0.5 * (edges[1:] + edges[:-1]), edges[1:] - edges[:-1]
    colors = []
    for place, d in zip(surface.vertices.split(CHUNK), inward.split(CHUNK)):
        n = len(place)
        x = (place[:, None] + middle[:, None] * d[:, None]).reshape(-1, 3)
        with torch.no_grad():
            answer = field(x.to(device), d.repeat_interleave(LOOKS, 0).to(device))
        if answer.color.shape[-1] != 3:
            raise InputError(f"The field answers with {answer.color.shape[-1]} channels, but a mesh's colours need 3.")
        share = weights(answer.density.float().cpu(), width.repeat(n), torch.arange(n + 1) * LOOKS)
        share = share.reshape(n, LOOKS, 1) + 1e-9  # where all is empty, the mean
        color = (share * answer.color.float().cpu().reshape(n, LOOKS, 3)).sum(1) / share.sum(1)
        colors.append((color.clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(colors)


def write_mesh(
    path: Path | str,
    surface: Surface,
    colors: UInt8[Tensor, "v 3"],
    up: Float[Tensor, "3"],
    metadata: Mapping[str, str],
) -> None:
    """Write the surface with normals and sRGB colours at its vertices, in a format of `export.formats`.

    Vertices stay in the world's own frame and units; formats that demand a direction upwards get `up`. `metadata` (single
    lines) goes into the file where its format has a place for it.

    Raises InputError for an unknown suffix or a folder that cannot be written; the file appears whole or not at all.
    """
    facts = {"frame": "the scene's own world frame", "units": "the scene's own units", **metadata}
    x, y, z = (up.double() / up.double().norm()).tolist()
    normals = vertex_normals(surface.vertices, surface.faces)
    write_asset(path, Asset(surface.vertices, surface.faces, normals, colors, up=(x, y, z), facts=facts))
