import json
import math
import os
import struct

import numpy as np
import pytest
import torch
import trimesh

from nerf3d.core import Box, Radiance
from nerf3d.errors import InputError
from nerf3d.export import asset
from nerf3d.export.asset import Asset
from nerf3d.export.formats import FORMATS, write_asset
from nerf3d.export.glb import linear_light, rotation_to_y
from nerf3d.export.mesh import color_vertices
from nerf3d.export.surface import Surface, extract_surface

UP = torch.tensor([0.0, 0.0, 1.0])
CENTER = torch.tensor([2.0, -1.0, 0.5])


def vertex_normals(surface: Surface) -> torch.Tensor:
    return asset.vertex_normals(surface.vertices, surface.faces)


class Ball:
    """A ball whose colour is where on it one looks; outside of it the colour is wrong, as a trained field's may be."""

    def density(self, x):
        return 1e3 * ((x - CENTER).norm(dim=-1) < 0.5)

    def __call__(self, x, d):
        inside = self.density(x) > 0
        color = 0.5 + 0.5 * (x - CENTER) / (x - CENTER).norm(dim=-1, keepdim=True)
        return Radiance(self.density(x), torch.where(inside[:, None], color, torch.tensor([1.0, 0.0, 1.0])))


@pytest.fixture(scope="module")
def surface() -> Surface:
    return extract_surface(Ball().density, Box(CENTER - 0.7, CENTER + 0.8), 40)


@pytest.fixture(scope="module")
def colors(surface) -> torch.Tensor:
    return color_vertices(surface, Ball())


def test_normals_of_a_ball_point_away_from_its_centre(surface):
    outward = (surface.vertices - CENTER) / 0.5
    assert float((vertex_normals(surface) * outward).sum(-1).min()) > 0.98


def test_normals_of_a_tiny_mesh_have_unit_length(surface):
    tiny = Surface(surface.vertices * 1e-6, surface.faces, surface.level, surface.cell)
    assert torch.allclose(vertex_normals(tiny).norm(dim=-1), torch.ones(len(tiny.vertices)), atol=1e-5)


def test_a_vertex_without_a_direction_gets_a_unit_normal_all_the_same():
    """Two triangles back to back."""
    back_to_back = torch.tensor([[0, 1, 2], [0, 2, 1]])
    normals = vertex_normals(Surface(torch.eye(3), back_to_back, 1.0, 0.1))
    assert torch.equal(normals.norm(dim=-1), torch.ones(3))


def test_colors_are_those_of_the_body_not_of_the_air_before_it(surface, colors):
    expected = 255 * (0.5 + (surface.vertices - CENTER))  # |x - c| = 0.5 on the ball
    assert float((colors.float() - expected).abs().max()) < 12
    assert float((colors.float() - expected).abs().mean()) < 3


def test_a_field_sees_directions_from_outside(surface):
    class Asked(Ball):
        def __call__(self, x, d):
            assert bool((((x - CENTER) * d).sum(-1) < 0).all())
            assert torch.allclose(d.norm(dim=-1), torch.ones(len(d)), atol=1e-5)
            return Ball.__call__(self, x, d)

    color_vertices(surface, Asked())


def test_in_a_haze_one_sees_what_is_behind_it(surface):
    """The haze in front of a body has a colour of its own that must hardly count: here 2 % of the light."""

    class Hazy(Ball):
        def __call__(self, x, d):
            inside = (x - CENTER).norm(dim=-1) < 0.46  # the surface was found at 0.5, a cell further out
            density = torch.where(inside, 500.0, 0.5)
            return Radiance(density, torch.where(inside[:, None], 0.25, 1.0).expand(-1, 3))

    seen = color_vertices(surface, Hazy()).float()
    assert float((seen - 0.25 * 255).abs().max()) < 0.05 * 255


def test_features_are_no_colors(surface):
    class Features:
        def density(self, x):
            return x[:, 0]

        def __call__(self, x, d):
            return Radiance(x[:, 0], torch.zeros(len(x), 8))

    with pytest.raises(InputError, match="8 channels"):
        color_vertices(surface, Features())


def write_mesh(path, surface, colors, up, metadata):
    facts = {"frame": "the scene's own world frame", "units": "the scene's own units", **metadata}
    x, y, z = (up.double() / up.double().norm()).tolist()
    normals = vertex_normals(surface)
    write_asset(path, Asset(surface.vertices, surface.faces, normals, colors, up=(x, y, z), facts=facts))


def read_obj(path):
    rows = [line.split() for line in path.read_text().splitlines()]
    v = np.array([row[1:] for row in rows if row[0] == "v"], dtype=float)
    vn = np.array([row[1:] for row in rows if row[0] == "vn"], dtype=float)
    f = np.array([[corner.split("//")[0] for corner in row[1:]] for row in rows if row[0] == "f"], dtype=int)
    return v[:, :3], v[:, 3:], vn, f - 1


def test_obj_has_world_coordinates_srgb_colors_and_normals(surface, colors, tmp_path):
    path = tmp_path / "ball.obj"
    write_mesh(path, surface, colors, UP, {"made of": "nothing\nv 0 0 0"})
    place, color, normal, faces = read_obj(path)
    assert np.array_equal(place.astype(np.float32), surface.vertices.numpy())
    assert np.array_equal((color * 255).round(), colors.numpy())
    assert np.allclose(normal, vertex_normals(surface).numpy(), atol=1e-5)
    assert np.array_equal(faces, surface.faces.numpy())
    again = trimesh.load(path, process=False, maintain_order=True)
    assert again.volume == pytest.approx(4 / 3 * math.pi / 8, rel=0.02)


