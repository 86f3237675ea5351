"""Meshes in a .usdz archive, as USD itself reads them, and the picture of their colours from the same archive."""

import posixpath
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from nerf3d.data.mesh_parts import Part, Parts, srgb_bytes
from nerf3d.errors import InputError

if TYPE_CHECKING:
    from pxr import Usd, UsdGeom


def usd_parts(path: Path, content: bytes) -> Parts:
    """All meshes of the archive, each in its own frame, and the default prim's custom data as facts.

    Raises InputError where the extra `usd` is not installed, and for a layer that refers to other ones: those might lie
    anywhere.
    """
    try:
        from pxr import Sdf, Usd, UsdGeom
    except ImportError as error:
        raise InputError(f"{path} needs the library usd-core to be read: pip install 'nerf3d[usd]'.") from error
    archive = ZipFile(BytesIO(content))
    layer = Sdf.Layer.FindOrOpen(str(path))
    if layer is None:
        raise ValueError("USD finds no layer in it")
    if any(layer.GetCompositionAssetDependencies()):
        raise InputError(f"{path} is composed of several layers: flatten it to one (usdcat --flatten).")
    stage = Usd.Stage.Open(layer)
    places = UsdGeom.XformCache(Usd.TimeCode.EarliestTime())
    prims = Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())
    parts, unread = [], None
    for prim in (prim for prim in prims if prim.IsA(UsdGeom.Mesh)):
        name = _picture_name(prim)
        picture = None if name is None else _picture(archive, name)
        unread = name if name is not None and picture is None else unread
        matrix = np.array(places.GetLocalToWorldTransform(prim)).T  # USD multiplies rows
        part = _part(UsdGeom.Mesh(prim), matrix, picture)
        parts += [] if part is None else [part]
    root = stage.GetDefaultPrim()
    facts = root.GetCustomData() if root else {}
    return Parts(parts, facts, None if unread is None else f"its texture {unread} cannot be read from the archive")


def _part(mesh: "UsdGeom.Mesh", matrix: np.ndarray, picture: Any) -> Part | None:
    from pxr import Usd, UsdGeom

    first = Usd.TimeCode.EarliestTime()
    points, counts, index = (
        attribute.Get(first)
        for attribute in (mesh.GetPointsAttr(), mesh.GetFaceVertexCountsAttr(), mesh.GetFaceVertexIndicesAttr())
    )
    if not points or not counts or not index:
        return None
    x, point = np.array(points, dtype=np.float64), np.array(index)
    corner = _fans(np.array(counts))
    if mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded:
        corner = corner[:, ::-1]
    if point.min() < 0 or point.max() >= len(x):
        raise ValueError("its faces name points that it has not")
    colors = _colors(mesh, len(x))
    uv, which = _coordinates(mesh, point)
    if uv is None or which is None:
        return Part(x, point[corner], matrix, None, picture, colors)
    # A vertex for each pair of a point and a texture coordinate.
    pairs, vertex = np.unique(np.stack([point, which], 1), axis=0, return_inverse=True)
    split = None if colors is None else colors[pairs[:, 0]]
    return Part(x[pairs[:, 0]], vertex.reshape(-1)[corner], matrix, uv[pairs[:, 1]], picture, split)


def _fans(counts: np.ndarray) -> np.ndarray:
    """The corners (t 3) of triangles into which polygons with so many corners fall.

    >>> _fans(np.array([3, 4])).tolist()
    [[0, 1, 2], [3, 4, 5], [3, 5, 6]]
    """
    triangles = np.maximum(counts - 2, 0)
    begin = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([begin, begin + step + 1, begin + step + 2], 1)


def _coordinates(mesh: "UsdGeom.Mesh", point: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Texture coordinates, and which of them belongs to each corner: those called `st`, else the first there are."""
    from pxr import UsdGeom

    known = [p for p in UsdGeom.PrimvarsAPI(mesh).GetPrimvars() if "2f[]" in str(p.GetTypeName()) and p.HasValue()]
    known.sort(key=lambda primvar: primvar.GetPrimvarName() != "st")
    if not known:
        return None, None
    values = np.array(known[0].Get(), dtype=np.float32)
    which = np.arange(len(point)) if known[0].GetInterpolation() == UsdGeom.Tokens.faceVarying else point
    if known[0].IsIndexed():
        which = np.array(known[0].GetIndices())[which]
    return (values, which) if which.min() >= 0 and which.max() < len(values) else (None, None)


def _colors(mesh: "UsdGeom.Mesh", count: int) -> np.ndarray | None:
    """sRGB bytes at the points: USD's displayColor is linear light. One colour is that of all points."""
    primvar = mesh.GetDisplayColorPrimvar()
    found = primvar.ComputeFlattened() if primvar and primvar.HasValue() else None
    light = np.array([] if found is None else found, dtype=np.float64).reshape(-1, 3)
    return srgb_bytes(np.broadcast_to(light, (count, 3))) if len(light) in (1, count) else None


def _picture_name(prim: "Usd.Prim") -> str | None:
    """The picture that gives the mesh its colour, reflected or emitted, by its name in the archive."""
    from pxr import UsdShade

    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    surface = material.ComputeSurfaceSource()[0] if material else None
    for name in ("diffuseColor", "emissiveColor"):
        entry = surface.GetInput(name) if surface else None
        source = entry.GetConnectedSource() if entry else None
        file = UsdShade.Shader(source[0]).GetInput("file") if source else None
        if file and file.Get() is not None:
            return file.Get().path
    return None


def _picture(archive: ZipFile, name: str) -> Any:
    """A PIL image; None where the archive has none that can be read under that name, as seen from its first layer."""
    from PIL import Image

    home = posixpath.dirname(archive.namelist()[0])
    try:
        picture = Image.open(BytesIO(archive.read(posixpath.normpath(posixpath.join(home, name)))))
        picture.load()
        return picture
    except (KeyError, OSError, ValueError, BadZipFile, Image.DecompressionBombError):
        return None
