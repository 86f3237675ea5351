"""A triangle mesh as binary glTF 2.0 (.glb), with what the standard says about axes and colour.

- Axes: glTF is Y up. The vertices stay in the asset's frame; the node's matrix turns `up` to +Y for viewers.
- Texture: the pictures are embedded as PNG. glTF counts v from the top. Beyond the edge the last pixels go on, so that
  nothing bleeds in from the other side of the atlas.
- Colour: a texture is sRGB; COLOR_0 is linear light, and sixteen bits a channel, because eight linear bits leave steps in
  the shadows. It would be multiplied with a texture, so it is there only without one.
- Light: a radiance field's colours contain the light that fell on the scene, so the material asks viewers not to light
  it again (KHR_materials_unlit; a viewer that does not know it takes the plain material).
- Normal map: comes with tangents, because without them every viewer makes its own, and Khronos' validator says so.
- Units: the standard means metres. A capture's unit is rarely known, so numbers stay as they are and `extras` says so.

Written by hand because trimesh writes eight-bit colours only, no sampler and no extension.
"""

import json
import struct
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.core.numerics import normalize
from nerf3d.export.asset import Asset
from nerf3d.export.png import png_bytes
from nerf3d.export.tangents import tangents

FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071


def linear_light(color: UInt8[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
    """sRGB bytes to linear light in [0, 1] (IEC 61966-2-1); 188 becomes 0.503."""
    c = color.float() / 255
    return torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def rotation_to_y(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The smallest rotation that turns `up` to +Y; (0, 0, 1) to (0, 1, 0) is a quarter turn about x.

    Rodrigues' formula for unit vectors u, y with c = u . y and K the cross-product matrix of u x y: I + K + K^2 / (1 +
    c).
    """
    u = up.double().cpu() / up.double().cpu().norm()
    if float(u[1]) < -1 + 1e-9:  # exactly upside down: any half turn about a horizontal axis
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    a, _, c = torch.linalg.cross(u, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)).tolist()
    k = torch.tensor([[0.0, -c, 0.0], [c, 0.0, -a], [0.0, a, 0.0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + k + k @ k / (1 + u[1])


def glb_bytes(asset: Asset, name: str) -> bytes:
    """The whole file. The node, the mesh and the material bear the name; the asset's facts are the scene's `extras`."""
    blob = _Blob()
    attributes = _attributes(blob, asset)
    small = len(asset.vertices) < 2**16  # the largest index of all is reserved
    corners = asset.faces.numpy().reshape(-1).astype("<u2" if small else "<u4")
    indices = blob.accessor(corners, UNSIGNED_SHORT if small else UNSIGNED_INT, "SCALAR", ELEMENT_ARRAY_BUFFER)
    node: dict[str, Any] = {"name": name, "mesh": 0}
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = rotation_to_y(torch.tensor(asset.up))
    if not torch.equal(turn, torch.eye(4, dtype=torch.float64)):
        node["matrix"] = turn.T.reshape(-1).tolist()  # column by column
    primitive = {"attributes": attributes, "indices": indices, "mode": 4, "material": 0}
    scene = {"nodes": [0]} | ({"extras": asset.facts} if asset.facts else {})
    tree = {
        "asset": {"version": "2.0", "generator": "nerf3d"},
        "scene": 0,
        "scenes": [scene],
        "nodes": [node],
        "meshes": [{"name": name, "primitives": [primitive]}],
        **_material(blob, asset, name),
        "accessors": blob.accessors,
        "bufferViews": blob.views,
        "buffers": [{"byteLength": len(blob.content)}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    content = bytes(blob.content)
    header = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(content))
    return (
        header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
    )


class _Blob:
    """The binary half of the file as it grows, and what the JSON half says about it; every part begins at a multiple of
    four bytes."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, part: bytes) -> int:
        """Add bytes; returns the index of their bufferView."""
        self.views.append({"buffer": 0, "byteOffset": len(self.content), "byteLength": len(part)})
        self.content += part + bytes(-len(part) % 4)
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, component: int, kind: str, target: int = ARRAY_BUFFER) -> int:
        """Add numbers, one row an element; returns the index of their accessor."""
        view = self.view(array.tobytes())
        self.views[view]["target"] = target
        self.accessors.append({"bufferView": view, "componentType": component, "count": len(array), "type": kind})
        return len(self.accessors) - 1


def _attributes(blob: _Blob, asset: Asset) -> dict[str, int]:
    place = asset.vertices.numpy().astype("<f4")
    normals = normalize(asset.normals)
    attributes = {"POSITION": blob.accessor(place, FLOAT, "VEC3")}
    blob.accessors[-1] |= {"min": place.min(0).tolist(), "max": place.max(0).tolist()}
    attributes["NORMAL"] = blob.accessor(normals.numpy().astype("<f4"), FLOAT, "VEC3")
    if asset.textures is not None and asset.uv is not None:
        from_the_top = asset.uv * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
        attributes["TEXCOORD_0"] = blob.accessor(from_the_top.numpy().astype("<f4"), FLOAT, "VEC2")
        if asset.textures.normal is not None:
            frame = tangents(asset.vertices, asset.faces, normals, asset.uv)
            attributes["TANGENT"] = blob.accessor(frame.numpy().astype("<f4"), FLOAT, "VEC4")
    elif asset.colors is not None:
        light = (linear_light(asset.colors) * 65535).round().numpy().astype("<u2")
        opaque = np.concatenate([light, np.full((len(light), 1), 65535, "<u2")], 1)  # four channels are eight bytes
        attributes["COLOR_0"] = blob.accessor(opaque, UNSIGNED_SHORT, "VEC4")
        blob.accessors[-1]["normalized"] = True
    return attributes


def _material(blob: _Blob, asset: Asset, name: str) -> dict[str, Any]:
    """The material and what hangs on it, as entries of the tree."""
    surface: dict[str, Any] = {"metallicFactor": asset.metallic, "roughnessFactor": asset.roughness}
    material: dict[str, Any] = {"name": name, "pbrMetallicRoughness": surface}
    entries: dict[str, Any] = {"materials": [material]}
    if not asset.lit:
        material["extensions"] = {"KHR_materials_unlit": {}}
        entries["extensionsUsed"] = ["KHR_materials_unlit"]
    if asset.textures is None:
        return entries
    pictures = {"color": asset.textures.color}
    surface["baseColorTexture"] = {"index": 0}
    if asset.textures.normal is not None:
        pictures["normal"] = asset.textures.normal
        material["normalTexture"] = {"index": 1}
    images = [
        {"name": kind, "mimeType": "image/png", "bufferView": blob.view(png_bytes(picture))}
        for kind, picture in pictures.items()
    ]
    edge = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
    textures = [{"sampler": 0, "source": source} for source in range(len(images))]
    return {**entries, "textures": textures, "images": images, "samplers": [edge]}
