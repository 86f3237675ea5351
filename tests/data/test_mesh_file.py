"""What our own writers wrote comes back whole; strangers' files too, or with one sentence."""

import json
import socket
import struct
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from nerf3d.data import mesh_file
from nerf3d.data.mesh_file import SUFFIXES, MeshFile, read_mesh
from nerf3d.data.mesh_parts import srgb_bytes
from nerf3d.errors import InputError
from nerf3d.export.asset import Asset, Textures, vertex_normals
from nerf3d.export.formats import write_asset
from nerf3d.export.frame import Frame, put
from nerf3d.export.glb import linear_light

PLACE = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 3.0], [1.0, 6.0, 3.0], [1.0, 2.0, 7.5]])
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


@pytest.fixture(autouse=True)
def _skip_without_usd(request: pytest.FixtureRequest) -> None:
    if "usdz" in request.node.name:
        pytest.importorskip("pxr")


def picture() -> torch.Tensor:
    return torch.randint(0, 256, (6, 10, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def textured() -> Asset:
    """A tetrahedron whose four faces have corners of their own, with texture coordinates of their own."""
    corners = PLACE[FACES].reshape(-1, 3)
    faces = torch.arange(12).reshape(4, 3)
    uv = torch.rand(12, 2, generator=torch.Generator().manual_seed(1))
    normals = vertex_normals(corners, faces)
    return Asset(corners, faces, normals, uv=uv, textures=Textures(picture()), facts={"made_by": "hand"})


def painted() -> Asset:
    colors = torch.tensor([[0, 1, 2], [3, 40, 255], [128, 5, 77], [9, 250, 100]], dtype=torch.uint8)
    return Asset(PLACE, FACES, vertex_normals(PLACE, FACES), colors, facts={"made_by": "hand"})


def same_triangles(found: MeshFile, vertices: torch.Tensor, faces: torch.Tensor, atol: float = 0.0) -> bool:
    a, b = found.vertices[found.faces], vertices.double()[faces]
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".usdz"])
def test_a_texture_comes_back(suffix: str, tmp_path: Path) -> None:
    asset = replace(textured(), up=(0.0, 1.0, 0.0))
    write_asset(tmp_path / f"a b{suffix}", asset)
    found = read_mesh(tmp_path / f"a b{suffix}")
    assert same_triangles(found, asset.vertices, asset.faces)
    assert found.uv is not None
    assert torch.allclose(found.uv[found.faces], asset.uv[asset.faces], atol=1e-7)
    assert torch.equal(found.texture, picture())
    assert found.colors is None
    assert found.lacks is None
    assert found.facts["made_by"] == "hand"
    assert found.file_from_world is None  # nobody placed it


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".usdz"])
def test_colours_at_the_vertices_come_back_to_the_byte(suffix: str, tmp_path: Path) -> None:
    asset = replace(painted(), up=(0.0, 1.0, 0.0))
    write_asset(tmp_path / f"a{suffix}", asset)
    found = read_mesh(tmp_path / f"a{suffix}")
    assert same_triangles(found, PLACE, FACES)
    assert found.colors is not None
    assert torch.equal(found.colors[found.faces], asset.colors[FACES])
    assert found.texture is None
    assert found.facts["made_by"] == "hand"


def test_an_stl_has_a_shape_alone(tmp_path: Path) -> None:
    write_asset(tmp_path / "a.stl", painted())
    found = read_mesh(tmp_path / "a.stl")
    assert same_triangles(found, PLACE, FACES)
    assert (found.uv, found.texture, found.colors, found.facts, found.file_from_world) == (None, None, None, {}, None)


def test_upper_case_and_the_list_of_formats(tmp_path: Path) -> None:
    write_asset(tmp_path / "A.PLY", painted())
    assert same_triangles(read_mesh(str(tmp_path / "A.PLY")), PLACE, FACES)
    from nerf3d.export.formats import SUFFIXES as WRITTEN

    assert set(SUFFIXES) == set(WRITTEN)


@pytest.mark.parametrize("make", [textured, painted], ids=lambda make: make.__name__)
@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)])
@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".usdz"])
def test_the_way_back_to_the_world(suffix: str, up: tuple[float, float, float], make, tmp_path: Path) -> None:
    """However it is placed, scaled and turned, and whatever the format turns by itself."""
    asset = make()
    if suffix == ".ply":
        asset = replace(asset, uv=None, textures=None)
    for frame in (Frame(), Frame("base", metres=0.3, one_tall=True)):
        write_asset(tmp_path / f"a{suffix}", put(replace(asset, up=up), frame, suffix))
        found = read_mesh(tmp_path / f"a{suffix}")
        assert found.file_from_world is not None
        assert torch.allclose(found.in_world[found.faces], asset.vertices[asset.faces].double(), atol=2e-6)
        if frame.one_tall and suffix != ".ply":  # Y up in the file's own frame, on the ground
            assert float(found.vertices[:, 1].amin()) == pytest.approx(0, abs=1e-6)
            assert float(found.vertices[:, 1].amax()) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    ["", "[[1, 0], [0, 1]]", "nonsense", "[[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]]", "[[1,0,0,NaN]]", "7", '{"a": 1}'],
)
def test_a_matrix_that_is_none_is_not_believed(text: str, tmp_path: Path) -> None:
    write_asset(tmp_path / "a.ply", replace(painted(), facts={"asset_from_world": text}))
    found = read_mesh(tmp_path / "a.ply")
    assert found.file_from_world is None
    assert torch.equal(found.in_world, found.vertices)


