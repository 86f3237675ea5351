"""Surfaces and atlases whose figures are known."""

import math

import numpy as np
import pytest
import torch
import trimesh

from nerf3d.errors import InputError
from nerf3d.metrics import asset
from nerf3d.metrics.asset import coverage, degenerate_faces, surface_error, texel_density, texture_health
from nerf3d.metrics.intersections import cut_faces


def box(low: list[float], high: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """A cuboid of twelve triangles that look outwards."""
    corner = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=torch.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return torch.tensor(low) + corner * (torch.tensor(high) - torch.tensor(low)), torch.tensor(faces)


def sphere(radius: float, detail: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(detail, radius)
    return torch.from_numpy(np.asarray(mesh.vertices)), torch.from_numpy(np.asarray(mesh.faces))


def together(*meshes: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    vertices, faces, begin = [], [], 0
    for v, f in meshes:
        vertices.append(v)
        faces.append(f + begin)
        begin += len(v)
    return torch.cat(vertices), torch.cat(faces)


def test_concentric_spheres_are_the_difference_of_their_radii_apart() -> None:
    found = surface_error(*sphere(1.1), *sphere(1.0))
    assert found.chamfer == pytest.approx(0.1, rel=0.01)
    assert found.chamfer_share == pytest.approx(0.1 / math.sqrt(12), rel=0.01)
    assert found.normal_consistency == pytest.approx(1.0, abs=2e-3)
    assert found.threshold == pytest.approx(0.01 * math.sqrt(12), rel=1e-3)
    assert found.f_score == 0.0


def test_a_surface_and_itself_are_no_farther_apart_than_samples_are() -> None:
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 2.0, 3.0])
    found = surface_error(vertices, faces, vertices, faces.flip(1))  # inside out is the same surface
    assert found.finest == pytest.approx(0.5 * math.sqrt(22 / 100_000))
    assert found.chamfer == pytest.approx(found.finest, rel=0.03)
    assert found.f_score == 1.0
    assert found.normal_consistency > 0.99
    assert surface_error(vertices, faces, vertices, faces.flip(1)) == found


def test_nothing_is_aligned_and_half_of_the_surface_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two squares the right one is 1 above the truth, the left one is the truth."""
    monkeypatch.setattr(asset, "SAMPLES", 10_000)
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    f = torch.tensor([[0, 1, 2], [0, 2, 3]])
    aside = x + torch.tensor([9.0, 0, 0])
    found = surface_error(*together((x, f), (aside + torch.tensor([0.0, 0, 1]), f)), *together((x, f), (aside, f)))
    assert found.chamfer == pytest.approx(0.5, rel=0.02)
    assert found.f_score == pytest.approx(0.5, abs=0.02)
    assert found.normal_consistency == pytest.approx(1.0)
    standing = x[:, [0, 2, 1]]
    assert surface_error(standing, f, x, f).normal_consistency == pytest.approx(0.0, abs=1e-9)


def test_surfaces_without_area_are_refused() -> None:
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    for bad in (vertices * 0, vertices * float("nan")):
        with pytest.raises(InputError, match="no surface"):
            surface_error(bad, faces, vertices, faces)


def test_degenerate_faces() -> None:
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert degenerate_faces(vertices, faces) == 0
    assert degenerate_faces(vertices, torch.cat([faces, torch.tensor([[0, 0, 1], [2, 2, 2]])])) == 2
    assert degenerate_faces(vertices * 1e-6, faces) == 0  # a matter of proportion


def test_sound_meshes_cut_nothing() -> None:
    for mesh in (box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), sphere(1.0, 3), sphere(1e-4, 2)):
        assert not bool(cut_faces(*mesh).any())
    apart = together(box([0.0, 0, 0], [1.0, 1, 1]), box([1.0, 2, 0], [2.0, 3, 1]))
    assert not bool(cut_faces(*apart).any())
    within = together(sphere(1.0, 2), sphere(0.5, 2))
    assert not bool(cut_faces(*within).any())
    assert cut_faces(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)).shape == (0,)


def test_a_bar_through_a_box() -> None:
    """It enters through +x and leaves through -x: its eight long faces, and both triangles of each of the two sides."""
    vertices, faces = together(box([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]), box([-3.0, -0.3, -0.2], [3.0, 0.4, 0.5]))
    cut = cut_faces(vertices, faces)
    normals = torch.linalg.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    along_x = normals[:, 0] != 0
    expected = torch.cat([along_x[:12], ~along_x[12:]])
    assert torch.equal(cut, expected)


def test_faces_that_share_a_plane() -> None:
    a = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    beside = box([1.0, 0.25, 0.25], [2.0, 0.75, 0.75])  # stands on the side x = 1, within both of its triangles
    cut = cut_faces(*together(a, beside))
    assert int(cut[:12].sum()) == 2
    next_to = box([1.0, 1.0, 0.0], [2.0, 2.0, 1.0])  # an edge in common: touching is no cut
    assert not bool(cut_faces(*together(a, next_to)).any())
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    for shift, overlaps in ((0.3, True), (2.0, False), (0.5, False)):  # 0.5: mirrored, only the long sides meet
        other = 1 - square if shift == 0.5 else square + shift * torch.tensor([1.0, 1, 0])
        other[:, 2] = 0
        found = cut_faces(*together((square, torch.tensor([[0, 1, 2]])), (other, torch.tensor([[0, 1, 2]]))))
        assert found.tolist() == [overlaps] * 2


def test_faces_that_share_a_vertex_do_not_count() -> None:
    x = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0.5, 0.5, -1], [0.5, 0.5, 1]])
    assert not bool(cut_faces(x, torch.tensor([[0, 1, 2], [3, 4, 0]])).any())


def test_against_every_pair_looked_at_alone() -> None:
    """Triangles of chance: two cut each other if the segment that their planes have in common says so."""
    rng = torch.Generator().manual_seed(3)
    x = torch.rand(40, 1, 3, generator=rng, dtype=torch.float64) + 0.4 * torch.rand(
        40, 3, 3, generator=rng, dtype=torch.float64
    )
    vertices, faces = x.reshape(-1, 3), torch.arange(120).reshape(-1, 3)
    expected = torch.zeros(40, dtype=torch.bool)
    for i in range(40):
        for j in range(i):
            if pierces(x[i], x[j]) or pierces(x[j], x[i]):
                expected[i] = expected[j] = True
    assert 5 < int(expected.sum()) < 40
    assert torch.equal(cut_faces(vertices, faces), expected)


def pierces(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether an edge of b meets a: the point p + t d = a0 + u e + v f has t, u, v where they have to be."""
    for k in range(3):
        p, d = b[k], b[(k + 1) % 3] - b[k]
        t, u, v = torch.linalg.solve(torch.stack([-d, a[1] - a[0], a[2] - a[0]], 1), p - a[0]).tolist()
        if 0 <= t <= 1 and u >= 0 and v >= 0 and u + v <= 1:
            return True
    return False


QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def quad(left: float, bottom: float, right: float, top: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[left, bottom], [right, bottom], [right, top], [left, top]]), QUAD


