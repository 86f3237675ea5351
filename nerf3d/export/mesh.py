"""A surface with colours, as a file that other programs read."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.core.quadrature import weights
from nerf3d.errors import InputError
from nerf3d.export.files import whole_file
from nerf3d.export.glb import glb_bytes
from nerf3d.export.surface import Surface

CHUNK = 1 << 15  # vertices
SMOOTHINGS = 8  # of the normals to look along
LOOKS = 16  # points along the line into the surface
BEFORE, BEHIND = 1.0, 9.0  # cells


def vertex_normals(surface: Surface) -> Float32[Tensor, "v 3"]:
    """Outward unit normals: the sum of the adjacent triangles' normals, weighted by their areas."""
    a, b, c = surface.vertices.double()[surface.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros(surface.vertices.shape, dtype=torch.float64)
    for corner in range(3):
        total.index_add_(0, surface.faces[:, corner], area)
    # A tiny mesh has tiny areas, so the length is taken relative to the largest before it is divided out.
    normals = normalize(total / total.abs().max().clamp_min(1e-300)).float()
    pointless = normals.square().sum(-1, keepdim=True) < 0.5  # the triangles around cancel: formats want unit length
    return torch.where(pointless, torch.tensor([0.0, 0.0, 1.0]), normals)


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
    inward = -_smooth(vertex_normals(surface), surface)
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
    """Write the mesh with normals and colours; the suffix says in which format: .glb, .obj or .ply.

    Vertices are written in the world's own frame and units, in every format. A .glb has in addition a matrix that turns
    `up` to +Y, which viewers apply, and linear colours, as its standard demands; .obj and .ply have sRGB colours.
    `metadata` (single lines) goes to the glTF scene's `extras` or into comments.

    Raises InputError for an unknown suffix or a folder that cannot be written; the file appears whole or not at all.
    """
    path = Path(path)
    encode = FORMATS.get(path.suffix.lower())
    if encode is None:
        raise InputError(f"{path} has no suffix that names a mesh format: choose one of {', '.join(sorted(FORMATS))}.")
    facts = {"frame": "the scene's own world frame", "units": "the scene's own units", **metadata}
    with whole_file(path) as temporary:
        temporary.write_bytes(encode(surface, colors, up, facts))


def _glb(surface: Surface, colors: Tensor, up: Tensor, facts: dict[str, str]) -> bytes:
    return glb_bytes(surface.vertices, surface.faces, vertex_normals(surface), colors, up, facts)


def _comments(facts: dict[str, str]) -> list[str]:
    return [re.sub(r"[^\x20-\x7e]", " ", f"{name}: {text}") for name, text in facts.items()]


def _obj(surface: Surface, colors: Tensor, up: Tensor, facts: dict[str, str]) -> bytes:
    """Wavefront, with the common extension of three colour values behind each vertex's position."""
    rows = torch.cat([surface.vertices, colors.float() / 255], 1).tolist()
    text = [f"# {line}" for line in _comments(facts)]
    text += ["v {:.9g} {:.9g} {:.9g} {:.6g} {:.6g} {:.6g}".format(*row) for row in rows]
    text += ["vn {:.6g} {:.6g} {:.6g}".format(*row) for row in vertex_normals(surface).tolist()]
    text += ["f {0}//{0} {1}//{1} {2}//{2}".format(*row) for row in (surface.faces + 1).tolist()]
    return ("\n".join(text) + "\n").encode()


def _ply(surface: Surface, colors: Tensor, up: Tensor, facts: dict[str, str]) -> bytes:
    import trimesh
    from trimesh.exchange.ply import export_ply

    mesh = trimesh.Trimesh(
        surface.vertices.numpy(),
        surface.faces.numpy(),
        vertex_normals=vertex_normals(surface).numpy(),
        vertex_colors=colors.numpy(),
        process=False,
    )
    magic, encoding, rest = export_ply(mesh, vertex_normal=True).split(b"\n", 2)
    comments = [f"comment {line}".encode() for line in _comments(facts)]
    return b"\n".join([magic, encoding, *comments, rest])


FORMATS = {".glb": _glb, ".obj": _obj, ".ply": _ply}