def test_parts_on_nodes_of_their_own(tmp_path: Path) -> None:
    """Moved, and one of them mirrored: the outside stays outside. Where it was in the world can no longer be said."""
    box = trimesh.creation.box()
    scene = trimesh.Scene()
    scene.metadata["asset_from_world"] = json.dumps(np.eye(4).tolist())
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.add_geometry(box, transform=np.diag([-2.0, 1, 1, 1]))
    scene.export(tmp_path / "a.glb")
    found = read_mesh(tmp_path / "a.glb")
    mesh = trimesh.Trimesh(found.vertices.numpy(), found.faces.numpy(), process=False)
    assert len(found.faces) == 24
    assert mesh.volume == pytest.approx(1 + 2)
    assert mesh.bounds.tolist() == [[-1, -0.5, -0.5], [5.5, 0.5, 0.5]]
    assert "asset_from_world" in found.facts
    assert found.file_from_world is None


def glb(path: Path, change) -> None:
    """The file once more, its JSON changed."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<I", content, 12)
    tree = json.loads(content[20 : 20 + size])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(head + text + rest)


def test_sixteen_bits_of_linear_light_without_a_material(tmp_path: Path) -> None:
    write_asset(tmp_path / "a.glb", painted())
    glb(tmp_path / "a.glb", lambda tree: (tree.pop("materials"), tree["meshes"][0]["primitives"][0].pop("material")))
    assert torch.equal(read_mesh(tmp_path / "a.glb").colors, painted().colors)


def test_srgb_bytes_are_the_inverse_of_linear_light() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert np.array_equal(srgb_bytes(linear_light(every[:, None].expand(-1, 3)).numpy())[:, 0], every.numpy())
    assert srgb_bytes(np.array([0, 255], np.uint8)).tolist() == [0, 255]
    assert srgb_bytes(np.array([-1.0, 2.0])).tolist() == [0, 255]


def test_polygons_become_triangles(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nf 1 2 3 4\nf 1 2 5\n")
    found = read_mesh(tmp_path / "a.obj")
    assert len(found.faces) == 3
    corners = found.vertices[found.faces]
    area = 0.5 * torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    assert float(area.sum()) == pytest.approx(1.5)


def test_usdz_of_others(tmp_path: Path) -> None:
    """Quads, left-handed, in an Xform that moves them, coordinates of another name at the points, one colour for all."""
    from pxr import Sdf, Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(tmp_path / "scene.usdc"))
    UsdGeom.Xform.Define(stage, "/root").AddTranslateOp().Set((0.0, 0.0, 9.0))
    mesh = UsdGeom.Mesh.Define(stage, "/root/mesh")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    mesh.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("UVMap", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
    st.Set([(0, 0), (1, 0), (1, 1), (0, 1)])
    mesh.CreateDisplayColorPrimvar("constant").Set([(1.0, 0.0, 0.503)])
    stage.GetRootLayer().Save()
    with zipfile.ZipFile(tmp_path / "a.usdz", "w") as archive:
        archive.write(tmp_path / "scene.usdc", "scene.usdc")
    found = read_mesh(tmp_path / "a.usdz")
    corners = found.vertices[found.faces]
    assert torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).tolist() == [[0, 0, -1]] * 2
    assert set(found.vertices[:, 2].tolist()) == {9.0}
    assert torch.equal(found.uv.double(), found.vertices[:, :2])
    assert found.colors.tolist() == [[255, 0, 188]] * 4


def test_an_obj_reads_its_own_folder_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.fromarray(picture().numpy()).save(tmp_path / "secret.png")
    Image.fromarray(picture().numpy()).save(folder / "own.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    shape = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl a\nf 1/1 2/2 3/3\n"
    (folder / "a.obj").write_text("mtllib a.mtl\n" + shape)
    for name in ("own.png", "./own.png"):
        (folder / "a.mtl").write_text(f"newmtl a\nmap_Kd {name}\n")
        found = read_mesh(folder / "a.obj")
        assert torch.equal(found.texture, picture())
        assert found.lacks is None
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "http://localhost/a.png", "gone.png"):
        (folder / "a.mtl").write_text(f"newmtl a\nmap_Kd {name}\n")
        found = read_mesh(folder / "a.obj")
        assert found.texture is None
        assert name in found.lacks
        assert len(found.faces) == 1
    (folder / "own.png").write_bytes(b"no picture")
    (folder / "a.mtl").write_text("newmtl a\nmap_Kd own.png\n")
    assert "own.png" in read_mesh(folder / "a.obj").lacks
    (tmp_path / "b.mtl").write_text("newmtl a\nmap_Kd own.png\n")
    (folder / "a.obj").write_text("mtllib ../b.mtl\n" + shape)
    assert "../b.mtl" in read_mesh(folder / "a.obj").lacks


@pytest.mark.parametrize("suffix", [".glb", ".usdz"])
def test_a_texture_that_cannot_be_read_is_missed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_asset(path, textured())
    content = path.read_bytes()
    start = content.index(b"\x89PNG")
    path.write_bytes(content[:start] + bytes(16) + content[start + 16 :])
    found = read_mesh(path)
    assert found.texture is None
    assert "texture" in found.lacks
    assert len(found.faces) == 4


def test_two_textures_are_too_many(tmp_path: Path) -> None:
    write_asset(tmp_path / "a.glb", textured())
    one = trimesh.load_scene(tmp_path / "a.glb", process=False).dump()[0]
    two = one.copy()
    two.visual.material.baseColorTexture = Image.new("RGB", (4, 4))
    for other, kept in ((one.copy(), True), (two, False)):
        trimesh.Scene([one, other]).export(tmp_path / "b.glb")
        found = read_mesh(tmp_path / "b.glb")
        assert (found.texture is not None) == kept
        assert (found.lacks is None) == kept
        assert len(found.faces) == 8


def sentence(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_mesh(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_none(suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a{suffix}"
    assert "No such file" in sentence(path)
    path.write_bytes(b"")
    sentence(path)
    path.write_bytes(b"\x00\xffnonsense " * 40)
    sentence(path)
    path.unlink()
    path.mkdir()
    assert "Is a directory" in sentence(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_were_cut_off(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_asset(path, painted())
    content = path.read_bytes()
    for length in (len(content) * 9 // 10, len(content) // 2, 30):
        path.write_bytes(content[:length])
        if suffix == ".obj":  # a text may end anywhere
            with suppress(InputError):
                assert len(read_mesh(path).faces) < 4
        else:
            sentence(path)


def test_other_suffixes(tmp_path: Path) -> None:
    assert ".glb, .obj, .ply, .stl, .usdz" in sentence(tmp_path / "a.fbx")
    assert ".glb, .obj, .ply, .stl, .usdz" in sentence(tmp_path / "a")


def test_what_is_no_mesh(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("# nothing\n")
    assert "no triangles" in sentence(tmp_path / "a.obj")
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    assert "no triangles" in sentence(tmp_path / "a.obj")
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "a.ply")
    assert "no triangles" in sentence(tmp_path / "a.ply")
    write_asset(tmp_path / "a.glb", painted())
    glb(tmp_path / "a.glb", lambda tree: tree["meshes"][0]["primitives"][0].update(mode=0))
    assert "no triangles" in sentence(tmp_path / "a.glb")
    glb(tmp_path / "a.glb", lambda tree: tree["scenes"][0].update(nodes=[]))
    assert "no triangles" in sentence(tmp_path / "a.glb")


def test_numbers_without_sense(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")
    assert "not finite" in sentence(tmp_path / "a.obj")
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 30\n")
    sentence(tmp_path / "a.obj")
    write_asset(tmp_path / "a.ply", painted())
    content = (tmp_path / "a.ply").read_bytes()
    last = struct.pack("<BIII", 3, *FACES[-1].tolist())
    assert content.endswith(last)
    (tmp_path / "a.ply").write_bytes(content[: -len(last)] + struct.pack("<BIII", 3, 0, 1, 77))
    sentence(tmp_path / "a.ply")


def test_usdz_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_asset(tmp_path / "a.usdz", painted())
    monkeypatch.setitem(__import__("sys").modules, "pxr", None)
    assert "pip install 'nerf3d[usd]'" in sentence(tmp_path / "a.usdz")


def test_usdz_in_several_layers_is_refused(tmp_path: Path) -> None:
    from pxr import Usd

    stage = Usd.Stage.CreateNew(str(tmp_path / "scene.usdc"))
    stage.DefinePrim("/root").GetReferences().AddReference(str(tmp_path / "elsewhere.usda"))
    stage.GetRootLayer().Save()
    with zipfile.ZipFile(tmp_path / "a.usdz", "w") as archive:
        archive.write(tmp_path / "scene.usdc", "scene.usdc")
    assert "flatten" in sentence(tmp_path / "a.usdz")


def test_only_whole_facts_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("# a\n# b: c: d\n#e: f\nv 0 0 0\nv 1 0 0\nv 0 1 0\n# g: h\nf 1 2 3\n")
    assert read_mesh(tmp_path / "a.obj").facts == {"b": "c: d", "e": "f"}
    assert mesh_file._comments(
        b"ply\ncomment a: 1\nelement vertex 1\ncomment b: 2\nend_header\ncomment c: 3\n", ".ply"
    ) == {
        "a": "1",
        "b": "2",
    }
