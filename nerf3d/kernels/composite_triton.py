"""Compositing on a GPU: a program walks along one ray, a block of samples at a time, until its light is used up.

Within a block the optical depths are added up by a running sum; the depth before a sample is summed without the sample
itself rather than taken as a difference, which would lose all digits in front of something dense.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.kernels.launch_triton import launch, padded

BLOCK = 32
"""Samples of one ray that are looked at together: those of one warp."""


@triton.jit
def _light(density, start, end, i, at, last, depth):
    """The light that reaches each sample of the block that begins at `at`, what passes it, and the depth after them all."""
    inside = i < last
    amount = tl.load(density + i, mask=inside, other=0.0) * (
        tl.load(end + i, mask=inside, other=0.0) - tl.load(start + i, mask=inside, other=0.0)
    )
    ahead = inside & (i > at)
    earlier = tl.load(density + i - 1, mask=ahead, other=0.0) * (
        tl.load(end + i - 1, mask=ahead, other=0.0) - tl.load(start + i - 1, mask=ahead, other=0.0)
    )
    before = depth + tl.cumsum(earlier, 0)
    return tl.exp(-before), tl.exp(-(before + amount)), depth + tl.sum(amount, 0)


@triton.jit
def _forward(
    density, color, start, end, offsets, weights, total, opacity, distance, stop, rays,
    color_point, color_channel, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, PADDED)
    at, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    depth = at.to(tl.float32) * 0.0
    sum_opacity = depth
    sum_distance = depth
    sum_color = tl.zeros((PADDED,), tl.float32)
    while (at < last) & (tl.exp(-depth) >= stop):
        i = at + tl.arange(0, BLOCK)
        inside = i < last
        near, far, depth = _light(density, start, end, i, at, last, depth)
        w = tl.where(inside & (near >= stop), near - far, 0.0)
        middle = 0.5 * (tl.load(start + i, mask=inside, other=0.0) + tl.load(end + i, mask=inside, other=0.0))
        place = color + i[:, None] * color_point + c[None, :] * color_channel
        shade = tl.load(place, mask=inside[:, None] & (c < CHANNELS)[None, :], other=0.0)
        tl.store(weights + i, w, mask=inside)
        sum_opacity += tl.sum(w, 0)
        sum_distance += tl.sum(w * middle, 0)
        sum_color += tl.sum(w[:, None] * shade, 0)
        at += BLOCK
    tl.store(opacity + ray, sum_opacity)
    tl.store(distance + ray, sum_distance)
    tl.store(total + c.to(tl.int64) * rays + ray, sum_color, mask=c < CHANNELS)
