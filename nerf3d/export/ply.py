"""Meshes and point clouds as binary PLY, with normals and sRGB colours at the vertices.

PLY has no standard for textures: where the asset has only those, the vertices take the texture's colour at their place.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.export.asset import Asset
from nerf3d.export.facts import comments
from nerf3d.files import whole_file

FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


def ply_bytes(asset: Asset, name: str) -> bytes:
    """The whole file, in the asset's own frame; the format has no place for a name."""
    vertices = _table(asset.vertices, asset.normals, _colors(asset))
    faces = np.zeros(len(asset.faces), FACE)
    faces["count"], faces["corners"] = 3, asset.faces.numpy()
    more = [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    return _header(vertices, more, asset.facts) + vertices.tobytes() + faces.tobytes()


def write_points(
    path: Path | str,
    positions: Float32[Tensor, "n 3"],
    normals: Float32[Tensor, "n 3"] | None,
    colors: UInt8[Tensor, "n 3"],
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write a point cloud as .ply, whole or not at all; colours are sRGB, `facts` single lines that become comments.

    Raises InputError for another suffix, for no points, for numbers that are not finite, and where nothing can be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise InputError(f"{path} cannot hold a point cloud: choose a name that ends in .ply.")
    if len(positions) == 0:
        raise InputError(f"{path} would be an empty point cloud: there are no points.")
    if not bool(positions.isfinite().all()) or not (normals is None or bool(normals.isfinite().all())):
        raise InputError(f"{path} would be broken: some positions or normals are not finite numbers.")
    points = _table(positions, normals, colors)
    with whole_file(path) as temporary:
        temporary.write_bytes(_header(points, [], facts or {}) + points.tobytes())


def _table(positions: Tensor, normals: Tensor | None, colors: Tensor | None) -> np.ndarray:
    """One record a vertex, whose field names are those that readers look for."""
    columns = dict(zip("xyz", positions.T))
    if normals is not None:
        columns |= dict(zip(("nx", "ny", "nz"), normals.T))
    if colors is not None:
        columns |= dict(zip(("red", "green", "blue"), colors.T))
    fields = [(name, "u1" if column.dtype == torch.uint8 else "<f4") for name, column in columns.items()]
    table = np.zeros(len(positions), np.dtype(fields))
    for name, column in columns.items():
        table[name] = column.numpy()
    return table


def _header(vertices: np.ndarray, more: list[str], facts: Mapping[str, str]) -> bytes:
    kinds = {"<f4": "float", "|u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [
        f"comment {line.replace('end_header', 'end header')}" for line in comments(facts)
    ]  # some look for it anywhere
    lines += [f"element vertex {len(vertices)}"]
    lines += [f"property {kinds[vertices.dtype[name].str]} {name}" for name in vertices.dtype.names or ()]
    return "\n".join([*lines, *more, "end_header\n"]).encode()


def _colors(asset: Asset) -> UInt8[Tensor, "v 3"] | None:
    if asset.colors is not None or asset.textures is None or asset.uv is None:
        return asset.colors
    picture = asset.textures.color.float().movedim(-1, 0)[None]
    place = (asset.uv * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0]))[None, None]  # -1 is left, and the top
    seen = torch.nn.functional.grid_sample(picture, place, padding_mode="border", align_corners=False)
    return seen[0, :, 0].T.round().to(torch.uint8)
