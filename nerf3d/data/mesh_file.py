"""Triangle meshes from files, whoever wrote them: .glb, .obj, .ply, .stl and .usdz.

Positions are in the file's own frame, all transformations of its nodes applied: what another program shows. A file that
this program wrote says in its facts how the scene's world became that frame; see `MeshFile.file_from_world`.

Files come from strangers: nothing is fetched, and what an .obj or .glb refers to is read from the file's own folder only.
"""

import json
import math
import struct
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from nerf3d.data.files import inside
from nerf3d.data.mesh_parts import Part, Parts, srgb_bytes
from nerf3d.errors import InputError

SUFFIXES = (".glb", ".obj", ".ply", ".stl", ".usdz")


@dataclass(frozen=True)
class MeshFile:
    """A mesh as its file has it. Row 0 of `texture`, which is sRGB as `colors` are, is the top row; the coordinates `uv`
    count from its lower left. Vertices on a seam are there twice.

    `facts` are the single lines of text that a file carries along. `file_from_world` multiplies positions in the scene's
    world: the fact `asset_from_world`, then the node that the mesh hangs on (which stands a .glb upright); None where the
    file does not say. `lacks` says why colours are missing that the file should have.
    """

    vertices: Float64[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    uv: Float32[Tensor, "v 2"] | None = None
    texture: UInt8[Tensor, "h w 3"] | None = None
    colors: UInt8[Tensor, "v 3"] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    file_from_world: Float64[Tensor, "4 4"] | None = None
    lacks: str | None = None

    @property
    def in_world(self) -> Float64[Tensor, "v 3"]:
        """The vertices in the world of the scene they were made from; as they are where the file says nothing of it."""
        if self.file_from_world is None:
            return self.vertices
        back = torch.linalg.inv(self.file_from_world)
        return self.vertices @ back[:3, :3].T + back[:3, 3]


def read_mesh(path: Path | str) -> MeshFile:
    """Read a mesh. Polygons become triangles, and all parts one mesh; it keeps its texture if there is only one.

    Raises InputError for what cannot be read, for a file without triangles, and for one whose numbers make no sense.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} has no suffix of a mesh that can be read: give one of {', '.join(SUFFIXES)}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a mesh that exists.") from None
    try:
        if suffix == ".usdz":
            from nerf3d.data.usd_file import usd_parts

            found = usd_parts(path, content)
        else:
            found = _trimesh_parts(path, content, suffix)
        return _joined(path, found)
    except InputError:
        raise
    except Exception as error:  # the bytes of strangers make parsers fail in any way
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as a {suffix[1:]} file ({detail}): write it anew.") from error


class _Folder:
    """Where trimesh gets the files that a mesh names: beside it, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.asked: list[str] = []
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        self.asked.append(name)
        try:
            return inside(self._folder, name).read_bytes()
        except (InputError, OSError) as error:
            self.missing.append(name)
            raise OSError(f"{name} is not beside the mesh") from error

    __getitem__ = get


def _trimesh_parts(path: Path, content: bytes, suffix: str) -> Parts:
    import trimesh

    folder: Any = _Folder(path.parent)  # has what trimesh asks of a resolver
    facts: Mapping[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say that it could not read all of a text
        if suffix == ".glb":
            tree = trimesh.exchange.gltf.load_glb(BytesIO(content), resolver=folder, process=False)
            for part in tree["geometry"].values():  # before trimesh makes bytes of linear light
                _encode(part)
            facts = tree["metadata"]
            scene = trimesh.load_scene(tree)
        else:
            scene = trimesh.load_scene(BytesIO(content), file_type=suffix[1:], resolver=folder, process=False)
    if suffix in (".obj", ".ply"):
        facts = _comments(content, suffix)
    parts = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        if isinstance(scene.geometry[name], trimesh.Trimesh):  # not points, not lines
            parts.append(_part(scene.geometry[name], np.asarray(matrix)))
    if not parts and scene.geometry:
        raise InputError(f"{path} holds points or lines but no triangles: give a mesh.")
    named = [name for name in folder.asked if Path(name).suffix.lower() != ".mtl"]
    unread = folder.missing or (named if all(part.picture is None for part in parts) else [])
    lacks = f"{unread[0]}, which it names, cannot be read from its folder" if unread else None
    if suffix == ".glb" and not unread and _promised(content) and all(part.picture is None for part in parts):
        lacks = "its texture cannot be read"
    return Parts(parts, facts, lacks)


def _encode(part: dict[str, Any]) -> None:
    """Linear light at the vertices of what trimesh found in a .glb becomes sRGB, in place."""
    if "vertex_colors" in part:
        part["vertex_colors"] = srgb_bytes(part["vertex_colors"][:, :3])
    attributes = getattr(part.get("visual"), "vertex_attributes", {})
    if "color" in attributes:
        attributes["color"] = srgb_bytes(attributes["color"][:, :3])


def _part(mesh: Any, matrix: np.ndarray) -> Part:
    visual = mesh.visual
    uv = picture = colors = None
    if visual.kind == "texture":
        uv = visual.uv
        material = visual.material
        picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        colors = visual.vertex_attributes.get("color") if picture is None else None
    elif visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors)[:, :3]
    return Part(np.asarray(mesh.vertices), np.asarray(mesh.faces), matrix, uv, picture, colors)


def _promised(content: bytes) -> bool:
    """Whether a .glb says that some material has a texture of colours."""
    (size,) = struct.unpack_from("<I", content, 12)
    materials = json.loads(content[20 : 20 + size]).get("materials", [])
    return any("baseColorTexture" in material.get("pbrMetallicRoughness", {}) for material in materials)


def _comments(content: bytes, suffix: str) -> dict[str, str]:
    """Facts in the comments at the head of the file: `# name: text` in an .obj, `comment name: text` in a .ply."""
    sign, facts = {".obj": b"#", ".ply": b"comment"}[suffix], {}
    end = content.find(b"end_header") if suffix == ".ply" else len(content)
    begin = 0
    while begin < end:
        stop = content.find(b"\n", begin)
        stop = end if stop < 0 else stop
        line = content[begin:stop].strip()
        begin = stop + 1
        if line.startswith(sign):
            name, _, text = line.removeprefix(sign).decode("utf-8", "replace").partition(": ")
            facts[name.strip()] = text.strip()
        elif suffix == ".obj":
            break
    return {name: text for name, text in facts.items() if name and text}


def _joined(path: Path, found: Parts) -> MeshFile:
    """One mesh of all parts, checked."""
    parts = [part for part in found.parts if len(part.faces)]
    if not parts:
        raise InputError(f"{path} has no triangles: give a mesh that is not empty.")
    vertices = [part.vertices.astype(np.float64) @ part.matrix[:3, :3].T + part.matrix[:3, 3] for part in parts]
    faces, begin = [], 0
    for part in parts:
        if part.faces.min() < 0 or part.faces.max() >= len(part.vertices):
            raise InputError(f"{path} is damaged, its triangles name vertices that it has not: write it anew.")
        mirrored = np.linalg.det(part.matrix[:3, :3]) < 0
        faces.append((part.faces[:, ::-1] if mirrored else part.faces).astype(np.int64) + begin)
        begin += len(part.vertices)
    x = np.concatenate(vertices)
    if not np.isfinite(x).all():
        raise InputError(f"{path} is damaged, some positions are not finite numbers: write it anew.")
    facts = {str(name): str(value) for name, value in found.facts.items() if isinstance(value, str | int | float)}
    pictures = _different([np.asarray(part.picture.convert("RGB")) for part in parts if part.picture is not None])
    uv = _all(part.uv for part in parts)
    if uv is not None and not np.isfinite(uv).all():
        raise InputError(f"{path} is damaged, some texture coordinates are not finite numbers: write it anew.")
    lacks = found.lacks
    if len(pictures) > 1:
        lacks = lacks or f"it has {len(pictures)} textures, of which only one could be shown"
    elif pictures and (uv is None or any(part.picture is None for part in parts)):
        lacks = lacks or "some of its parts have a texture and some have none"
    uv, pictures = (uv, pictures) if lacks is None else (None if len(parts) > 1 else uv, [])
    colors = _all(part.colors for part in parts)
    return MeshFile(
        torch.from_numpy(x),
        torch.from_numpy(np.concatenate(faces)),
        None if uv is None else torch.from_numpy(uv.astype(np.float32)),
        torch.from_numpy(pictures[0].copy()) if pictures else None,
        None if colors is None or pictures else torch.from_numpy(colors.astype(np.uint8)),
        facts,
        _file_from_world(facts, [part.matrix for part in parts]),
        lacks,
    )


def _all(values: Iterable[np.ndarray | None]) -> np.ndarray | None:
    """One array, where every part has its own."""
    there = list(values)
    return np.concatenate([v for v in there if v is not None]) if all(v is not None for v in there) else None


def _different(pictures: list[np.ndarray]) -> list[np.ndarray]:
    kept: list[np.ndarray] = []
    for picture in pictures:
        if not any(np.array_equal(picture, other) for other in kept):
            kept.append(picture)
    return kept


def _file_from_world(facts: Mapping[str, str], nodes: list[np.ndarray]) -> Tensor | None:
    """None where the file does not say, where what it says is no affine map with a way back, or where its parts were
    moved apart.
    """
    try:
        asset_from_world = np.array(json.loads(facts["asset_from_world"]), dtype=np.float64)
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    if asset_from_world.shape != (4, 4) or not np.isfinite(asset_from_world).all():
        return None
    if any(not np.allclose(node, nodes[0], atol=1e-9) for node in nodes):
        return None
    matrix = nodes[0] @ asset_from_world
    volume = abs(np.linalg.det(matrix[:3, :3]))
    if not np.array_equal(matrix[3], [0, 0, 0, 1]) or not 0 < volume < math.inf:
        return None
    return torch.from_numpy(matrix)
