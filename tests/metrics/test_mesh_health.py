import pytest
import torch

from nerf3d.metrics.mesh import health


def box(low, high) -> tuple[torch.Tensor, torch.Tensor]:
    """A cuboid of twelve triangles that look outwards."""
    corner = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=torch.float32)
    low, high = torch.tensor(low), torch.tensor(high)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return low + corner * (high - low), torch.tensor(faces)


def test_a_box():
    found = health(*box([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]))
    assert (found.vertices, found.faces, found.components, found.watertight) == (8, 12, 1, True)
    assert found.volume == pytest.approx(6.0)
    assert found.area == pytest.approx(22.0)
    assert found.low == (1.0, 2.0, 3.0)
    assert found.high == (2.0, 4.0, 6.0)


def test_a_hole_is_seen():
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert not health(vertices, faces[:-1]).watertight


def test_a_face_that_is_turned_around_is_seen():
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    faces[0] = faces[0].flip(0)
    assert not health(vertices, faces).watertight


def test_two_boxes_and_a_vertex_without_a_face():
    a, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    b, _ = box([2.0, 0.0, 0.0], [3.0, 2.0, 1.0])
    found = health(torch.cat([a, b, torch.zeros(1, 3)]), torch.cat([faces, faces + 8]))
    assert found.components == 2
    assert found.volume == pytest.approx(3.0)


def test_inside_out():
    vertices, faces = box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert health(vertices, faces.flip(1)).volume == pytest.approx(-1.0)
