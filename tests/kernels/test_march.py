"""Marching: the fast walk finds what the slow one finds; walks that stop go on where they stopped."""

from dataclasses import fields
from typing import TypeVar

import pytest
import torch
from kernel_versions import ALL, FAST, at_home, home
from torch import Tensor

from nerf3d.core import Box
from nerf3d.core.spaces import Contracted, Space
from nerf3d.kernels.backend import triton_interpreted, using
from nerf3d.kernels.march import Lattice, Marched, clearance, interleave, march, still_lit

T = TypeVar("T", Box, Contracted, Marched)
COARSE = 5 if triton_interpreted() else 1  # an interpreted step takes 10 ms
SPACES: dict[str, tuple[Space, Lattice, int]] = {
    "box": (
        Box(torch.tensor([-1.0, -1.5, -1.0]), torch.tensor([1.0, 1.0, 2.0])),
        Lattice(0.02 * COARSE),
        400 // COARSE,
    ),
    "contracted": (
        Contracted(Box.cube(1.0, (0.1, 0.0, -0.2))),
        *(Lattice(0.02 * COARSE), 80 if triton_interpreted() else 3000),
    ),
    "contracted, growing steps": (
        Contracted(Box.cube(1.0, (0.1, 0.0, -0.2))),
        *(Lattice(0.02 * COARSE, COARSE / 100), 70 if triton_interpreted() else 700),
    ),
}


def _rays(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    origin = torch.randn(count, 3, generator=rng) * 2
    direction = torch.nn.functional.normalize(0.5 * torch.randn(count, 3, generator=rng) - origin, dim=-1)
    direction[0], direction[1] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, -1.0])
    return origin, direction, torch.rand(count, generator=rng)


def _at_home(version: str, whole: T) -> T:
    """A copy of a dataclass of tensors (and of others) where a version's tensors lie."""
    parts = {f.name: getattr(whole, f.name) for f in fields(whole)}
    at = {n: p.to(home(version)) if isinstance(p, Tensor) else _at_home(version, p) for n, p in parts.items()}
    return type(whole)(**at)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("limit", [7, 5000])
@pytest.mark.parametrize("version", FAST)
def test_finds_what_the_slow_walk_finds(name: str, limit: int, version: str) -> None:
    space, lattice, last = SPACES[name]
    rng = torch.Generator().manual_seed(0)
    occupied = (torch.rand(16, 16, 16, generator=rng) < 0.03).to(torch.uint8)
    occupied[3:5, 3:9, 3:12] = 1
    clear = clearance(occupied)
    origin, direction, jitter = _rays(200, rng)
    begin, end = torch.randint(0, 20, (200,), generator=rng), torch.full((200,), last)
    end[5] = 0
    found = []
    for backend in (version, "torch"):
        with using(backend):  # type: ignore[arg-type]
            walk = at_home(backend, origin, direction, jitter, begin, end)
            marched = march(*walk, limit, *at_home(backend, clear), _at_home(backend, space), lattice)
            found.append(_at_home("torch", marched))
    fast, slow = found
    fast_count, slow_count = fast.offsets.diff(), slow.offsets.diff()
    assert int(slow_count.sum()) > 500 / COARSE
    same = fast_count == slow_count
    assert int((~same).sum()) <= 2  # a middle within rounding of a cell's border
    assert torch.equal(fast.next[same], slow.next[same])
    for attribute in ("start", "end"):
        a, b = getattr(fast, attribute)[same[fast.ray]], getattr(slow, attribute)[same[slow.ray]]
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    middle = origin[fast.ray] + (0.5 * (fast.start + fast.end))[:, None] * direction[fast.ray]
    torch.testing.assert_close(fast.middle, middle, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ALL)
def test_a_walk_goes_on_where_it_stopped(backend: str) -> None:
    space, lattice, last = SPACES["box"]
    space = _at_home(backend, space)
    rng = torch.Generator().manual_seed(1)
    occupied = (torch.rand(16, 16, 16, generator=rng) < 0.2).to(torch.uint8)
    origin, direction, jitter = _rays(100, rng)
    first, end = torch.zeros(100, dtype=torch.int64), torch.full((100,), last)
    occupied, origin, direction, jitter, first, end = at_home(backend, occupied, origin, direction, jitter, first, end)
    with using(backend):  # type: ignore[arg-type]
        clear = clearance(occupied)
        whole = march(origin, direction, jitter, first, end, 10_000, clear, space, lattice)
        parts, which, keep = [], [], []
        alive = torch.arange(100, device=first.device)
        while len(alive):
            part = march(
                origin[alive], direction[alive], jitter[alive], first[alive], end[alive], 12, clear, space, lattice
            )
            parts.append(part)
            which.append(alive)
            keep.append(torch.ones(len(part.start), dtype=torch.bool, device=first.device))
            first[alive] = part.next
            alive = alive[part.next < end[alive]]
        start, stop, ray, offsets = interleave(parts, which, keep, 100, first.device)
    assert torch.equal(offsets, whole.offsets)
    assert torch.equal(ray, whole.ray)
    torch.testing.assert_close(start, whole.start)
    torch.testing.assert_close(stop, whole.end)


@pytest.mark.parametrize("backend", ALL)
def test_clearance_is_the_chessboard_distance(backend: str) -> None:
    rng = torch.Generator().manual_seed(2)
    occupied = (torch.rand(9, 9, 9, generator=rng) < 0.01).to(torch.uint8)
    with using(backend):  # type: ignore[arg-type]
        clear = clearance(*at_home(backend, occupied)).cpu()
    cells = torch.cartesian_prod(*[torch.arange(9)] * 3)
    solid = occupied.nonzero()
    obvious = (cells[:, None] - solid).abs().amax(-1).amin(-1)
    assert torch.equal(clear.view(-1).long(), obvious)
    with using(backend):  # type: ignore[arg-type]
        (empty,) = at_home(backend, torch.zeros(4, 4, 4, dtype=torch.uint8))
        assert bool((clearance(empty) == 255).all())


@pytest.mark.parametrize("backend", ALL)
def test_light_runs_out(backend: str) -> None:
    """Optical depth ln 2 an interval: light 1, 1/2, 1/4 ... at their beginnings; the second ray had lost 3/4 before."""
    half = float(torch.log(torch.tensor(2.0)))
    edge = torch.arange(4.0)
    marched = Marched(
        torch.zeros(8, 3),
        torch.cat([edge, edge]),
        torch.cat([edge, edge]) + 1,
        torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
        torch.tensor([0, 4, 8]),
        torch.zeros(2, dtype=torch.int64),
    )
    with using(backend):  # type: ignore[arg-type]
        density, depth = at_home(backend, torch.full((8,), half), torch.tensor([0.0, 2 * half]))
        keep, after = still_lit(density, _at_home(backend, marched), depth, stop=0.2)
    assert keep.tolist() == [True, True, True, False, True, False, False, False]
    torch.testing.assert_close(after.cpu(), torch.tensor([4 * half, 6 * half]))


def test_warp_and_back() -> None:
    for lattice in (Lattice(0.1), Lattice(0.1, 0.02)):
        s = torch.linspace(0, 300, 50)
        torch.testing.assert_close(lattice.unwarp(lattice.warp(s)), s, rtol=1e-4, atol=1e-4)
        assert bool((lattice.warp(s).diff() > 0).all())
