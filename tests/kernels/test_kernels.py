"""Every kernel equals its plain torch reference, forward and backward, and does not depend on the number of threads.

Triton's versions run on a GPU, or without one in Triton's interpreter: TRITON_INTERPRET=1 pytest tests/kernels
"""

import numba
import pytest
import torch
from kernel_cases import CASES, evaluate, points_inside, projected, same
from kernel_versions import ALL, FAST, TRITON, at_home, home
from torch import Tensor

from nerf3d.kernels.adam import adam
from nerf3d.kernels.backend import using
from nerf3d.kernels.hash_grid import GridLayout, hash_encode
from nerf3d.kernels.rows import products, scatter


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", FAST)
def test_equals_reference(name: str, version: str) -> None:
    function, inputs = CASES[name]()
    fast, plain = (evaluate(v, function, inputs) for v in (version, "torch"))
    exact = evaluate("torch", function, [t.double() for t in inputs]) if "compositing" not in name else plain
    for a, b, c in zip(fast, plain, exact, strict=True):
        same(a, b, 1e-5)
        same(a.double(), c.double(), 5e-5)  # and both are near what double precision says


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
            results.append(evaluate("numba", function, inputs))
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
        return torch.autograd.grad(projected(function(*tensors), 5), tensors, create_graph=True)

    fast, plain = (evaluate(v, gradients, inputs) for v in (version, "torch"))
    for a, b in zip(fast, plain, strict=True):
        same(a, b, 2e-5)


@pytest.mark.parametrize("version", FAST)
def test_second_derivative_with_respect_to_the_incoming_gradient(version: str) -> None:
    """d/dg of the position's gradient is the directional derivative of the encoding."""
    layout = GridLayout(3, 2, 12, 4, 32)
    rng = torch.Generator().manual_seed(6)
    x, table = points_inside(layout, 50, rng), torch.randn(layout.entries, 2, generator=rng)
    v = torch.randn(50, 3, generator=rng)
    found = []
    for name in (version, "torch"):
        with using(name):  # type: ignore[arg-type]
            at, rows, along = at_home(name, x.clone(), table, v)
            at.requires_grad_()
            g = torch.ones(50, layout.width, device=home(name), requires_grad=True)
            (dx,) = torch.autograd.grad(hash_encode(at, rows, layout), at, g, create_graph=True)
            found.append(torch.autograd.grad((dx * along).sum(), g)[0].cpu())
    same(found[0], found[1], 1e-5)
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
    x, table = points_inside(layout, 1000, rng), torch.randn(layout.entries, 2, generator=rng).half()
    found = []
    for name, kind in ((version, torch.float16), ("torch", torch.float32)):
        with using(name):  # type: ignore[arg-type]
            at, rows = at_home(name, x, table.to(kind))
            encoded = hash_encode(at, rows.requires_grad_(), layout)
            assert encoded.dtype == torch.float32
            (gradient,) = torch.autograd.grad(encoded.sum(), rows)
            found.append((encoded.detach().cpu(), gradient.cpu()))
    (fast, fast_gradient), (plain, plain_gradient) = found
    same(fast, plain, 1e-5)
    assert fast_gradient.dtype == torch.float16
    same(fast_gradient.float(), plain_gradient, 1e-3)


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
        same(ours, theirs.detach(), 1e-5)
        before = ours.clone()
        adam(ours, torch.zeros_like(ours), mean, square, 6, 0.01, (0.9, 0.99), 1e-15)
    assert torch.equal(ours, before)
