"""What every version of a kernel is tried on, and how two of them are compared."""

from collections.abc import Callable

import torch
from kernel_versions import at_home
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.kernels.backend import triton_interpreted, using
from nerf3d.kernels.composite import composite
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.mlp import mlp
from nerf3d.kernels.rows import gather

Case = tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]


def points_inside(layout: GridLayout, count: int, rng: torch.Generator) -> Tensor:
    """Points away from cell borders, where rounding decides on which side they lie and the gradient jumps."""
    x = torch.rand(4 * count, 3, generator=rng)
    fraction = (x[:, :, None] * torch.tensor(layout.scales) + 0.5) % 1
    inside = ((fraction > 0.01) & (fraction < 0.99)).all(-1).all(-1)
    return x[inside][:count].contiguous()


def _packed(rays: int, rng: torch.Generator) -> Samples:
    counts = torch.randint(0, 40, (rays,), generator=rng)
    counts[0] = 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    total = int(offsets[-1])
    ray = torch.arange(rays).repeat_interleave(counts)
    start = torch.rand(total, generator=rng) + torch.arange(total)
    return Samples(start, start + torch.rand(total, generator=rng), ray, offsets)


def _moved(samples: Samples, device: torch.device) -> Samples:
    return Samples(*(t.to(device) for t in (samples.start, samples.end, samples.ray, samples.offsets)))


def _grid(layout: GridLayout) -> Case:
    rng = torch.Generator().manual_seed(1)
    table = torch.randn(layout.entries, layout.features, generator=rng)
    return lambda x, t: (hash_encode(x, t, layout),), [points_inside(layout, 300, rng), table]


def _network(widths: tuple[int, ...], points: int) -> Case:
    rng = torch.Generator().manual_seed(2)
    weights = [torch.randn(o, i, generator=rng) / i**0.5 for i, o in zip(widths, widths[1:])]
    return lambda x, *w: (mlp(x, list(w)),), [torch.randn(points, widths[0], generator=rng), *weights]


def _compositing(stop: float, channels: int) -> Case:
    rng = torch.Generator().manual_seed(3)
    samples = _packed(40 if triton_interpreted() else 300, rng)  # a ray takes it 20 ms
    density = torch.rand(len(samples), generator=rng) * 2
    color = torch.rand(len(samples), channels, generator=rng)
    return lambda s, c: composite(s, c, _moved(samples, s.device), stop), [density, color]


def _rows(channels: int, sums: int) -> Case:
    """A gather, whose derivatives are the scatter and the products."""
    rng = torch.Generator().manual_seed(8)
    index = torch.randint(50, (sums, 4), generator=rng)
    table, weight = torch.randn(50, channels, generator=rng), torch.rand(sums, 4, generator=rng)
    return lambda t, w: (gather(t, index.to(t.device), w),), [table, weight]


CASES: dict[str, Callable[[], Case]] = {
    "grid, dense and hashed levels": lambda: _grid(GridLayout(4, 2, 12, 4, 64)),
    "grid, four features": lambda: _grid(GridLayout(3, 4, 10, 8, 100)),
    "grid, one level": lambda: _grid(GridLayout(1, 1, 10, 8, 8)),
    "network 32-64-16": lambda: _network((32, 64, 16), 5000),
    "network 31-64-64-3": lambda: _network((31, 64, 64, 3), 2049),
    "network of odd widths": lambda: _network((5, 7, 9, 2), 130),
    "network of one layer, one point": lambda: _network((6, 5), 1),
    "rows of a table": lambda: _rows(16, 3000),
    "rows of an odd table": lambda: _rows(3, 513),
    "compositing": lambda: _compositing(0.0, 3),
    "compositing, early termination": lambda: _compositing(0.05, 5),
}


def projected(outputs: tuple[Tensor, ...], seed: int) -> Tensor:
    """A fixed random projection of the outputs to one number."""
    rng = torch.Generator().manual_seed(seed)
    scalar = sum((o * torch.randn(o.shape, generator=rng).to(o)).sum() for o in outputs)
    assert isinstance(scalar, Tensor)
    return scalar


def evaluate(version: str, function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> list[Tensor]:
    """One version's outputs, and the gradients of a projection of them."""
    with using(version):  # type: ignore[arg-type]
        inputs = [t.clone().requires_grad_() for t in at_home(version, *inputs)]
        outputs = function(*inputs)
        found = [*outputs, *torch.autograd.grad(projected(outputs, 4), inputs)]
    return [t.detach().cpu() for t in found]


def same(a: Tensor, b: Tensor, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-6)
