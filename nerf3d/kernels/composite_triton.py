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
def _ask(dweights, color, start, end, i, c, inside, row, d_opacity, d_distance, color_point, color_channel,
         CHANNELS: tl.constexpr):  # fmt: skip
    """g_i = dL/dweight_i, all that depends on a weight: itself, and its share in color, opacity and distance."""
    middle = 0.5 * (tl.load(start + i, mask=inside, other=0.0) + tl.load(end + i, mask=inside, other=0.0))
    place = color + i[:, None] * color_point + c[None, :] * color_channel
    shade = tl.load(place, mask=inside[:, None] & (c < CHANNELS)[None, :], other=0.0)
    own = tl.load(dweights + i, mask=inside, other=0.0)
    return own + d_opacity + d_distance * middle + tl.sum(row[None, :] * shade, 1)


@triton.jit
def _forward(
    density, color, start, end, offsets, weights, total, opacity, distance, stop, rays,
    color_point, color_channel, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, PADDED)
    at, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    depth = tl.full((), 0.0, tl.float32)
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


@triton.jit
def _backward(
    density, color, start, end, offsets, weights, dweights, dtotal, dopacity, ddistance, ddensity, dcolor, stop,
    color_point, color_channel, dtotal_ray, dtotal_channel, dcolor_point, dcolor_channel,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dL/ds_i = width_i (g_i T_{i+1} - sum_{j>i} g_j weight_j): once along the ray for the whole sum, once for the rest."""
    ray = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, PADDED)
    begin, last = tl.load(offsets + ray), tl.load(offsets + ray + 1)
    row = tl.load(dtotal + ray * dtotal_ray + c * dtotal_channel, mask=c < CHANNELS, other=0.0)
    d_opacity, d_distance = tl.load(dopacity + ray), tl.load(ddistance + ray)
    behind = tl.full((), 0.0, tl.float32)
    depth = tl.full((), 0.0, tl.float32)
    at = begin
    while (at < last) & (tl.exp(-depth) >= stop):
        i = at + tl.arange(0, BLOCK)
        inside = i < last
        near, far, depth = _light(density, start, end, i, at, last, depth)
        w = tl.load(weights + i, mask=inside, other=0.0)
        g = _ask(
            dweights, color, start, end, i, c, inside, row, d_opacity, d_distance, color_point, color_channel, CHANNELS
        )
        behind += tl.sum(g * w, 0)
        place = dcolor + i[:, None] * dcolor_point + c[None, :] * dcolor_channel
        tl.store(place, w[:, None] * row[None, :], mask=inside[:, None] & (c < CHANNELS)[None, :])
        at += BLOCK
    depth = tl.full((), 0.0, tl.float32)
    at = begin
    while (at < last) & (tl.exp(-depth) >= stop):
        i = at + tl.arange(0, BLOCK)
        inside = i < last
        near, far, depth = _light(density, start, end, i, at, last, depth)
        w = tl.load(weights + i, mask=inside, other=0.0)
        g = _ask(
            dweights, color, start, end, i, c, inside, row, d_opacity, d_distance, color_point, color_channel, CHANNELS
        )
        width = tl.load(end + i, mask=inside, other=0.0) - tl.load(start + i, mask=inside, other=0.0)
        slope = width * (g * far - (behind - tl.cumsum(g * w, 0)))
        tl.store(ddensity + i, tl.where(near >= stop, slope, 0.0), mask=inside)
        behind -= tl.sum(g * w, 0)
        at += BLOCK


def forward(density: Tensor, color: Tensor, samples: Samples, stop: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights, color, opacity and distance. What no program reaches has weight 0."""
    rays, channels = samples.offsets.shape[0] - 1, color.shape[1]
    weights = torch.zeros_like(density, memory_format=torch.contiguous_format)
    total = density.new_empty(channels, rays)
    opacity, distance = density.new_empty(rays), density.new_empty(rays)
    inputs = (density.detach().contiguous(), color.detach(), *_along(samples))
    outputs = (weights, total, opacity, distance)
    launch(_forward, (rays,), *inputs, *outputs, stop, rays, *color.stride(), **_sizes(channels))
    return weights, total.t(), opacity, distance


def backward(
    density: Tensor, color: Tensor, samples: Samples, stop: float, weights: Tensor, *gradients: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of density and color, from those of the four outputs."""
    dweights, dtotal, dopacity, ddistance = gradients
    ddensity = torch.zeros_like(density, memory_format=torch.contiguous_format)
    dcolor = torch.zeros_like(color)
    inputs = (density.contiguous(), color, *_along(samples), weights, dweights.contiguous(), dtotal)
    outputs = (dopacity.contiguous(), ddistance.contiguous(), ddensity, dcolor)
    strides = (*color.stride(), *dtotal.stride(), *dcolor.stride())
    launch(_backward, (dopacity.shape[0],), *inputs, *outputs, stop, *strides, **_sizes(color.shape[1]))
    return ddensity, dcolor


def _along(samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
    return samples.start.contiguous(), samples.end.contiguous(), samples.offsets.contiguous()


def _sizes(channels: int) -> dict[str, int]:
    return {"CHANNELS": channels, "PADDED": padded(channels), "BLOCK": BLOCK, "num_warps": 1}
