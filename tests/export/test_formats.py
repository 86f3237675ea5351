"""All formats through the same door: what another library reads back is what was given, and nothing is ever half there."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from crate import CENTER, COLORS, SIZE, bumpy_crate, crate, painted_crate, picture

from nerf3d.errors import InputError
from nerf3d.export.asset import UP_Y, UP_Z, turned
from nerf3d.export.formats import SUFFIXES, check_format, write_asset
from nerf3d.export.glb import rotation_to_y

TRIMESH = sorted({".glb", ".obj", ".ply", ".stl"})


@pytest.fixture(autouse=True)
def _skip_without_usd(request):
    """Where a test asks for .usdz and the extra is not installed."""
    if ".usdz" in request.node.name:
        pytest.importorskip("pxr")


def read(path: Path) -> trimesh.Trimesh:
    """The one mesh in a file, with what the file's own scene does to it."""
    scene = trimesh.load_scene(path, process=False)  # maintain_order would give a seam one texture coordinate
    (mesh,) = scene.dump()
    return mesh


def corners(mesh) -> np.ndarray:
    """Triangles as positions: the same for any order and number of vertices."""
    return np.asarray(mesh.vertices)[np.asarray(mesh.faces)]


@pytest.mark.parametrize("suffix", TRIMESH)
@pytest.mark.parametrize("make", [crate, bumpy_crate, painted_crate], ids=lambda make: make.__name__)
def test_triangles_come_back_in_their_order_and_winding(suffix, make, tmp_path):
    asset = replace(make(), up=UP_Y if suffix == ".glb" else UP_Z)  # so that nothing has to be turned
    write_asset(tmp_path / f"crate{suffix}", asset)
    mesh = read(tmp_path / f"crate{suffix}")
    assert np.array_equal(corners(mesh), asset.vertices[asset.faces].numpy())
    assert mesh.volume == pytest.approx(float(SIZE.prod()))  # negative if the inside were outside


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_texture_coordinates_and_pixels_come_back(suffix, tmp_path):
    asset = crate()
    write_asset(tmp_path / f"crate{suffix}", asset)
    mesh = read(tmp_path / f"crate{suffix}")
    assert np.allclose(mesh.visual.uv[mesh.faces], asset.uv[asset.faces].numpy(), atol=1e-7)
    material = mesh.visual.material
    image = material.baseColorTexture if suffix == ".glb" else material.image
    assert np.array_equal(np.asarray(image.convert("RGB")), picture().numpy())


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_every_side_has_its_colour_and_the_white_pixel_lies_at_its_first_vertex(suffix, tmp_path):
    """What one sees, looked up by hand: fails where v is counted from the wrong end."""
    write_asset(tmp_path / f"crate{suffix}", crate())
    mesh = read(tmp_path / f"crate{suffix}")
    material = mesh.visual.material
    image = np.asarray((material.baseColorTexture if suffix == ".glb" else material.image).convert("RGB"))

    def seen(uv):
        column, row = int(np.floor(uv[0] * 64 + 1e-4)), int(np.floor((1 - uv[1]) * 64 - 1e-4))
        return image[row, column].tolist()

    for i, color in enumerate(COLORS.tolist()):
        first = mesh.visual.uv[mesh.faces[2 * i]]
        assert seen(first.mean(0)) == color
        assert seen(first[0]) == [255, 255, 255]


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_colors_at_vertices_come_back(suffix, tmp_path):
    asset = painted_crate()
    write_asset(tmp_path / f"crate{suffix}", asset)
    mesh = read(tmp_path / f"crate{suffix}")
    assert np.array_equal(mesh.visual.vertex_colors[:, :3], asset.colors.numpy())
    assert np.array_equal(mesh.vertices, asset.vertices.numpy())