def test_an_atlas_without_overlap() -> None:
    uv, faces = together(quad(0.0, 0.0, 0.5, 0.5), quad(0.5, 0.5, 1.0, 1.0))
    place = torch.nn.functional.pad(uv, (0, 1))
    found = texture_health(place, faces, uv, (64, 32))
    assert found.used == pytest.approx(0.5, abs=0.04)  # middles of texels on the diagonals are inside of neither
    assert found.overlap == 0.0


def test_a_known_overlap() -> None:
    """0.6 x 1 and 0.6 x 1 share 0.2 x 1 of the whole; rows of 100 texels, without those that a border goes through."""
    uv, faces = together(quad(0.0, 0.0, 0.6, 1.0), quad(0.4, 0.0, 1.0, 1.0))
    found = texture_health(torch.nn.functional.pad(uv, (0, 1)), faces, uv, (333, 100))
    assert found.overlap == pytest.approx(0.2, abs=0.01)
    twice = texture_health(torch.nn.functional.pad(uv, (0, 1)), faces.repeat(2, 1), uv, (333, 100))
    assert twice.overlap == 1.0


def test_coverage_counts_every_texel_whose_middle_is_inside() -> None:
    rng = torch.Generator().manual_seed(5)
    uv = 1.4 * torch.rand(30, 2, generator=rng, dtype=torch.float64) - 0.2
    faces = torch.arange(30).reshape(-1, 3)
    y, x = torch.meshgrid(torch.arange(19), torch.arange(31), indexing="ij")
    middle = torch.stack([(x + 0.5) / 31, (y + 0.5) / 19], -1).double()
    expected = torch.zeros(19, 31, dtype=torch.int64)
    for a, b, c in uv[faces]:
        turns = [
            ((q - p)[0] * (middle - p)[..., 1] - (q - p)[1] * (middle - p)[..., 0]) for p, q in ((a, b), (b, c), (c, a))
        ]
        signs = torch.stack(turns).sign()
        expected += (signs > 0).all(0) | (signs < 0).all(0)
    assert int(expected.max()) >= 3
    assert torch.equal(coverage(uv, faces, 19, 31), expected)


def test_texel_density_of_a_unit_square_and_of_two_sizes() -> None:
    uv, faces = quad(0.0, 0.0, 1.0, 1.0)
    square = torch.nn.functional.pad(uv, (0, 1))
    assert texel_density(square, faces, uv, 256, 256) == pytest.approx((256, 256, 256))
    assert texel_density(2 * square, faces, uv, 256, 256) == pytest.approx((128, 128, 128))
    assert texel_density(square, faces, uv, 100, 400) == pytest.approx((200, 200, 200))  # the mean of both directions
    small = 0.5 * square + 5  # a ninth of the area of the next, with the same part of the texture
    both, corners = together((1.5 * square, faces), (small, faces))
    low, middle, high = texel_density(both, corners, torch.cat([uv, uv]), 300, 300)
    assert (low, middle, high) == pytest.approx((200, 200, 600))


def test_without_a_picture_there_is_no_density() -> None:
    uv, faces = quad(0.0, 0.0, 1.0, 1.0)
    found = texture_health(torch.nn.functional.pad(uv, (0, 1)), faces, uv, None)
    assert found.density is None
    assert found.used == pytest.approx(1.0, abs=2e-3)
