"""From the surface of a field to an asset: fewer triangles, texture coordinates, textures."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.core import Field
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.export import bake
from nerf3d.export.asset import Asset, Textures, vertex_normals
from nerf3d.export.draw import Paint
from nerf3d.export.mesh import color_vertices
from nerf3d.export.refine import Painted, Refiner
from nerf3d.export.simplify import simplify, smooth
from nerf3d.export.surface import Surface, largest_components
from nerf3d.export.tangents import tangents
from nerf3d.export.unwrap import SECONDS, Atlas, unwrap
from nerf3d.kernels.raster import Fragments

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
    surface: Surface,
    field: Field,
    up: Float[Tensor, "3"],
    looks: Looks,
    progress: Progress | None = None,
    refiner: Refiner | None = None,
) -> tuple[Asset, list[str]]:
    """The asset in the surface's own frame, and notes on what did not go as it should: one sentence each.

    A `refiner` (see `export.refine`) moves the vertices and changes the colours, once there are any.
    """
    if looks.texture and not 16 <= looks.texture <= 16384:
        raise InputError(f"a texture of {looks.texture} pixels is not useful; choose 16 to 16384, or 0 for none")
    fine = largest_components(surface, looks.smallest)
    fine = smooth(fine, looks.smoothing) if looks.smoothing else fine
    # Decimation may cut off pieces where the surface was thin.
    coarse = largest_components(simplify(fine, looks.faces), looks.smallest) if looks.faces is not None else fine
    x, y, z = up.tolist()
    plain = Asset(coarse.vertices, coarse.faces, vertex_normals(coarse.vertices, coarse.faces), up=(x, y, z))
    if not looks.texture:
        colors = color_vertices(coarse, field)
        if refiner is not None:
            better = refiner(Painted(plain.vertices, plain.faces, Paint(colors.float() / 255)))
            plain, colors = _moved(plain, better), _bytes(better.paint.color)
        return replace(plain, colors=colors), []
    return _textured(plain, fine, field, looks, progress, refiner)


def _textured(
    mesh: Asset, fine: Surface, field: Field, looks: Looks, progress: Progress | None, refiner: Refiner | None
) -> tuple[Asset, list[str]]:
    atlas = unwrap(mesh.vertices, mesh.faces, looks.texture, looks.unwrap_seconds)
    notes = []
    if atlas.simple:
        notes.append(
            f"unwrapping took longer than {looks.unwrap_seconds:.0f} s, so every triangle has a place of its own in the "
            "texture; ask for fewer --faces for larger charts"
        )
    flat = _cut(mesh, atlas)
    fragments = bake.texels(atlas.uv, atlas.faces, looks.texture)
    painted = fragments.face >= 0
    position, mean_normal = _at_texels(fragments, flat)
    color = torch.zeros(looks.texture, looks.texture, 3, dtype=torch.uint8)
    color[painted] = bake.bake_color(field, position, mean_normal, fine.cell, progress=progress)
    color = bake.spread(color, painted)
    if refiner is not None:
        mesh, color = _refined(mesh, atlas, fragments, color, refiner)
        flat = _cut(mesh, atlas)
        position, mean_normal = _at_texels(fragments, flat)
    normal = None
    if len(mesh.faces) < len(fine.faces):  # detail was lost
        true = bake.fine_normals(position, mean_normal, fine.vertices, fine.faces)
        tangent = tangents(flat.vertices, flat.faces, flat.normals, atlas.uv)
        normal = torch.empty_like(color)
        normal[painted] = bake.in_tangent_frame(true, mean_normal, bake.at_texels(fragments, flat.faces, tangent))
        normal = bake.spread(normal, painted)
    return replace(flat, textures=Textures(color, normal)), notes


def _cut(mesh: Asset, atlas: Atlas) -> Asset:
    """The mesh with the vertices of its atlas: those on seams several times."""
    there = atlas.vertex
    return replace(mesh, vertices=mesh.vertices[there], faces=atlas.faces, normals=mesh.normals[there], uv=atlas.uv)


def _at_texels(fragments: Fragments, flat: Asset) -> tuple[Tensor, Tensor]:
    """Position and unit normal at every texel that has a triangle."""
    position = bake.at_texels(fragments, flat.faces, flat.vertices)
    return position, normalize(bake.at_texels(fragments, flat.faces, flat.normals))


def _refined(
    mesh: Asset, atlas: Atlas, fragments: Fragments, color: UInt8[Tensor, "h w 3"], refiner: Refiner
) -> tuple[Asset, UInt8[Tensor, "h w 3"]]:
    """What the refiner makes of it. What lies around the charts, where no picture looks, follows what is in them."""
    better = refiner(Painted(mesh.vertices, mesh.faces, Paint(color.float() / 255, atlas.uv[atlas.faces])))
    new = _bytes(better.paint.color)
    inside = (fragments.face >= 0) & (fragments.weight >= 0).all(-1)
    return _moved(mesh, better), bake.spread(new, inside | (new != color).any(-1))


def _moved(mesh: Asset, better: Painted) -> Asset:
    return replace(mesh, vertices=better.vertices, normals=vertex_normals(better.vertices, mesh.faces))


def _bytes(color: Float[Tensor, "*n 3"]) -> UInt8[Tensor, "*n 3"]:
    return (color.clamp(0, 1) * 255).round().to(torch.uint8)
