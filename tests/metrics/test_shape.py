import math

import pytest
import torch
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.shape import (
    chamfer_distance,
    compare,
    iou,
    mesh_of,
    normalized,
    on_surface,
    silhouette,
)

# An L of two boxes with its foot towards x: no two rotations of it look alike.
BOX = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
BOX_FACES = torch.tensor([face for a, b, c, d in SIDES for face in ([a, b, c], [a, c, d])])


def boot() -> tuple[Tensor, Tensor]:
    leg = BOX * torch.tensor([0.2, 0.2, 0.8])
    foot = BOX * torch.tensor([0.5, 0.15, 0.2]) + torch.tensor([0.4, 0.0, -0.6])
    return torch.cat([leg, foot]), torch.cat([BOX_FACES, BOX_FACES + 8])


def moved(x: Tensor, degrees: float, scale: float, offset: tuple[float, float, float]) -> Tensor:
    a = math.radians(degrees)
    turn = torch.tensor([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1.0]])
    return scale * x @ turn.T + torch.tensor(offset)


def test_chamfer_distance_by_hand_and_by_the_slow_way() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(60, 3, generator=rng), torch.rand(45, 3, generator=rng)
    table = torch.cdist(a, b)
    assert chamfer_distance(a, b) == pytest.approx(float(table.amin(1).mean() + table.amin(0).mean()) / 2, rel=1e-5)
    assert chamfer_distance(a, a) == 0


def test_points_on_a_surface_are_uniform_by_area() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 5], [1, 0, 5], [0, 2, 5]])
    points, _ = on_surface(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), 20_000, torch.Generator().manual_seed(0))
    below = points[:, 2] == 0
    assert float(below.double().mean()) == pytest.approx(0.75, abs=0.01)
    assert points[below].mean(0).tolist() == pytest.approx([1, 2 / 3, 0], abs=0.02)
    assert bool((points[below][:, 0] / 3 + points[below][:, 1] / 2 <= 1 + 1e-6).all())


@pytest.mark.parametrize("faces", [torch.zeros(0, 3, dtype=torch.int64), torch.tensor([[0, 0, 1]])])
def test_a_mesh_without_area(faces: Tensor) -> None:
    with pytest.raises(InputError, match="no surface"):
        compare(torch.rand(3, 3), faces, *boot())


def test_a_mesh_of_a_ball() -> None:
    vertices, faces = mesh_of(lambda x: x.norm(dim=-1) - 0.7, resolution=40)
    assert float((vertices.norm(dim=-1) - 0.7).abs().max()) < 2e-3
    corners = vertices[faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1).sum() / 2
    assert float(area) == pytest.approx(4 * math.pi * 0.49, rel=0.01)
    with pytest.raises(InputError, match="no surface"):
        mesh_of(lambda x: x.norm(dim=-1) + 1, resolution=8)


def test_normalized_fills_the_unit_ball() -> None:
    x = normalized(5 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) + 3)
    assert float(x.norm(dim=-1).max()) == pytest.approx(1, abs=1e-6)
    assert float((x.amin(0) + x.amax(0)).abs().max()) < 1e-6


def test_a_silhouette_is_a_disc_for_a_ball_and_turns_with_the_azimuth() -> None:
    rng = torch.Generator().manual_seed(0)
    ball = torch.nn.functional.normalize(torch.randn(60_000, 3, generator=rng), dim=-1)
    disc = silhouette(ball, torch.tensor(0.3))
    assert float(disc.float().mean()) == pytest.approx(math.pi / 4 / 1.3**2, rel=0.06)
    plate = ball * torch.tensor([1.0, 0.05, 1.0])  # seen flat from -y, as an edge from x
    assert int(silhouette(plate, torch.tensor(math.pi / 2)).sum()) < 0.2 * int(
        silhouette(plate, torch.tensor(0.0)).sum()
    )


def test_iou_by_hand() -> None:
    a, b = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, False])
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a & ~a, b & ~b) == 1


def test_the_same_shape_turned_scaled_and_moved_is_found_again() -> None:
    vertices, faces = boot()
    result = compare(moved(vertices, -70, 3.0, (4.0, -2.0, 1.0)), faces, vertices, faces)
    assert result.chamfer < 0.03  # what two samples of one surface have
    assert result.silhouette_iou > 0.93
    assert result.scale == pytest.approx(1, abs=0.03)
    assert result.height == pytest.approx(0, abs=0.03)
    assert compare(vertices, faces, vertices, faces) == compare(vertices, faces, vertices, faces)


def test_an_outlier_is_answered_by_scale_and_height_and_the_turn_is_right() -> None:
    """A tip far above makes the first smaller when both are normalised; the alignment undoes that."""
    vertices, faces = boot()
    ball, ball_faces = mesh_of(lambda x: x.norm(dim=-1) - 0.7, resolution=12)
    speck = 0.03 * ball + torch.tensor([0.0, 0.0, 2.0])
    with_speck = torch.cat([vertices, speck]), torch.cat([faces, ball_faces + len(vertices)])
    result = compare(*with_speck, vertices, faces)
    assert result.scale > 1.2
    assert result.height > 0.3  # the speck had moved the middle upwards
    assert result.chamfer < 0.1
    assert abs(result.degrees) < 8


def test_another_shape_is_far_away() -> None:
    vertices, faces = boot()
    result = compare(*mesh_of(lambda x: x.norm(dim=-1) - 0.7, resolution=24), vertices, faces)
    assert result.chamfer > 0.08
    assert result.silhouette_iou < 0.75
