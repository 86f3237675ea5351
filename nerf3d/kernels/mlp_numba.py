"""Small multilayer perceptrons on a CPU, forward and backward, in blocks that stay in the cache.

Everything is feature-major inside: row i holds feature i of all points, so that neighbouring points are neighbours in a
vector. A block of BLOCK points goes through all layers before the next one begins. The backward pass computes the hidden
activations again instead of reading them from memory.

The weights of all layers lie in one flat array, layer after layer, each (out, in) row by row. The sum over points in a
weight's gradient is taken over fixed parts of PART points, and these are added in order: the result does not depend on
the number of threads.
"""

import numpy as np
from numba import njit, prange

from nerf3d.kernels.simd import LANES, TALL, THICK, VECTORS, outer_1, outer_thick, product_1, product_4, product_tall

BLOCK = 128
PART = 1024
TILE = LANES * VECTORS


@njit(fastmath=True, cache=True)
def _multiply(w, w_at, w_row, w_column, rows, inner, x, x_at, y, y_at):
    """y = w x for one block; the strides say whether w is taken as it is or transposed."""
    for p in range(0, BLOCK, TILE):
        r = 0
        while r + TALL <= rows:
            product_tall(
                w, w_at + r * w_row, w_row, w_column, x, x_at + p, BLOCK, y, y_at + r * BLOCK + p, BLOCK, inner
            )
            r += TALL
        while r + 4 <= rows:
            product_4(w, w_at + r * w_row, w_row, w_column, x, x_at + p, BLOCK, y, y_at + r * BLOCK + p, BLOCK, inner)
            r += 4
        while r < rows:
            product_1(w, w_at + r * w_row, w_row, w_column, x, x_at + p, BLOCK, y, y_at + r * BLOCK + p, BLOCK, inner)
            r += 1


@njit(fastmath=True, cache=True)
def _accumulate(y, y_at, rows, x, x_at, columns, w, w_at):
    """w += y x^T for one block, w being (rows, columns)."""
    for c in range(0, columns - columns % 4, 4):
        r = 0
        while r + THICK <= rows:
            at = w_at + r * columns + c
            outer_thick(y, y_at + r * BLOCK, BLOCK, x, x_at + c * BLOCK, BLOCK, w, at, columns, BLOCK)
            r += THICK
        while r < rows:
            at = w_at + r * columns + c
            outer_1(y, y_at + r * BLOCK, BLOCK, x, x_at + c * BLOCK, BLOCK, w, at, columns, BLOCK)
            r += 1
    for c in range(columns - columns % 4, columns):
        for r in range(rows):
            total = np.float32(0)
            for p in range(BLOCK):
                total += y[y_at + r * BLOCK + p] * x[x_at + c * BLOCK + p]
            w[w_at + r * columns + c] += total


@njit(fastmath=True, cache=True)
def _fetch(source, begin, count, buffer):
    """Rows of `source` at points begin .. begin + count into a block, with zeros after the last point."""
    for i in range(source.shape[0]):
        taken = source[i, begin : begin + count]
        row = buffer[i * BLOCK : (i + 1) * BLOCK]
        for p in range(count):
            row[p] = taken[p]
        for p in range(count, BLOCK):
            row[p] = np.float32(0)


@njit(fastmath=True, cache=True)
def _store(buffer, rows, target, begin, count):
    """The first `count` points of a block into the columns of `target` from `begin` on."""
    for i in range(rows):
        row = target[i, begin : begin + count]
        taken = buffer[i * BLOCK : i * BLOCK + count]
        for p in range(count):
            row[p] = taken[p]


@njit(fastmath=True, cache=True)
def _run_layers(weights, widths, activations):
    """All layers on one block. `activations` holds the input block, then every layer's output block."""
    w_at, x_at = 0, 0
    layers = widths.shape[0] - 1
    for layer in range(layers):
        inner, rows = widths[layer], widths[layer + 1]
        y_at = x_at + inner * BLOCK
        _multiply(weights, w_at, inner, 1, rows, inner, activations, x_at, activations, y_at)
        if layer < layers - 1:
            hidden = activations[y_at : y_at + rows * BLOCK]
            for i in range(hidden.shape[0]):
                hidden[i] = max(hidden[i], np.float32(0))
        w_at += inner * rows
        x_at = y_at
    return x_at


@njit(parallel=True, fastmath=True, cache=True)
def forward(x, weights, widths, y):
    """x (in, n), weights flat, widths (layers + 1) -> y (out, n), written."""
    points = x.shape[1]
    parts = (points + PART - 1) // PART
    total = widths.sum()
    for part in prange(parts):
        activations = np.empty(total * BLOCK, np.float32)
        for begin in range(part * PART, min((part + 1) * PART, points), BLOCK):
            count = min(BLOCK, points - begin)
            _fetch(x, begin, count, activations)
            at = _run_layers(weights, widths, activations)
            _store(activations[at:], y.shape[0], y, begin, count)


@njit(parallel=True, fastmath=True, cache=True)
def backward(x, weights, widths, dy, dx, partial, want_x):
    """Gradients: dy (out, n) -> dx (in, n), written where wanted, and one weight gradient a part, (parts, weights)."""
    points = x.shape[1]
    parts = (points + PART - 1) // PART
    total = widths.sum()
    layers = widths.shape[0] - 1
    widest = widths.max()
    for part in prange(parts):
        activations = np.empty(total * BLOCK, np.float32)
        upper = np.empty(widest * BLOCK, np.float32)
        lower = np.empty(widest * BLOCK, np.float32)
        gradient = np.zeros(weights.shape[0], np.float32)
        for begin in range(part * PART, min((part + 1) * PART, points), BLOCK):
            count = min(BLOCK, points - begin)
            _fetch(x, begin, count, activations)
            x_at = _run_layers(weights, widths, activations)
            _fetch(dy, begin, count, upper)
            w_at = weights.shape[0]
            for layer in range(layers - 1, -1, -1):
                inner, rows = widths[layer], widths[layer + 1]
                w_at -= inner * rows
                x_at -= inner * BLOCK
                _accumulate(upper, 0, rows, activations, x_at, inner, gradient, w_at)
                if layer > 0:
                    _multiply(weights, w_at, 1, inner, inner, rows, upper, 0, lower, 0)
                    hidden = activations[x_at : x_at + inner * BLOCK]
                    for i in range(hidden.shape[0]):
                        upper[i] = lower[i] if hidden[i] > 0 else np.float32(0)
                elif want_x:
                    _multiply(weights, w_at, 1, inner, inner, rows, upper, 0, lower, 0)
                    _store(lower, inner, dx, begin, count)
        partial[part] = gradient
