"""Tangents against closed forms and against the same sum written out slowly."""

import math

import pytest
import torch
from crate import SIDES, crate

from nerf3d.export.tangents import tangents


def ball(around: int, high: int):
    """A ball by longitude and latitude without its poles: u runs east, v north."""
    u, v = torch.meshgrid(torch.linspace(0, 1, around + 1), torch.linspace(0, 1, high + 1), indexing="ij")
    longitude, latitude = 2 * math.pi * u, math.pi * (0.8 * v - 0.4)
    x = torch.stack([longitude.cos() * latitude.cos(), longitude.sin() * latitude.cos(), latitude.sin()], -1)
    index = torch.arange(u.numel()).reshape(u.shape)
    a, b, c, d = (index[i : i + around, j : j + high].reshape(-1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    east = torch.stack([-longitude.sin(), longitude.cos(), torch.zeros_like(u)], -1)
    return x.reshape(-1, 3), faces, torch.stack([u, v], -1).reshape(-1, 2), east.reshape(-1, 3)


def test_on_a_ball_tangents_point_east_and_bitangents_north():
    x, faces, uv, east = ball(90, 45)
    t = tangents(x, faces, x, uv)
    assert float((t[:, :3] * east).sum(1).min()) > 0.999
    assert bool((t[:, 3] == 1).all())
    assert float(torch.linalg.cross(x, t[:, :3])[:, 2].min()) > 0


def test_a_mirrored_chart_has_the_other_hand():
    x, faces, uv, east = ball(24, 12)
    t = tangents(x, faces, x, uv * torch.tensor([-1.0, 1.0]))
    assert float((t[:, :3] * -east).sum(1).min()) > 0.98
    assert bool((t[:, 3] == -1).all())  # and the bitangent -n x t still points north


def test_on_a_crate_they_are_the_directions_of_its_charts():
    asset = crate()
    t = tangents(asset.vertices, asset.faces, asset.normals, asset.uv)
    for i, (axis, _) in enumerate(SIDES):
        right = torch.zeros(3)
        right[(axis + 1) % 3] = 1
        assert torch.allclose(t[4 * i : 4 * i + 4], torch.cat([right, torch.ones(1)]).expand(4, 4), atol=1e-6)


def test_they_are_the_sum_over_triangles_by_angle():
    """Triangles of chance around few vertices, one after the other, in numbers of Python."""
    rng = torch.Generator().manual_seed(3)
    vertices, normals = torch.randn(9, 3, generator=rng), torch.randn(9, 3, generator=rng)
    normals = normals / normals.norm(dim=1, keepdim=True)
    uv, faces = torch.rand(9, 2, generator=rng), torch.randperm(9, generator=rng).reshape(3, 3)
    faces = torch.cat([faces, faces[:, [1, 0, 2]].roll(1, 0), faces.T])
    t = tangents(vertices, faces, normals, uv)
    for vertex in range(9):
        n, total = normals[vertex].double(), torch.zeros(3, dtype=torch.float64)
        for face in faces.tolist():
            if vertex not in face:
                continue
            k = face.index(vertex)
            i, j = face[(k + 1) % 3], face[(k + 2) % 3]
            edges = torch.stack([vertices[i] - vertices[vertex], vertices[j] - vertices[vertex]]).double()
            across = torch.stack([uv[i] - uv[vertex], uv[j] - uv[vertex]]).double()
            right = (torch.linalg.inv(across) @ edges)[0]  # solves across @ (dx/du, dx/dv) = edges
            laid = [y - (y @ n) * n for y in (right, *edges)]
            laid = [y / y.norm() for y in laid]
            total += math.acos(float(laid[1] @ laid[2])) * laid[0]
        assert torch.allclose(t[vertex, :3].double(), total / total.norm(), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_unit_length_at_every_size_and_where_the_chart_has_no_area(scale):
    x, faces, uv, _ = ball(12, 6)
    for flat in (uv, uv * torch.tensor([1.0, 0.0]), torch.zeros_like(uv)):
        t = tangents(x * scale, faces, x, flat)
        assert torch.allclose(t[:, :3].norm(dim=1), torch.ones(len(t)), atol=1e-6)
        assert float((t[:, :3] * x).sum(1).abs().max()) < 1e-6
        assert bool((t[:, 3].abs() == 1).all())
