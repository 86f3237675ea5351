"""A mesh as binary STL: the shape and nothing else, for printers and slicers.

They take +Z as up, whatever a file was made from, so this is the one format besides glTF in which an asset is turned. STL
knows no unit either; slicers read millimetres, which `export.frame` makes of lengths that mean
something. Here numbers stay as they are.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.export.asset import Asset, turned
from nerf3d.export.facts import comments
from nerf3d.export.glb import rotation_to_y

TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def rotation_to_z(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """A rotation that turns `up` to +Z, and nothing else where it is +Z already; (0, 1, 0) is a quarter turn about x."""
    z_from_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    return z_from_y @ rotation_to_y(up)


def stl_bytes(asset: Asset, name: str) -> bytes:
    """The whole file: 80 bytes of text, the number of triangles, then 50 bytes for each of them."""
    upright = turned(asset, rotation_to_z(torch.tensor(asset.up)))
    corners = upright.vertices.double()[upright.faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).numpy()
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), TRIANGLE)
    triangles["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    triangles["corners"] = corners.numpy()
    (title,) = comments({"nerf3d": name})  # must not begin with "solid", which would mean text
    return title.encode()[:80].ljust(80) + np.uint32(len(corners)).astype("<u4").tobytes() + triangles.tobytes()
