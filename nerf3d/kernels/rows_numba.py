"""Rows of a table on a CPU: values added to them, and products with them.

An index outside of the table (a position that is not a number has one) means the nearest row: nothing else in memory can be
reached.
"""

import numpy as np
from numba import njit, prange

PART = 512
"""Sums that one task works at."""


@njit(inline="always")
def inside(row, rows):
    return min(max(row, 0), rows - 1)


@njit(parallel=True, fastmath={"contract", "reassoc", "nsz"}, cache=True)
def products(table, index, values, out):
    sums, terms = index.shape
    rows, channels = table.shape
    for part in prange((sums + PART - 1) // PART):
        for n in range(part * PART, min((part + 1) * PART, sums)):
            row = values[n]
            for k in range(terms):
                source = table[inside(index[n, k], rows)]
                total = np.float32(0)
                for c in range(channels):
                    total += row[c] * source[c]
                out[n, k] = total


@njit(parallel=True, fastmath={"contract", "reassoc", "nsz"}, cache=True)
def scatter(values, index, weight, owners, out):
    """Each of the owners has a piece of `out` and reads all of `index`: what a row gets is added in the same order however
    many there are.
    """
    sums, terms = index.shape
    rows, channels = out.shape
    for owner in prange(owners):
        first, last = owner * rows // owners, (owner + 1) * rows // owners
        for n in range(sums):
            row = values[n]
            for k in range(terms):
                j = inside(index[n, k], rows)
                if first <= j < last:
                    w, target = weight[n, k], out[j]
                    for c in range(channels):
                        target[c] += w * row[c]
