"""Compositing on a CPU: one scan along every ray, forward and back. Colors are feature-major, (c, n) and (c, rays)."""

import numpy as np
from numba import njit, prange

PART = 128  # rays; what a ray gets depends on its own samples only, so threads cannot change it


@njit(parallel=True, fastmath={"contract"}, cache=True)
def forward(density, color, start, end, offsets, stop, weights, total, opacity, distance):
    rays, channels = opacity.shape[0], total.shape[0]
    for part in prange((rays + PART - 1) // PART):
        for ray in range(part * PART, min((part + 1) * PART, rays)):
            for c in range(channels):
                total[c, ray] = np.float32(0)
            depth = np.float32(0)  # optical
            o = np.float32(0)
            t = np.float32(0)
            light = np.float32(1)
            for i in range(offsets[ray], offsets[ray + 1]):
                if light < stop:
                    weights[i] = np.float32(0)
                    continue
                depth += density[i] * (end[i] - start[i])
                rest = np.exp(-depth)
                w = light - rest
                light = rest
                weights[i] = w
                o += w
                t += w * np.float32(0.5) * (start[i] + end[i])
                for c in range(channels):
                    total[c, ray] += w * color[c, i]
            opacity[ray] = o
            distance[ray] = t


@njit(parallel=True, fastmath={"contract"}, cache=True)
def backward(
    density, color, start, end, offsets, stop, weights, dweights, dtotal, dopacity, ddistance, ddensity, dcolor
):
    """With g_i = dL/dweight_i: dL/ds_i = width_i (g_i T_{i+1} - sum_{j>i} g_j weight_j)."""
    rays, channels = dopacity.shape[0], dtotal.shape[0]
    for part in prange((rays + PART - 1) // PART):
        for ray in range(part * PART, min((part + 1) * PART, rays)):
            begin, last = offsets[ray], offsets[ray + 1]
            light = np.float32(1)
            depth = np.float32(0)
            behind = np.float32(0)
            reached = begin
            # Forwards once: how far the light gets, and the whole sum of g_j weight_j.
            for i in range(begin, last):
                if light < stop:
                    break
                reached = i + 1
                depth += density[i] * (end[i] - start[i])
                light = np.exp(-depth)
                g = dweights[i] + dopacity[ray] + ddistance[ray] * np.float32(0.5) * (start[i] + end[i])
                for c in range(channels):
                    g += dtotal[c, ray] * color[c, i]
                    dcolor[c, i] = dtotal[c, ray] * weights[i]
                ddensity[i] = g  # kept here for the second pass
                behind += g * weights[i]
            depth = np.float32(0)
            for i in range(begin, reached):
                width = end[i] - start[i]
                depth += density[i] * width
                g = ddensity[i]
                behind -= g * weights[i]
                ddensity[i] = width * (g * np.exp(-depth) - behind)
            for i in range(reached, last):
                ddensity[i] = np.float32(0)
                for c in range(channels):
                    dcolor[c, i] = np.float32(0)
