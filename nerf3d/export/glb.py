"""A triangle mesh as binary glTF 2.0 (.glb), with what the standard says about axes and colour.

- Axes: glTF is Y up. The vertices stay in the world's frame; the node's matrix turns the world's `up` to +Y for
  viewers.
- Colour: COLOR_0 is linear light, and sixteen bits a channel, because eight linear bits leave steps in the shadows.
- Light: a radiance field's colours contain the light that fell on the scene, so the material asks viewers not to light
  it again (KHR_materials_unlit; a viewer that does not know it takes the plain matt material).
- Units: the standard means metres. A capture's unit is rarely known, so numbers stay as they are and `extras` says so.

Written by hand because trimesh writes eight-bit colours only.
"""

import json
import struct

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


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


def glb_bytes(
    vertices: Float32[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    normals: Float32[Tensor, "v 3"],
    colors: UInt8[Tensor, "v 3"],
    up: Float[Tensor, "3"],
    extras: dict[str, str],
) -> bytes:
    """The whole file. Colours are sRGB bytes; `extras` goes to the scene and says what a program should know."""
    light = (linear_light(colors) * 65535).round().numpy().astype("<u2")
    opaque = np.concatenate([light, np.full((len(light), 1), 65535, "<u2")], 1)  # four channels keep 4-byte alignment
    place = vertices.numpy().astype("<f4")
    parts = [
        (place, FLOAT, "VEC3", ARRAY_BUFFER, {"min": place.min(0).tolist(), "max": place.max(0).tolist()}),
        (normals.numpy().astype("<f4"), FLOAT, "VEC3", ARRAY_BUFFER, {}),
        (opaque, UNSIGNED_SHORT, "VEC4", ARRAY_BUFFER, {"normalized": True}),
        (faces.numpy().astype("<u4").reshape(-1), UNSIGNED_INT, "SCALAR", ELEMENT_ARRAY_BUFFER, {}),
    ]
    views, accessors, blob = [], [], b""
    for index, (array, component, kind, target, more) in enumerate(parts):
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": index, "componentType": component, "count": len(array), "type": kind, **more})
        blob += array.tobytes()

    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = rotation_to_y(up)
    tree = {
        "asset": {"version": "2.0", "generator": "nerf3d"},
        "scene": 0,
        "scenes": [{"nodes": [0], "extras": extras}],
        "nodes": [{"name": "world", "mesh": 0, "matrix": turn.T.reshape(-1).tolist()}],  # column by column
        "meshes": [
            {
                "name": "surface",
                "primitives": [
                    {"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "mode": 4, "material": 0}
                ],
            }
        ],
        "materials": [
            {
                "name": "vertex colors",
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
        "extensionsUsed": ["KHR_materials_unlit"],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(blob))
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
