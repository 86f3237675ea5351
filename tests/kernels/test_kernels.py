"""Every kernel equals its plain torch reference, forward and backward, and does not depend on the number of threads."""

from collections.abc import Callable

import numba
import pytest
import torch
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.kernels.adam import adam
from nerf3d.kernels.backend import using
from nerf3d.kernels.composite import composite
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.mlp import mlp
from nerf3d.kernels.rows import gather, products, scatter

Case = tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]


def _points(layout: GridLayout, count: int, rng: torch.Generator) -> Tensor:
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


def _grid(layout: GridLayout) -> Case:
    rng = torch.Generator().manual_seed(1)
    table = torch.randn(layout.entries, layout.features, generator=rng)
    return lambda x, t: (hash_encode(x, t, layout),), [_points(layout, 300, rng), table]


def _network(widths: tuple[int, ...], points: int) -> Case:
    rng = torch.Generator().manual_seed(2)
    weights = [torch.randn(o, i, generator=rng) / i**0.5 for i, o in zip(widths, widths[1:])]
    return lambda x, *w: (mlp(x, list(w)),), [torch.randn(points, widths[0], generator=rng), *weights]


def _compositing(stop: float, channels: int) -> Case:
    rng = torch.Generator().manual_seed(3)
    samples = _packed(300, rng)
    density = torch.rand(len(samples), generator=rng) * 2
    color = torch.rand(len(samples), channels, generator=rng)
    return lambda s, c: composite(s, c, samples, stop), [density, color]


def _rows(channels: int, sums: int) -> Case:
    """A gather, whose derivatives are the scatter and the products."""
    rng = torch.Generator().manual_seed(8)
    index = torch.randint(50, (sums, 4), generator=rng)
    table, weight = torch.randn(50, channels, generator=rng), torch.rand(sums, 4, generator=rng)
    return lambda t, w: (gather(t, index, w),), [table, weight]


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


