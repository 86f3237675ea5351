"""Small multilayer perceptrons on a GPU: a block of points goes through all layers before anything is written.

All layers' weights lie in one array (layers, WIDTH, WIDTH), padded with zeros to one power of two: what is padded stays zero
through every layer. The backward pass computes the hidden activations again, for each layer from the beginning, which is
cheap for the two or three hidden layers that such networks have.

Each program adds the weights' gradients of its blocks into an array of its own, and these are added up in order: no atomic
additions, and the same bits in every run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nerf3d.kernels.launch_triton import launch, padded, programs

BLOCK = 64
"""Points of one block."""
PROGRAMS = 512
"""Programs of the backward pass, at most."""
WIDEST = 64
"""Wider layers do not fit beside each other into what a multiprocessor shares; matrix libraries are good at those."""


@triton.jit
def _product(a, b):
    """Three products of rounded numbers, which tensor cores make, are as good as one in single precision."""
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
def _layer(weights, number, WIDTH: tl.constexpr):
    """One layer's matrix (out, in)."""
    i = tl.arange(0, WIDTH)
    return tl.load(weights + number * WIDTH * WIDTH + i[:, None] * WIDTH + i[None, :])


@triton.jit
def _hidden(h, weights, layers: tl.constexpr, WIDTH: tl.constexpr):
    """What comes out of the first hidden layers."""
    for number in tl.static_range(layers):
        h = tl.maximum(_product(h, tl.trans(_layer(weights, number, WIDTH))), 0.0)
    return h


@triton.jit
def _forward(
    x, weights, y, points, inputs, outputs, x_point, x_channel,
    LAYERS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, WIDTH).to(tl.int64)
    given = (p < points)[:, None] & (c < inputs)[None, :]
    h = tl.load(x + p[:, None] * x_point + c[None, :] * x_channel, mask=given, other=0.0)
    h = _hidden(h, weights, LAYERS - 1, WIDTH)
    h = _product(h, tl.trans(_layer(weights, LAYERS - 1, WIDTH)))
    tl.store(y + c[None, :] * points + p[:, None], h, mask=(p < points)[:, None] & (c < outputs)[None, :])


@triton.jit
def _backward(
    x, weights, dy, dx, partial, points, inputs, outputs, blocks, x_point, x_channel, dy_point, dy_channel,
    LAYERS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, WANT_X: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, WIDTH).to(tl.int64)
    own = partial + tl.program_id(0).to(tl.int64) * LAYERS * WIDTH * WIDTH + c[:, None] * WIDTH + c[None, :]
    for block in range(tl.program_id(0), blocks, tl.num_programs(0)):
        p = (block * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
        given = (p < points)[:, None] & (c < inputs)[None, :]
        asked = (p < points)[:, None] & (c < outputs)[None, :]
        first = tl.load(x + p[:, None] * x_point + c[None, :] * x_channel, mask=given, other=0.0)
        g = tl.load(dy + p[:, None] * dy_point + c[None, :] * dy_channel, mask=asked, other=0.0)
        for back in tl.static_range(LAYERS):
            h = _hidden(first, weights, LAYERS - 1 - back, WIDTH)
            place = own + (LAYERS - 1 - back) * WIDTH * WIDTH
            tl.store(place, tl.load(place) + _product(tl.trans(g), h))
            if back < LAYERS - 1:
                g = _product(g, _layer(weights, LAYERS - 1 - back, WIDTH))
                g = tl.where(h > 0.0, g, 0.0)
            elif WANT_X:
                g = _product(g, _layer(weights, 0, WIDTH))
                tl.store(dx + c[None, :] * points + p[:, None], g, mask=given)
        tl.debug_barrier()  # what this block has added is there before the next one adds to it


def fits(x: Tensor, weights: list[Tensor]) -> bool:
    """Whether the layers are narrow enough, and the device has the tensor cores for them (NVIDIA's from 8.0 on)."""
    if x.is_cuda and (torch.version.hip or torch.cuda.get_device_capability(x.device) < (8, 0)):
        return False
    return all(max(weight.shape) <= WIDEST for weight in weights)


def forward(x: Tensor, weights: list[Tensor]) -> Tensor:
    """y (n, out), feature-major."""
    points, (layers, width) = x.shape[0], _sizes(weights)
    y = x.new_empty(weights[-1].shape[0], points)
    numbers = (points, x.shape[1], y.shape[0], *x.stride())
    constants = {"LAYERS": layers, "WIDTH": width, "BLOCK": BLOCK}
    launch(_forward, (programs(points, BLOCK),), x.detach(), _stacked(weights, width), y, *numbers, **constants)
    return y.t()


def backward(x: Tensor, weights: list[Tensor], dy: Tensor, want_x: bool) -> tuple[Tensor | None, list[Tensor]]:
    """The gradients of x, where wanted, and of the weights."""
    points, (layers, width), blocks = x.shape[0], _sizes(weights), programs(x.shape[0], BLOCK)
    dx = x.new_empty(x.shape[1], points if want_x else 0)
    partial = x.new_zeros(min(blocks, PROGRAMS), layers, width, width)
    tensors = (x.detach(), _stacked(weights, width), dy.detach(), dx, partial)
    numbers = (points, x.shape[1], dy.shape[1], blocks, *x.stride(), *dy.stride())
    constants = {"LAYERS": layers, "WIDTH": width, "BLOCK": BLOCK}
    launch(_backward, (len(partial),), *tensors, *numbers, WANT_X=want_x, **constants)
    gradients = [total[: w.shape[0], : w.shape[1]] for total, w in zip(partial.sum(0), weights)]
    return dx.t() if want_x else None, gradients


def _sizes(weights: list[Tensor]) -> tuple[int, int]:
    """How many layers, and the one width that all are padded to."""
    return len(weights), padded(max(max(weight.shape) for weight in weights), least=16)


def _stacked(weights: list[Tensor], width: int) -> Tensor:
    stacked = weights[0].new_zeros(len(weights), width, width)
    for layer, weight in zip(stacked, weights):
        layer[: weight.shape[0], : weight.shape[1]] = weight.detach()
    return stacked
