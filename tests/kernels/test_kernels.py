"""Every kernel equals its plain torch reference, forward and backward, and does not depend on the number of threads.

Triton's versions run on a GPU, or without one in Triton's interpreter: TRITON_INTERPRET=1 pytest tests/kernels
"""

from collections.abc import Callable

import numba
import pytest
import torch
from kernel_versions import ALL, FAST, TRITON, at_home, home
from torch import Tensor

from nerf3d.core import Samples
from nerf3d.kernels.adam import adam
from nerf3d.kernels.backend import triton_interpreted, using
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


def _moved(samples: Samples, device: torch.device) -> Samples:
    return Samples(*(t.to(device) for t in (samples.start, samples.end, samples.ray, samples.offsets)))


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


def _projected(outputs: tuple[Tensor, ...], seed: int) -> Tensor:
    """A fixed random projection of the outputs to one number."""
    rng = torch.Generator().manual_seed(seed)
    scalar = sum((o * torch.randn(o.shape, generator=rng).to(o)).sum() for o in outputs)
    assert isinstance(scalar, Tensor)
    return scalar


def _evaluate(version: str, function: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> list[Tensor]:
    """One version's outputs, and the gradients of a projection of them."""
    with using(version):  # type: ignore[arg-type]
        inputs = [t.clone().requires_grad_() for t in at_home(version, *inputs)]
        outputs = function(*inputs)
        found = [*outputs, *torch.autograd.grad(_projected(outputs, 4), inputs)]
    return [t.detach().cpu() for t in found]


def _same(a: Tensor, b: Tensor, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", FAST)
def test_equals_reference(name: str, version: str) -> None:
    function, inputs = CASES[name]()
    fast, plain = (_evaluate(v, function, inputs) for v in (version, "torch"))
    exact = _evaluate("torch", function, [t.double() for t in inputs]) if "compositing" not in name else plain
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
            results.append(_evaluate("numba", function, inputs))
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(torch_before)
    for a, b in zip(results[0], results[-1], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", [name for name in CASES if "one point" not in name])
@pytest.mark.parametrize("version", FAST)
def test_second_derivative_equals_reference(name: str, version: str) -> None:
    """Gradients of a gradient: what analytic normals and an eikonal term need."""
    function, inputs = CASES[name]()

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(_projected(function(*tensors), 5), tensors, create_graph=True)

    fast, plain = (_evaluate(v, gradients, inputs) for v in (version, "torch"))
    for a, b in zip(fast, plain, strict=True):
        _same(a, b, 2e-5)


@pytest.mark.parametrize("version", FAST)
def test_second_derivative_with_respect_to_the_incoming_gradient(version: str) -> None:
    """d/dg of the position's gradient is the directional derivative of the encoding."""
    layout = GridLayout(3, 2, 12, 4, 32)
    rng = torch.Generator().manual_seed(6)
    x, table = _points(layout, 50, rng), torch.randn(layout.entries, 2, generator=rng)
    v = torch.randn(50, 3, generator=rng)
    found = []
    for name in (version, "torch"):
        with using(name):  # type: ignore[arg-type]
            at, rows, along = at_home(name, x.clone(), table, v)
            at.requires_grad_()
            g = torch.ones(50, layout.width, device=home(name), requires_grad=True)
            (dx,) = torch.autograd.grad(hash_encode(at, rows, layout), at, g, create_graph=True)
            found.append(torch.autograd.grad((dx * along).sum(), g)[0].cpu())
    _same(found[0], found[1], 1e-5)
    small = 1e-4
    with using("torch"):
        ahead, behind = (hash_encode((x + s * v).double(), table.double(), layout) for s in (small, -small))
    near = ((ahead - behind) / (2 * small)).float()
    crossed = (found[0] - near).abs() > 0.05 * near.abs().max()
    assert crossed.float().mean() < 0.02  # a few points cross into the next cell


@pytest.mark.parametrize("version", ALL)
def test_encoding_by_hand(version: str) -> None:
    """One dense level of scale 3: x = 1/3 lies at 3/3 + 0.5 = 1.5, half way between corners 1 and 2 on each axis."""
    layout = GridLayout(1, 1, 10, 4, 4)
    stride = int(layout.strides[0])
    assert stride == 5
    table = torch.zeros(layout.entries, 1)
    table[1 + stride * (1 + stride * 1)] = 8.0
    with using(version):  # type: ignore[arg-type]
        x, rows = at_home(version, torch.full((1, 3), 1 / 3), table)
        assert float(hash_encode(x, rows, layout)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("version", [TRITON])
def test_a_table_in_half_precision_gathers_its_gradient_in_single(version: str) -> None:
    """A thousand points add a little to the same few entries: in half precision the sum would stop growing."""
    layout = GridLayout(2, 2, 10, 4, 8)
    rng = torch.Generator().manual_seed(9)
    x, table = _points(layout, 1000, rng), torch.randn(layout.entries, 2, generator=rng).half()
    found = []
    for name, kind in ((version, torch.float16), ("torch", torch.float32)):
        with using(name):  # type: ignore[arg-type]
            at, rows = at_home(name, x, table.to(kind))
            encoded = hash_encode(at, rows.requires_grad_(), layout)
            assert encoded.dtype == torch.float32
            (gradient,) = torch.autograd.grad(encoded.sum(), rows)
            found.append((encoded.detach().cpu(), gradient.cpu()))
    (fast, fast_gradient), (plain, plain_gradient) = found
    _same(fast, plain, 1e-5)
    assert fast_gradient.dtype == torch.float16
    _same(fast_gradient.float(), plain_gradient, 1e-3)


@pytest.mark.parametrize("version", FAST)
def test_encoding_survives_anything(version: str) -> None:
    """Points outside, infinite or undefined must not reach memory that is not the table's."""
    layout = GridLayout(2, 2, 10, 4, 16)
    table = torch.randn(layout.entries, 2, generator=torch.Generator().manual_seed(0))
    bad = torch.tensor([[torch.nan, 0.5, 2.0], [torch.inf, -torch.inf, 1e30], [-1e30, 1.0, 0.0]])
    with using(version):  # type: ignore[arg-type]
        assert bool(hash_encode(*at_home(version, bad, table), layout).isfinite().all())


@pytest.mark.parametrize("version", FAST)
def test_rows_survive_anything(version: str) -> None:
    """A row far outside, as a position that is not a number has one, reaches no memory that is not the table's."""
    index = torch.tensor([[torch.iinfo(torch.int64).min, 1], [0, torch.iinfo(torch.int64).max]])
    index, ones, table = at_home(version, index, torch.ones(2, 2), torch.tensor([[1.0], [2.0], [4.0]]))
    with using(version):  # type: ignore[arg-type]
        assert scatter(ones, index, ones, 3).tolist() == [[2.0, 2.0], [1.0, 1.0], [1.0, 1.0]]
        assert products(table, index, ones[:, :1]).tolist() == [[1.0, 2.0], [1.0, 4.0]]


@pytest.mark.parametrize("version", ALL)
def test_adam_is_torchs_where_every_gradient_is_nonzero(version: str) -> None:
    rng = torch.Generator().manual_seed(7)
    (ours,) = at_home(version, torch.randn(1000, generator=rng))
    theirs = ours.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99), eps=1e-15)
    mean, square = torch.zeros_like(ours), torch.zeros_like(ours)
    with using(version):  # type: ignore[arg-type]
        for step in range(1, 6):
            theirs.grad = torch.randn(1000, generator=rng).to(ours)
            adam(ours, theirs.grad, mean, square, step, 0.01, (0.9, 0.99), 1e-15)
            optimizer.step()
        _same(ours, theirs.detach(), 1e-5)
        before = ours.clone()
        adam(ours, torch.zeros_like(ours), mean, square, 6, 0.01, (0.9, 0.99), 1e-15)
    assert torch.equal(ours, before)