def test_ply_has_world_coordinates_srgb_colors_and_normals(surface, colors, tmp_path):
    path = tmp_path / "ball.ply"
    write_mesh(path, surface, colors, UP, {"level": "59.1"})
    again = trimesh.load(path, process=False)
    assert np.array_equal(again.vertices.astype(np.float32), surface.vertices.numpy())
    assert np.array_equal(again.faces, surface.faces.numpy())
    assert np.array_equal(again.visual.vertex_colors[:, :3], colors.numpy())
    assert np.allclose(again.vertex_normals, vertex_normals(surface).numpy(), atol=1e-5)
    header = path.read_bytes().split(b"end_header")[0]
    assert b"comment level: 59.1\n" in header
    assert b"property float nx" in header


def read_glb(path):
    """The JSON tree and the arrays behind the accessors, by the letter of the standard."""
    blob = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", blob)
    assert (magic, version, length) == (b"glTF", 2, len(blob))
    size, kind = struct.unpack_from("<I4s", blob, 12)
    assert kind == b"JSON"
    assert size % 4 == 0
    tree = json.loads(blob[20 : 20 + size])
    binary_size, kind = struct.unpack_from("<I4s", blob, 20 + size)
    assert kind == b"BIN\0"
    binary = blob[28 + size :]
    assert len(binary) == binary_size == tree["buffers"][0]["byteLength"]
    arrays = []
    for accessor in tree["accessors"]:
        view = tree["bufferViews"][accessor["bufferView"]]
        dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        raw = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        arrays.append(np.frombuffer(raw, dtype).reshape(accessor["count"], width))
    return tree, arrays


def test_glb_has_world_coordinates_linear_colors_and_stands_upright(surface, colors, tmp_path):
    path = tmp_path / "ball.glb"
    write_mesh(path, surface, colors, UP, {"level": "59.1"})
    tree, (place, normal, color, index) = read_glb(path)
    assert np.array_equal(place, surface.vertices.numpy())
    assert np.array_equal(index.reshape(-1, 3), surface.faces.numpy())
    assert np.allclose(normal, vertex_normals(surface).numpy())
    assert tree["accessors"][0]["min"] == place.min(0).tolist()
    assert tree["accessors"][0]["max"] == place.max(0).tolist()
    light = color[:, :3] / 65535
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    assert np.array_equal((255 * encoded).round(), colors.numpy())  # no byte is lost, in the shadows either
    matrix = np.array(tree["nodes"][0]["matrix"]).reshape(4, 4).T
    assert np.allclose(matrix @ [0, 0, 1, 0], [0, 1, 0, 0])
    assert tree["scenes"][0]["extras"] == {
        "frame": "the scene's own world frame",
        "units": "the scene's own units",
        "level": "59.1",
    }


def test_trimesh_reads_the_glb_and_turns_it_up(surface, colors, tmp_path):
    path = tmp_path / "ball.glb"
    write_mesh(path, surface, colors, UP, {})
    scene = trimesh.load(path)
    (geometry,) = scene.geometry.values()
    assert np.array_equal(geometry.vertices.astype(np.float32), surface.vertices.numpy())
    middle = scene.bounds.mean(0)
    assert np.allclose(middle, [CENTER[0], CENTER[2], -CENTER[1]], atol=0.02)  # z up became y up


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 1, 0], [0, -1, 0], [1e-6, -1, 0], [0.3, -2.0, 0.5], [5, 0, 0]])
def test_rotation_to_y(up):
    up = torch.tensor(up, dtype=torch.float32)
    matrix = rotation_to_y(up)
    assert torch.allclose(matrix @ (up / up.norm()).double(), torch.tensor([0.0, 1, 0], dtype=torch.float64), atol=1e-6)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-6)
    assert float(torch.linalg.det(matrix)) == pytest.approx(1.0)


def test_worked_example_of_linear_light():
    light = linear_light(torch.tensor([[0, 188, 255]], dtype=torch.uint8))
    assert torch.allclose(light, torch.tensor([[0.0, 0.503, 1.0]]), atol=5e-4)


def test_an_unknown_suffix_is_an_error_that_lists_the_known(surface, colors, tmp_path):
    with pytest.raises(InputError, match=r"\.glb, \.obj, \.ply"):
        write_mesh(tmp_path / "ball.xyz", surface, colors, UP, {})
    with pytest.raises(InputError, match=r"\.glb, \.obj, \.ply"):
        write_mesh(tmp_path / "ball", surface, colors, UP, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_failure_leaves_the_old_file_and_nothing_else(surface, colors, tmp_path, suffix, monkeypatch):
    path = tmp_path / f"ball{suffix}"
    path.write_text("old")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_mesh(path, surface, colors, UP, {})
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_where_nothing_can_be_written(surface, colors, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_mesh(tmp_path / "file" / "ball.ply", surface, colors, UP, {})
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_mesh(tmp_path / "folder.ply", surface, colors, UP, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.ply"]
