import pytest
import torch

from nerf3d.core.cameras import Cameras, look_at
from nerf3d.kernels.raster import corner_weights, interpolate, rasterize, rasterize_reference


def soup(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random triangles in and around a picture of 40 x 30 pixels, some of them behind the camera."""
    rng = torch.Generator().manual_seed(seed)
    middle = torch.rand(count, 1, 3, generator=rng) * torch.tensor([60.0, 50.0, 4.0]) - torch.tensor([10.0, 10.0, 0.2])
    spread = torch.tensor([8.0, 8.0, 0.5])
    place = (middle + spread * torch.randn(count, 3, 3, generator=rng)).reshape(-1, 3)
    return place, torch.arange(3 * count).reshape(-1, 3)


def brute_force(place: torch.Tensor, faces: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every pixel's ray against every triangle in space: Möller and Trumbore's test."""
    owner, depth = torch.full((height, width), -1), torch.full((height, width), torch.inf, dtype=torch.float64)
    # A camera of focal length 1 whose pixel positions are the places: x y z = (x z, y z, z).
    world = place.double()
    world = torch.cat([world[:, :2] * world[:, 2:], world[:, 2:]], 1)
    for y in range(height):
        for x in range(width):
            d = torch.tensor([x + 0.5, y + 0.5, 1.0], dtype=torch.float64)
            for f, (i, j, k) in enumerate(faces.tolist()):
                a, b, c = world[i], world[j], world[k]
                if min(a[2], b[2], c[2]) <= 0:
                    continue
                solved = torch.linalg.solve(torch.stack([b - a, c - a, -d], 1), -a)
                u, v, distance = solved.tolist()
                if u >= 0 and v >= 0 and u + v <= 1 and distance < float(depth[y, x]):
                    owner[y, x], depth[y, x] = f, distance
    return owner, depth


def test_the_reference_finds_what_rays_hit() -> None:
    place, faces = soup(12, 1)
    found = rasterize_reference(place, faces, 10, 12)
    owner, depth = brute_force(place, faces, 10, 12)
    assert (owner >= 0).float().mean() > 0.2
    assert torch.equal(found.face, owner)
    assert torch.allclose(found.depth.double(), depth, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 40, 400])
def test_numba_agrees_with_the_reference(count: int) -> None:
    place, faces = soup(count, count)
    fast, slow = rasterize(place, faces, 30, 40), rasterize_reference(place, faces, 30, 40)
    assert torch.equal(fast.face, slow.face)
    assert torch.allclose(fast.weight, slow.weight, atol=1e-5)
    assert torch.equal(fast.depth.isinf(), slow.depth.isinf())
    assert torch.allclose(fast.depth.nan_to_num(posinf=0), slow.depth.nan_to_num(posinf=0), rtol=1e-5)


def test_many_portions_are_as_good_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    place, faces = soup(60, 5)
    whole = rasterize_reference(place, faces, 30, 40)
    monkeypatch.setattr("nerf3d.kernels.raster.CANDIDATES", 100)
    assert torch.equal(rasterize_reference(place, faces, 30, 40).face, whole.face)


def test_attributes_are_interpolated_in_perspective() -> None:
    """A slanted square: what is read off is the position in space, which the camera projects to the pixel's own centre."""
    world = torch.tensor([[-1.0, -0.4, -1.0], [1.0, 0.6, -1.0], [1.0, 0.6, 1.0], [-1.0, -0.4, 1.0]])
    eye, zero, up = torch.tensor([0.3, -3.0, 0.5]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])
    cameras = Cameras.pinhole(look_at(eye, zero, up)[None], 60.0, 48, 40)
    pixel, z = cameras.project(torch.zeros(4, dtype=torch.int64), world)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    fragments = rasterize(torch.cat([pixel, z[:, None]], 1), faces, 40, 48)
    shown = fragments.face >= 0
    assert 200 < int(shown.sum()) < 40 * 48
    position = interpolate(fragments, faces, world)[shown]
    again, depth = cameras.project(torch.zeros(len(position), dtype=torch.int64), position)
    y, x = torch.nonzero(shown, as_tuple=True)
    assert torch.allclose(again, torch.stack([x, y], -1) + 0.5, atol=1e-3)
    assert torch.allclose(depth, fragments.depth[shown], rtol=1e-4)
    assert float(interpolate(fragments, faces, world)[~shown].abs().sum()) == 0


def test_two_triangles_leave_no_gap_and_no_overlap_between_them() -> None:
    rng = torch.Generator().manual_seed(2)
    for _ in range(20):
        a, b, c, d = (torch.rand(4, 2, generator=rng) * 0.4 + torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]])) * 20
        place = torch.cat([torch.stack([a, b, c, d]), torch.ones(4, 1)], 1)
        both = rasterize(place, torch.tensor([[0, 1, 2], [0, 2, 3]]), 30, 30).face >= 0
        each = [rasterize(place, torch.tensor([f]), 30, 30).face >= 0 for f in ([0, 1, 2], [0, 2, 3])]
        assert torch.equal(both, each[0] | each[1])
        inside = both[2:-2, 2:-2]
        rows = [torch.nonzero(row)[:, 0] for row in inside if bool(row.any())]
        assert all(int(r[-1] - r[0]) + 1 == len(r) for r in rows if len(r))


def test_weights_have_the_gradient_of_finite_differences() -> None:
    place = torch.tensor([[1.0, 1.3, 1.0], [9.0, 2.1, 1.7], [3.3, 10.0, 2.5], [11.0, 9.0, 0.8]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [1, 3, 2]])
    face = rasterize_reference(place, faces, 12, 12).face
    assert (face >= 0).any()
    place.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: corner_weights(p, faces, face), place)


def test_what_cannot_be_drawn_is_left_out() -> None:
    place = torch.tensor([[0.0, 0.0, 1.0], [8.0, 0.0, 1.0], [0.0, 8.0, -1.0], [4.0, 0.0, 1.0], [torch.nan, 0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    for fragments in (rasterize(place, faces, 8, 8), rasterize_reference(place, faces, 8, 8)):
        assert bool((fragments.face == -1).all())
    assert bool((rasterize(place, faces[:0], 8, 8).face == -1).all())
