"""Rasterisation on a CPU: bands of rows in parallel, each goes through all triangles that reach into it."""

import numpy as np
from numba import njit, prange

ROWS = 16


@njit(parallel=True, cache=True)
def rasterize(place, faces, face, weight, depth):
    height, width = face.shape
    for band in prange((height + ROWS - 1) // ROWS):
        top, bottom = band * ROWS, min((band + 1) * ROWS, height)
        best = np.full((bottom - top, width), np.inf)
        face[top:bottom] = -1
        weight[top:bottom] = np.float32(0)
        for f in range(faces.shape[0]):
            a, b, c = place[faces[f, 0]], place[faces[f, 1]], place[faces[f, 2]]
            lowest, highest = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
            if not (highest >= top and lowest <= bottom):  # NaN is left out here
                continue
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
            if area == 0 or not (a[2] > 0 and b[2] > 0 and c[2] > 0 and right >= 0 and left <= width):
                continue
            if not np.isfinite(area + a[2] + b[2] + c[2]):
                continue
            x0, x1 = max(int(np.ceil(left - 0.5)), 0), min(int(np.floor(right - 0.5)) + 1, width)
            y0, y1 = max(int(np.ceil(lowest - 0.5)), top), min(int(np.floor(highest - 0.5)) + 1, bottom)
            for y in range(y0, y1):
                py = y + 0.5
                for x in range(x0, x1):
                    px = x + 0.5
                    u = ((c[0] - b[0]) * (py - b[1]) - (c[1] - b[1]) * (px - b[0])) / area
                    v = ((a[0] - c[0]) * (py - c[1]) - (a[1] - c[1]) * (px - c[0])) / area
                    w = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) / area
                    if not (u >= 0 and v >= 0 and w >= 0):
                        continue
                    inverse = u / a[2] + v / b[2] + w / c[2]
                    z = 1 / inverse
                    if z < best[y - top, x]:
                        best[y - top, x] = z
                        face[y, x] = f
                        weight[y, x, 0] = u / a[2] * z
                        weight[y, x, 1] = v / b[2] * z
                        weight[y, x, 2] = w / c[2] * z
        depth[top:bottom] = best.astype(np.float32)
