"""Every kernel on inputs as they come up in a training step, and what it costs at least."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bench_costs as costs
import torch
from bench_costs import Cost
from bench_scene import CELLS, FIELD, HALF, LAYOUT, Bench
from bench_timing import Work
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.fields.encodings import SPHERICAL_HARMONICS
from nerf3d.kernels.adam import adam
from nerf3d.kernels.composite import composite
from nerf3d.kernels.hash_grid import hash_encode
from nerf3d.kernels.march import Marched, march, still_lit
from nerf3d.kernels.mlp import mlp
from nerf3d.kernels.raster import rasterize
from nerf3d.kernels.rows import gather

DENSITY = (LAYOUT.width, FIELD.width, FIELD.geometry_features)
COLOR = (FIELD.geometry_features + SPHERICAL_HARMONICS, FIELD.width, FIELD.width, 3)
"""Widths of the field's two networks."""
PLANES, EACH = (3 * 64 * 64, 16), 4
"""Three planes of 64 x 64 with 16 features, of which a lookup blends four rows."""


@dataclass(frozen=True)
class Operation:
    """One pass of one kernel: "forward", or "both" for forward and backward."""

    name: str
    size: str
    passes: str
    work: Work
    cost: Cost


def operations(bench: Bench) -> Iterator[Operation]:
    """One after the other; what they share is made once."""
    rng, device = torch.Generator().manual_seed(1), bench.device
    walked = _walk(bench)
    count, rays = len(walked.start), len(bench.rays)
    samples = Samples(walked.start, walked.end, walked.ray, walked.offsets)
    size, lines = f"{count} samples", f"{rays} rays"

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng).to(device)

    def features(width: int) -> Tensor:
        """Feature-major, as the kernels hand them on."""
        return random(width, count).t().requires_grad_()

    yield Operation("march", lines, "forward", lambda: _walk(bench), costs.march(count, rays, CELLS**3))

    density, dark = random(count), torch.zeros(rays, device=device)
    lit = costs.still_lit(count, rays)
    yield Operation("light left", size, "forward", lambda: still_lit(density, walked, dark, 1e-3), lit)

    x = ((walked.middle + HALF) / (2 * HALF)).contiguous()
    table = random(LAYOUT.entries, LAYOUT.features).requires_grad_()
    pair = costs.encode(count, LAYOUT), costs.encode_both(count, LAYOUT)
    yield from _both("hash encoding", size, lambda: (hash_encode(x, table, LAYOUT),), [table], pair)

    for name, widths in (("density network", DENSITY), ("color network", COLOR)):
        inputs, weights = features(widths[0]), _weights(widths, random)
        pair = costs.network(count, widths), costs.network_both(count, widths)

        def applied(inputs: Tensor = inputs, weights: list[Tensor] = weights) -> tuple[Tensor, ...]:
            return (mlp(inputs, weights),)

        yield from _both(f"{name} {'-'.join(map(str, widths))}", size, applied, [inputs, *weights], pair)

    thin, color = random(count).requires_grad_(), features(3)
    pair = costs.composite(count, rays, 3), costs.composite_both(count, rays, 3)
    yield from _both("compositing", size, lambda: composite(thin, color, samples, 1e-4)[1:3], [thin, color], pair)

    planes, weight = random(*PLANES).requires_grad_(), random(3 * count // 8, EACH)
    index = torch.randint(PLANES[0], weight.shape, generator=rng).to(device)
    pair = costs.rows(len(index), EACH, PLANES), costs.rows_both(len(index), EACH, PLANES)
    yield from _both("rows of planes", f"{len(index)} sums", lambda: (gather(planes, index, weight),), [planes], pair)

    place, faces, side = *_dome(device), 512
    drawn = costs.rasterize(len(place), len(faces), side * side)
    yield Operation(
        "rasterisation", f"{len(faces)} faces", "forward", lambda: rasterize(place, faces, side, side), drawn
    )

    state = [random(LAYOUT.entries, LAYOUT.features) for _ in range(4)]

    def moved() -> None:
        parameter, gradient, mean, square = state
        adam(parameter, gradient, mean, square, 1, 0.0, (0.9, 0.99), 1e-15)

    yield Operation("Adam", f"{state[0].numel()} numbers", "forward", moved, costs.adam(state[0].numel()))


def step_costs(samples: int, rays: int) -> list[Cost]:
    """What a whole training step consists of. The sampler asks for densities without gradients; then all of it again with
    them. Its encodings of directions and activations are not counted, so the sum is a little less than the least."""
    parameters = LAYOUT.entries * LAYOUT.features
    parameters += sum(i * o for widths in (DENSITY, COLOR) for i, o in zip(widths, widths[1:]))
    sampling = [costs.march(samples, rays, CELLS**3), costs.encode(samples, LAYOUT), costs.network(samples, DENSITY)]
    learning = [costs.encode_both(samples, LAYOUT), costs.network_both(samples, DENSITY)]
    learning += [costs.network_both(samples, COLOR), costs.composite_both(samples, rays, 3), costs.adam(parameters)]
    return [*sampling, costs.still_lit(samples, rays), *learning]


def _both(
    name: str, size: str, function: Callable[[], tuple[Tensor, ...]], inputs: list[Tensor], cost: tuple[Cost, Cost]
) -> Iterator[Operation]:
    """The forward pass alone, without a graph, and with the backward pass of random gradients laid out as the outputs."""
    with torch.no_grad():
        given = [torch.randn_like(out) for out in function()]

    def forward() -> None:
        with torch.no_grad():
            function()

    yield Operation(name, size, "forward", forward, cost[0])
    yield Operation(name, size, "both", lambda: torch.autograd.grad(function(), inputs, given), cost[1])


def _walk(bench: Bench) -> Marched:
    rays, device = len(bench.rays), bench.device
    first = torch.zeros(rays, dtype=torch.int64, device=device)
    last, jitter = torch.full_like(first, 500), torch.full((rays,), 0.5, device=device)
    sampler, origin, direction = bench.sampler, bench.rays.origin, bench.rays.direction
    return march(origin, direction, jitter, first, last, 1000, sampler.clear, sampler.space, sampler.lattice)


def _weights(widths: tuple[int, ...], random: Callable[..., Tensor]) -> list[Tensor]:
    return [((random(o, i) - 0.5) / i**0.5).requires_grad_() for i, o in zip(widths, widths[1:])]


def _dome(device: torch.device) -> tuple[Tensor, Tensor]:
    """A bulging lattice of 20,000 triangles that fills a picture of 512 pixels."""
    side = 100
    y, x = torch.meshgrid(*[torch.linspace(0, 1, side + 1)] * 2, indexing="ij")
    place = torch.stack([512 * x, 512 * y, 2 + (x - 0.5) ** 2 + (y - 0.5) ** 2], -1).reshape(-1, 3)
    corner = (torch.arange(side)[:, None] * (side + 1) + torch.arange(side)).reshape(-1, 1)
    faces = torch.cat([corner + torch.tensor([0, 1, side + 1]), corner + torch.tensor([1, side + 2, side + 1])])
    return place.to(device), faces.to(device)
