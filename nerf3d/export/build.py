"""From the surface of a field to an asset: fewer triangles, texture coordinates, textures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.export import bake
from nerf3d.export.asset import Asset, Textures, vertex_normals
from nerf3d.export.mesh import color_vertices
from nerf3d.export.simplify import simplify, smooth
from nerf3d.export.surface import Surface, largest_components
from nerf3d.export.tangents import tangents
from nerf3d.export.unwrap import SECONDS, unwrap

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looks:
    """What an asset should be like. `faces`: at most about so many triangles, None for all; `texture`: pixels along a side
    of the textures, 0 for colours at the vertices; `smoothing`: rounds of a filter against bumps. Parts with less than the
    share `smallest` of the largest part's area are left out.
    """

    faces: int | None = 20_000
    texture: int = 1024
    smoothing: int = 0
    smallest: float = 0.01
    unwrap_seconds: float = SECONDS


def make_asset(
    surface: Surface, field: Field, up: Float[Tensor, "3"], looks: Looks, progress: Progress | None = None
) -> tuple[Asset, list[str]]:
    """The asset in the surface's own frame, and notes on what did not go as it should: one sentence each."""
    if looks.texture and not 16 <= looks.texture <= 16384:
        raise InputError(f"a texture of {looks.texture} pixels is not useful; choose 16 to 16384, or 0 for none")
    fine = largest_components(surface, looks.smallest)
    fine = smooth(fine, looks.smoothing) if looks.smoothing else fine
    # Decimation may cut off pieces where the surface was thin.
    coarse = largest_components(simplify(fine, looks.faces), looks.smallest) if looks.faces is not None else fine
    x, y, z = up.tolist()
    plain = Asset(coarse.vertices, coarse.faces, vertex_normals(coarse.vertices, coarse.faces), up=(x, y, z))
    if not looks.texture:
        return replace(plain, colors=color_vertices(coarse, field)), []
    return _textured(plain, fine, field, looks, progress)


def _textured(
    mesh: Asset, fine: Surface, field: Field, looks: Looks, progress: Progress | None
) -> tuple[Asset, list[str]]:
    atlas = unwrap(mesh.vertices, mesh.faces, looks.texture, looks.unwrap_seconds)
    notes = []
    if atlas.simple:
        notes.append(
            f"unwrapping took longer than {looks.unwrap_seconds:.0f} s, so every triangle has a place of its own in the "
            "texture; ask for fewer --faces for larger charts"
        )
    flat = replace(
        mesh,
        vertices=mesh.vertices[atlas.vertex],
        faces=atlas.faces,
        normals=mesh.normals[atlas.vertex],
        uv=atlas.uv,
    )
    fragments = bake.texels(atlas.uv, atlas.faces, looks.texture)
    painted = fragments.face >= 0
    position = bake.at_texels(fragments, flat.faces, flat.vertices)
    mean_normal = normalize(bake.at_texels(fragments, flat.faces, flat.normals))
    color = torch.zeros(looks.texture, looks.texture, 3, dtype=torch.uint8)
    color[painted] = bake.bake_color(field, position, mean_normal, fine.cell, progress=progress)
    normal = None
    if len(mesh.faces) < len(fine.faces):  # detail was lost
        true = bake.fine_normals(position, mean_normal, fine.vertices, fine.faces)
        tangent = tangents(flat.vertices, flat.faces, flat.normals, atlas.uv)
        normal = torch.empty_like(color)
        normal[painted] = bake.in_tangent_frame(true, mean_normal, bake.at_texels(fragments, flat.faces, tangent))
        normal = bake.spread(normal, painted)
    return replace(flat, textures=Textures(bake.spread(color, painted), normal)), notes
