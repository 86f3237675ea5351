"""Adam on a CPU: one pass over flat arrays, entry by entry."""

import numpy as np
from numba import njit, prange

PART = 16384


@njit(parallel=True, fastmath={"contract", "arcp", "nsz"}, cache=True)
def adam(parameter, gradient, mean, square, first, second, size, correction, epsilon):
    entries = parameter.shape[0]
    one = np.float32(1)
    for part in prange((entries + PART - 1) // PART):
        for i in range(part * PART, min((part + 1) * PART, entries)):
            g = gradient[i]
            if g != np.float32(0):
                m = first * mean[i] + (one - first) * g
                v = second * square[i] + (one - second) * g * g
                mean[i] = m
                square[i] = v
                parameter[i] -= size * m / (np.sqrt(v) * correction + epsilon)