def test_vertices_on_a_seam_are_welded_where_the_format_can(tmp_path):
    write_asset(tmp_path / "crate.obj", crate())
    lines = (tmp_path / "crate.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == 8  # a crate has eight corners
    assert sum(line.startswith("vt ") for line in lines) == 24


@pytest.mark.parametrize("up", [UP_Z, UP_Y, (0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (0.6, 0.0, 0.8)])
@pytest.mark.parametrize(("suffix", "target"), [(".glb", UP_Y), (".stl", UP_Z)])
def test_the_asset_stands_upright_where_a_format_demands_a_direction(suffix, target, up, tmp_path):
    """Heights above the ground are those that the asset itself has, and it is not mirrored."""
    asset = replace(painted_crate(), up=up)
    write_asset(tmp_path / f"crate{suffix}", asset)
    mesh = read(tmp_path / f"crate{suffix}")
    expected = asset.vertices[asset.faces].double() @ torch.tensor(up, dtype=torch.float64)
    assert np.allclose(corners(mesh) @ np.array(target), expected.numpy(), atol=1e-5)
    assert mesh.volume == pytest.approx(float(SIZE.prod()), rel=1e-5)


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_the_asset_keeps_its_frame_where_a_format_demands_none(suffix, tmp_path):
    write_asset(tmp_path / f"crate{suffix}", replace(crate(), up=(0.6, 0.0, 0.8)))
    bounds = read(tmp_path / f"crate{suffix}").bounds
    assert np.array_equal(bounds, torch.stack([CENTER - SIZE / 2, CENTER + SIZE / 2]).numpy())


def test_z_up_and_y_up_files_of_one_thing_look_alike(tmp_path):
    write_asset(tmp_path / "z.glb", crate())
    write_asset(tmp_path / "y.glb", turned(crate(), rotation_to_y(torch.tensor(UP_Z))))
    assert np.allclose(corners(read(tmp_path / "z.glb")), corners(read(tmp_path / "y.glb")), atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_asset_gives_the_same_bytes_under_any_spelling_of_the_suffix(suffix, tmp_path):
    for folder in ("a", "b"):
        write_asset(tmp_path / folder / f"crate{suffix.upper()}", bumpy_crate())
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert f"crate{suffix.upper()}" in [p.name for p in first]


@pytest.mark.parametrize("name", ["crate.xyz", "crate", "crate.", ".glb", "crate.glb.txt"])
def test_an_unknown_suffix_is_an_error_that_lists_the_known(name, tmp_path):
    with pytest.raises(InputError, match=r"\.glb, \.obj, \.ply, \.stl, \.usdz"):
        write_asset(tmp_path / name, crate())
    assert list(tmp_path.iterdir()) == []


def test_without_usd_one_reads_what_to_install_before_the_work_and_after(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    for act in (check_format, lambda path: write_asset(path, crate())):
        with pytest.raises(InputError, match=r"pip install 'nerf3d\[usd\]'"):
            act(tmp_path / "crate.usdz")
    check_format(tmp_path / "crate.glb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_in_the_files_place_is_an_error(suffix, tmp_path):
    (tmp_path / f"crate{suffix}").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_asset(tmp_path / f"crate{suffix}", crate())
    assert [p.name for p in tmp_path.iterdir()] == [f"crate{suffix}"]


@pytest.mark.parametrize("name", ["crate.mtl", "crate_color.png", "crate_normal.png"])
def test_a_folder_in_the_place_of_what_an_obj_needs_is_an_error(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name} cannot be written"):
        write_asset(tmp_path / "crate.obj", bumpy_crate())
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_may_not_be_written_is_an_error(suffix, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("needs a user whom the system refuses something; root may write everywhere")
    with pytest.raises(InputError, match="cannot be written"):
        write_asset(tmp_path / "closed" / f"crate{suffix}", crate())
    assert list((tmp_path / "closed").iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_system_that_refuses_is_an_error(suffix, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_asset(tmp_path / "file" / f"crate{suffix}", crate())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"crate{suffix}"
    path.write_text("old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="No space left"):
        write_asset(path, bumpy_crate())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_the_obj_is_the_last_of_its_files_to_take_its_place(tmp_path, monkeypatch):
    """So that it never refers to what is not there."""
    order, rename = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), rename(a, b)))
    write_asset(tmp_path / "crate.obj", bumpy_crate())
    assert sorted(order) == ["crate.mtl", "crate.obj", "crate_color.png", "crate_normal.png"]
    assert order[-1] == "crate.obj"


BROKEN = {
    "no triangles": replace(crate(), faces=torch.zeros(0, 3, dtype=torch.int64)),
    "no triangles ": replace(crate(), faces=torch.tensor([[3, 3, 4]])),
    "faces name vertices": replace(crate(), faces=crate().faces + 1),
    "faces name vertices ": replace(crate(), faces=crate().faces - 1),
    "no texture coordinates": replace(crate(), uv=None),
    "positions are not finite": replace(crate(), vertices=crate().vertices * torch.tensor([1.0, float("nan"), 1.0])),
    "normals are not finite": replace(crate(), normals=crate().normals + float("inf")),
    "coordinates are not finite": replace(crate(), uv=crate().uv * float("nan")),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("complaint", BROKEN)
def test_an_asset_without_sense_is_an_error_not_a_file(complaint, suffix, tmp_path):
    with pytest.raises(InputError, match=complaint.strip()):
        write_asset(tmp_path / f"crate{suffix}", BROKEN[complaint])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", TRIMESH)
def test_faces_that_name_a_vertex_twice_are_left_out(suffix, tmp_path):
    asset = crate()
    write_asset(tmp_path / f"crate{suffix}", replace(asset, faces=torch.cat([torch.tensor([[5, 5, 6]]), asset.faces])))
    assert len(read(tmp_path / f"crate{suffix}").faces) == 12