def _evaluate(function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of a fixed random projection of them."""
    inputs = [t.clone().requires_grad_() for t in inputs]
    outputs = function(*inputs)
    rng = torch.Generator().manual_seed(4)
    scalar = sum((o * torch.randn(o.shape, generator=rng)).sum() for o in outputs)
    assert isinstance(scalar, Tensor)
    return [o.detach() for o in outputs] + list(torch.autograd.grad(scalar, inputs))


def _same(a: Tensor, b: Tensor, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_equals_reference(name: str) -> None:
    function, inputs = CASES[name]()
    with using("numba"):
        fast = _evaluate(function, inputs)
    with using("torch"):
        plain = _evaluate(function, inputs)
        exact = _evaluate(function, [t.double() for t in inputs]) if "compositing" not in name else plain
    for a, b, c in zip(fast, plain, exact, strict=True):
        _same(a, b, 1e-5)
        _same(a.double(), c.double(), 5e-5)  # and both are near what double precision says


@pytest.mark.parametrize("name", CASES)
def test_independent_of_threads(name: str) -> None:
    function, inputs = CASES[name]()
    before, torch_before = numba.get_num_threads(), torch.get_num_threads()
    if before == 1:
        pytest.skip("numba has one thread here, so there is nothing to compare")
    results = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            torch.set_num_threads(threads)
            with using("numba"):
                results.append(_evaluate(function, inputs))
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(torch_before)
    for a, b in zip(results[0], results[-1], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", [name for name in CASES if "one point" not in name])
def test_second_derivative_equals_reference(name: str) -> None:
    """Gradients of a gradient: what analytic normals and an eikonal term need."""
    function, inputs = CASES[name]()

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        rng = torch.Generator().manual_seed(5)
        scalar = sum((o * torch.randn(o.shape, generator=rng)).sum() for o in function(*tensors))
        assert isinstance(scalar, Tensor)
        return torch.autograd.grad(scalar, tensors, create_graph=True)

    with using("numba"):
        fast = _evaluate(gradients, inputs)
    with using("torch"):
        plain = _evaluate(gradients, inputs)
    for a, b in zip(fast, plain, strict=True):
        _same(a, b, 2e-5)


def test_second_derivative_with_respect_to_the_incoming_gradient() -> None:
    """d/dg of the position's gradient is the directional derivative of the encoding."""
    layout = GridLayout(3, 2, 12, 4, 32)
    rng = torch.Generator().manual_seed(6)
    x, table = _points(layout, 50, rng), torch.randn(layout.entries, 2, generator=rng)
    v = torch.randn(50, 3, generator=rng)
    found = []
    for name in ("numba", "torch"):
        with using(name):  # type: ignore[arg-type]
            at = x.clone().requires_grad_()
            g = torch.ones(50, layout.width, requires_grad=True)
            (dx,) = torch.autograd.grad(hash_encode(at, table, layout), at, g, create_graph=True)
            found.append(torch.autograd.grad((dx * v).sum(), g)[0])
    _same(found[0], found[1], 1e-5)
    small = 1e-4
    with using("torch"):
        ahead, behind = (hash_encode((x + s * v).double(), table.double(), layout) for s in (small, -small))
    near = ((ahead - behind) / (2 * small)).float()
    crossed = (found[0] - near).abs() > 0.05 * near.abs().max()
    assert crossed.float().mean() < 0.02  # a few points cross into the next cell


def test_encoding_by_hand() -> None:
    """One dense level of scale 3: x = 1/3 lies at 3/3 + 0.5 = 1.5, half way between corners 1 and 2 on each axis."""
    layout = GridLayout(1, 1, 10, 4, 4)
    stride = int(layout.strides[0])
    assert stride == 5
    table = torch.zeros(layout.entries, 1)
    table[1 + stride * (1 + stride * 1)] = 8.0
    for name in ("numba", "torch"):
        with using(name):  # type: ignore[arg-type]
            assert float(hash_encode(torch.full((1, 3), 1 / 3), table, layout)) == pytest.approx(1.0, abs=1e-5)


def test_encoding_survives_anything() -> None:
    """Points outside, infinite or undefined must not reach memory that is not the table's."""
    layout = GridLayout(2, 2, 10, 4, 16)
    table = torch.randn(layout.entries, 2, generator=torch.Generator().manual_seed(0))
    bad = torch.tensor([[torch.nan, 0.5, 2.0], [torch.inf, -torch.inf, 1e30], [-1e30, 1.0, 0.0]])
    with using("numba"):
        assert bool(hash_encode(bad, table, layout).isfinite().all())


def test_rows_survive_anything() -> None:
    """A row far outside, as a position that is not a number has one, reaches no memory that is not the table's."""
    index = torch.tensor([[torch.iinfo(torch.int64).min, 1], [0, torch.iinfo(torch.int64).max]])
    with using("numba"):
        assert scatter(torch.ones(2, 2), index, torch.ones(2, 2), 3).tolist() == [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]
        found = products(torch.tensor([[1.0], [2.0], [4.0]]), index, torch.ones(2, 1))
        assert found.tolist() == [[1.0, 2.0], [1.0, 4.0]]


@pytest.mark.parametrize("name", ["numba", "torch"])
def test_adam_is_torchs_where_every_gradient_is_nonzero(name: str) -> None:
    rng = torch.Generator().manual_seed(7)
    ours = torch.randn(1000, generator=rng)
    theirs = ours.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99), eps=1e-15)
    mean, square = torch.zeros(1000), torch.zeros(1000)
    with using(name):  # type: ignore[arg-type]
        for step in range(1, 6):
            theirs.grad = torch.randn(1000, generator=rng)
            adam(ours, theirs.grad, mean, square, step, 0.01, (0.9, 0.99), 1e-15)
            optimizer.step()
        _same(ours, theirs.detach(), 1e-5)
        before = ours.clone()
        adam(ours, torch.zeros(1000), mean, square, 6, 0.01, (0.9, 0.99), 1e-15)
    assert torch.equal(ours, before)
