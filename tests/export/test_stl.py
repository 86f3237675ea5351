"""The bytes of an .stl."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from crate import crate

from nerf3d.export.asset import UP_Y, UP_Z
from nerf3d.export.stl import TRIANGLE, rotation_to_z, stl_bytes


def test_size_head_and_triangles():
    content = stl_bytes(crate(), "solid" * 40)
    assert len(content) == 84 + 50 * 12
    assert not content.startswith(b"solid")  # readers would take it for text
    assert int.from_bytes(content[80:84], "little") == 12
    triangles = np.frombuffer(content[84:], TRIANGLE)
    assert TRIANGLE.itemsize == 50
    assert np.array_equal(triangles["normal"][::2], crate().normals[::4].numpy())
    assert not triangles["attributes"].any()


def test_a_triangle_without_area_has_no_normal():
    content = stl_bytes(replace(crate(), vertices=torch.zeros(24, 3)), "point")
    assert not np.frombuffer(content[84:], TRIANGLE)["normal"].any()


@pytest.mark.parametrize("up", [UP_Z, UP_Y, (1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (0.6, 0.0, 0.8)])
def test_rotation_to_z(up):
    matrix = rotation_to_z(torch.tensor(up))
    assert torch.allclose(matrix @ torch.tensor(up).double(), torch.tensor(UP_Z).double(), atol=1e-6)
    assert float(torch.linalg.det(matrix)) == pytest.approx(1.0)


def test_what_is_upright_keeps_its_numbers():
    assert torch.equal(rotation_to_z(torch.tensor(UP_Z)), torch.eye(3, dtype=torch.float64))
