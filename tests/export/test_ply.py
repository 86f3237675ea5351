"""PLY with textures turned into colours, and point clouds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from crate import COLORS, bumpy_crate, crate, painted_crate

from nerf3d.errors import InputError
from nerf3d.export.asset import Textures
from nerf3d.export.formats import write_asset
from nerf3d.export.ply import write_points


def test_normals_and_facts_are_in_the_file(tmp_path):
    write_asset(tmp_path / "crate.ply", replace(painted_crate(), facts={"origin": "1 2 3\nend_header"}))
    mesh = trimesh.load(tmp_path / "crate.ply", process=False)
    assert np.array_equal(mesh.vertex_normals, painted_crate().normals.numpy())
    header = (tmp_path / "crate.ply").read_bytes().split(b"\nend_header\n")[0].decode().splitlines()
    assert header[2] == "comment origin: 1 2 3 end header"
    assert "element vertex 24" in header


def test_where_there_is_only_a_texture_vertices_take_its_colour(tmp_path):
    """Half a chart inside its cell nothing but the side's colour is around, except at the chart's first vertex."""
    write_asset(tmp_path / "crate.ply", bumpy_crate())
    seen = trimesh.load(tmp_path / "crate.ply", process=False).visual.vertex_colors[:, :3].reshape(6, 4, 3)
    assert np.array_equal(seen[:, 1:], COLORS.numpy()[:, None].repeat(3, 1))
    assert (seen[:, 0] > COLORS.numpy()).all()  # there a quarter of it is white


def test_the_corners_of_a_texture_are_where_they_should_be(tmp_path):
    corners = torch.tensor([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], dtype=torch.uint8)  # above, below
    uv = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]).repeat(6, 1)
    write_asset(tmp_path / "crate.ply", replace(crate(), uv=uv, textures=Textures(corners)))
    seen = trimesh.load(tmp_path / "crate.ply", process=False).visual.vertex_colors[:4, :3]
    assert np.array_equal(seen, corners.reshape(4, 3).numpy())


@pytest.mark.parametrize("with_normals", [True, False])
def test_a_point_cloud_comes_back(with_normals, tmp_path):
    rng = torch.Generator().manual_seed(1)
    positions, normals = torch.randn(100, 3, generator=rng), torch.randn(100, 3, generator=rng)
    colors = torch.randint(0, 256, (100, 3), generator=rng).to(torch.uint8)
    path = tmp_path / "points.ply"
    write_points(path, positions, normals if with_normals else None, colors, {"made by": "chance"})
    cloud = trimesh.load(path)
    assert isinstance(cloud, trimesh.PointCloud)
    assert np.array_equal(cloud.vertices.astype("f4"), positions.numpy())
    assert np.array_equal(cloud.colors[:, :3], colors.numpy())
    header, body = path.read_bytes().split(b"end_header\n", 1)
    assert b"comment made by: chance\n" in header
    assert (b"property float nx" in header) == with_normals
    numbers = np.frombuffer(body, np.uint8).reshape(100, -1)
    assert numbers.shape[1] == (27 if with_normals else 15)
    if with_normals:
        assert np.array_equal(numbers[:, 12:24].copy().view("<f4"), normals.numpy())


def test_point_clouds_without_sense_are_errors(tmp_path):
    some, colors = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8)
    for path, positions, normals, complaint in (
        ("points.glb", some, None, r"ends in \.ply"),
        ("points.ply", some[:0], None, "no points"),
        ("points.ply", some * float("nan"), None, "not finite"),
        ("points.ply", some, some + float("inf"), "not finite"),
    ):
        with pytest.raises(InputError, match=complaint):
            write_points(tmp_path / path, positions, normals, colors[: len(positions)])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "points.ply").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_points(tmp_path / "points.ply", some, None, colors)
