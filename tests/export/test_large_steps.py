import pytest
import torch

from nerf3d.export.large_steps import LargeSteps, mean_edge, turned_over, untangled
from nerf3d.kernels.contours import edges_of
from nerf3d.metrics.intersections import cut_faces


def grid(side: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """A flat square of side x side vertices, one apart."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    a = (y * side + x)[:-1, :-1].reshape(-1)
    faces = torch.cat([torch.stack([a, a + 1, a + side], 1), torch.stack([a + 1, a + side + 1, a + side], 1)])
    return torch.stack([x, y, 0 * x], -1).reshape(-1, 3).float(), faces


def test_smoothing_solves_its_equation() -> None:
    x, faces = grid(4)
    edges = edges_of(faces)
    steps = LargeSteps(x, edges, smoothness=7.0)
    values = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    found = steps.smoothed(values)
    laplacian = torch.zeros(16, 16, dtype=torch.float64)
    for one, other in edges.ends.tolist():
        laplacian[one, one] += 1
        laplacian[other, other] += 1
        laplacian[one, other] -= 1
        laplacian[other, one] -= 1
    assert torch.allclose(found + 7 * laplacian @ found, values.double(), atol=1e-9)


def test_a_shift_is_carried_out_and_noise_is_not() -> None:
    x, faces = grid()
    noise = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0))
    shifted, shaken = (LargeSteps(x, edges_of(faces)) for _ in range(2))
    for _ in range(10):
        shifted.step(torch.ones_like(x), 0.1)
        shaken.step(noise, 0.1)
    assert torch.allclose(shifted.x, x - 10 * 0.1 / 3**0.5, atol=1e-4)  # a rate is the length of a step
    moved = shaken.x - x
    slope = (moved[1:] - moved[:-1]).norm(dim=1).mean()
    assert float(slope) < 0.3 * float(moved.norm(dim=1).mean())
    assert float((noise[1:] - noise[:-1]).norm(dim=1).mean()) > float(noise.norm(dim=1).mean())


def test_no_gradient_is_no_step() -> None:
    x, faces = grid(4)
    steps = LargeSteps(x, edges_of(faces))
    steps.step(torch.zeros_like(x), 0.1)
    assert torch.equal(steps.x, x)


def test_one_vertex_pulled_through_the_surface_goes_back_alone() -> None:
    x, faces = grid()
    after = x + torch.tensor([0.0, 0.0, 0.5])
    after[40] += torch.tensor([2.5, 0.0, 0.0])
    assert bool(turned_over(x, after, faces).any())
    mended = untangled(x, after, faces, cut_faces)
    assert not bool(turned_over(x, mended, faces).any())
    assert not bool(cut_faces(mended, faces).any())
    assert float(mended[0, 2]) == 0.5
    assert torch.equal(untangled(x, after - 9, faces[:0], cut_faces), after - 9)


def test_sheets_that_would_cut_each_other() -> None:
    x, faces = grid(5)
    two = torch.cat([x, x + torch.tensor([0.0, 0.0, 1.0])])
    both = torch.cat([faces, faces + len(x)])
    after = two.clone()
    after[12, 2] = 1.7
    after[0, 2] = -0.3
    assert bool(cut_faces(after, both).any())
    mended = untangled(two, after, both, cut_faces)
    assert not bool(cut_faces(mended, both).any())
    assert 0.2 < float(mended[12, 2]) < 1.0
    assert float(mended[0, 2]) == pytest.approx(-0.3)
    # what was wrong before is nobody's fault, and stays
    assert torch.equal(untangled(after, after + 1, both, cut_faces), after + 1)


def test_mean_edge() -> None:
    x, faces = grid(2)
    assert mean_edge(x, edges_of(faces)) == pytest.approx((4 + 2**0.5) / 5)
