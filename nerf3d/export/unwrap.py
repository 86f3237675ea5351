"""Where each triangle lies in a texture: by xatlas, or, where that takes too long, each pair of triangles in a square."""

import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

SECONDS = 60.0


@dataclass(frozen=True)
class Atlas:
    """`vertex` names for every corner in the atlas the vertex of the mesh that it is (those on seams come several times);
    `faces` are in these new numbers and in the mesh's order. `uv` in [0, 1], from the lower left. `simple`: xatlas took too
    long, or failed, and no triangle touches another.
    """

    vertex: Int64[Tensor, "n"]
    faces: Int64[Tensor, "f 3"]
    uv: Float32[Tensor, "n 2"]
    simple: bool


def unwrap(vertices: Float32[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], size: int, seconds: float = SECONDS) -> Atlas:
    """Charts for a texture of size x size pixels, some pixels apart from each other.

    xatlas runs in a process of its own, which is ended after so many seconds: there are meshes that keep it busy for
    hours.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "mesh.npz", Path(folder) / "atlas.npz"
        np.savez(given, vertices=vertices.numpy(), faces=faces.numpy().astype(np.uint32), size=size)
        command = [sys.executable, "-m", "nerf3d.export.unwrap_worker", str(given), str(found)]
        try:
            subprocess.run(command, timeout=seconds, check=True, capture_output=True)
            with np.load(found) as atlas:
                return Atlas(
                    torch.from_numpy(atlas["vertex"].astype(np.int64)),
                    torch.from_numpy(atlas["faces"].astype(np.int64)),
                    torch.from_numpy(atlas["uv"].astype(np.float32)),
                    False,
                )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError, OSError):
            return in_squares(faces, size)


def in_squares(faces: Int64[Tensor, "f 3"], size: int) -> Atlas:
    """Two triangles to a square, the squares in rows: nothing overlaps, every triangle has the same share of the texture.

    Each triangle keeps a pixel's distance from the others where the texture is large enough.
    """
    count = len(faces)
    side = math.ceil(math.sqrt((count + 1) // 2))
    cell = 1 / side
    gap = min(1.0 / size, 0.2 * cell)
    index = torch.arange(count)
    corner = torch.stack([(index // 2) % side, (index // 2) // side], -1).float() * cell
    near, far = gap, cell - 2.5 * gap
    lower = torch.tensor([[near, near], [far, near], [near, far]])
    upper = cell - lower
    shape = torch.where((index % 2 == 0)[:, None, None], lower, upper)
    uv = (corner[:, None] + shape).reshape(-1, 2).clamp(0, 1)
    return Atlas(faces.reshape(-1), torch.arange(3 * count).reshape(-1, 3), uv, True)
