"""xatlas in a process of its own: `python -m nerf3d.export.unwrap_worker mesh.npz atlas.npz`."""

import sys

import numpy as np


def main(given: str, found: str) -> None:
    import xatlas

    with np.load(given) as mesh:
        vertices, faces, size = mesh["vertices"], mesh["faces"], int(mesh["size"])
    atlas = xatlas.Atlas()
    # As large as the unit ball's box: xatlas leaves out triangles whose areas are tiny in absolute terms.
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    scale = max(float(np.abs(vertices - middle).max()), 1e-30)
    atlas.add_mesh(((vertices - middle) / scale).astype(np.float32), faces)
    pack = xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = size, max(2, size // 256), True
    atlas.generate(xatlas.ChartOptions(), pack)
    vertex, corners, uv = atlas[0]
    if atlas.atlas_count != 1:
        raise SystemExit("the charts do not fit into one texture")
    np.savez(found, vertex=vertex, faces=corners, uv=uv)


if __name__ == "__main__":
    main(*sys.argv[1:3])
