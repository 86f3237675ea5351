"""What USD itself reads in a .usdz, and what its validators say."""

import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from crate import CENTER, SIZE, bumpy_crate, crate, normal_map, painted_crate, picture
from PIL import Image

from nerf3d.export.asset import UP_Y, UP_Z
from nerf3d.export.formats import write_asset
from nerf3d.export.glb import linear_light
from nerf3d.export.usdz import archive_bytes, usdz_bytes

pytest.importorskip("pxr", reason="needs usd-core: pip install 'nerf3d[usd]'")
from pxr import Usd, UsdGeom, UsdShade

CASES = {
    "textured": crate(),
    "normal map": bumpy_crate(),
    "normal map, unlit": replace(bumpy_crate(), lit=False),
    "colors": painted_crate(),
    "bare": replace(crate(), textures=None, uv=None, facts={}),
    "tilted": replace(crate(), up=(0.6, 0.0, 0.8)),
    "one triangle": replace(crate(), faces=crate().faces[:1]),
}


@pytest.fixture
def opened(tmp_path):
    """Writes an asset and opens it: the stage and its one mesh."""

    def write(asset, name="crate"):
        write_asset(tmp_path / f"{name}.usdz", asset)
        stage = Usd.Stage.Open(str(tmp_path / f"{name}.usdz"))
        (mesh,) = (UsdGeom.Mesh(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh))
        return stage, mesh

    return write


def shader(mesh, *path):
    """The shader that the mesh's material leads to, and from there along the inputs of that name."""
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    here, _, _ = material.ComputeSurfaceSource()
    for name in path:
        source, _, _ = here.GetInput(name).GetConnectedSource()
        here = UsdShade.Shader(source)
    return here


@pytest.mark.parametrize("make", [crate, bumpy_crate, painted_crate], ids=lambda make: make.__name__)
def test_triangles_normals_and_texture_coordinates_come_back(make, opened):
    asset = make()
    _, mesh = opened(asset)
    points, index = np.array(mesh.GetPointsAttr().Get()), np.array(mesh.GetFaceVertexIndicesAttr().Get())
    assert np.array_equal(points[index].reshape(-1, 3, 3), asset.vertices[asset.faces].numpy())
    assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3}
    assert len(points) == (24 if asset.textures is None else 8)  # welded where texture coordinates are apart
    normals = np.array(mesh.GetNormalsAttr().Get())
    if mesh.GetNormalsInterpolation() == "vertex":
        normals = normals[index]
    assert np.array_equal(normals, asset.normals[asset.faces].reshape(-1, 3).numpy())
    st = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")
    assert bool(st) == (asset.uv is not None)
    if asset.uv is not None:
        assert np.array_equal(np.array(st.ComputeFlattened()), asset.uv[asset.faces].reshape(-1, 2).numpy())
        assert st.GetInterpolation() == "faceVarying"


def test_the_file_says_what_a_reader_has_to_know(opened):
    stage, mesh = opened(crate(), "my crate")
    assert stage.GetDefaultPrim().GetName() == "my_crate"
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert mesh.GetSubdivisionSchemeAttr().Get() == "none"
    assert mesh.GetOrientationAttr().Get() == "rightHanded"
    extent = np.array(mesh.GetExtentAttr().Get())
    assert np.array_equal(extent, torch.stack([CENTER - SIZE / 2, CENTER + SIZE / 2]).numpy())
    assert stage.GetDefaultPrim().GetCustomData()["made by"] == "hand"


@pytest.mark.parametrize(
    ("up", "axis", "kept"),
    [
        (UP_Z, "Z", True),
        (UP_Y, "Y", True),
        ((0.0, 1e-9, 1.0), "Z", True),
        ((0.0, 0.0, -1.0), "Y", False),
        ((0.0, -1.0, 0.0), "Y", False),
        ((0.6, 0.0, 0.8), "Y", False),
    ],
)
def test_what_is_up_in_the_asset_is_up_in_the_file(up, axis, kept, opened):
    asset = replace(crate(), up=up)
    stage, mesh = opened(asset)
    assert UsdGeom.GetStageUpAxis(stage) == axis
    points = np.array(mesh.GetPointsAttr().Get())[np.array(mesh.GetFaceVertexIndicesAttr().Get())]
    before = asset.vertices[asset.faces].reshape(-1, 3).numpy()
    assert np.allclose(points[:, "XYZ".index(axis)], before @ np.array(up), atol=1e-5)
    assert np.array_equal(points, before) == kept
    box = UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["default"]).ComputeWorldBound(stage.GetPseudoRoot())
    assert np.allclose(box.ComputeAlignedRange().GetMin(), points.min(0))


def test_colors_that_hold_their_light_are_emitted_and_nothing_is_reflected(opened):
    _, mesh = opened(crate())
    surface = shader(mesh)
    assert surface.GetShaderId() == "UsdPreviewSurface"
    assert tuple(surface.GetInput("diffuseColor").Get()) == (0, 0, 0)
    assert surface.GetInput("ior").Get() == 1.0
    texture = shader(mesh, "emissiveColor")
    assert texture.GetShaderId() == "UsdUVTexture"
    assert shader(mesh, "emissiveColor", "st").GetInput("varname").Get() == "st"


def test_a_surface_that_is_lit_has_its_color_and_normal_map(opened):
    _, mesh = opened(bumpy_crate())
    surface = shader(mesh)
    assert tuple(surface.GetInput("emissiveColor").Get()) == (0, 0, 0)
    assert surface.GetInput("roughness").Get() == pytest.approx(0.4)
    assert surface.GetInput("metallic").Get() == pytest.approx(0.25)
    color, normal = shader(mesh, "diffuseColor"), shader(mesh, "normal")
    assert color.GetInput("sourceColorSpace").Get() == "sRGB"
    assert normal.GetInput("sourceColorSpace").Get() == "raw"
    scale, bias = np.array(normal.GetInput("scale").Get()), np.array(normal.GetInput("bias").Get())
    assert np.allclose(scale[:3] * 0.5 + bias[:3], 0)
    for texture, expected in ((color, picture()), (normal, normal_map())):
        assert texture.GetInput("wrapS").Get() == texture.GetInput("wrapT").Get() == "clamp"
        asset = texture.GetInput("file").Get()
        package, inside = asset.resolvedPath.rstrip("]").split("[")  # resolved by USD: it is in the archive
        with zipfile.ZipFile(package) as archive:
            assert np.array_equal(np.asarray(Image.open(BytesIO(archive.read(inside)))), expected.numpy())


def test_colors_at_vertices_are_linear_and_the_material_reads_them(opened):
    asset = painted_crate()
    _, mesh = opened(asset)
    primvar = mesh.GetDisplayColorPrimvar()
    assert primvar.GetInterpolation() == "vertex"
    assert np.array_equal(np.array(primvar.Get()), linear_light(asset.colors).numpy())
    assert shader(mesh, "emissiveColor").GetInput("varname").Get() == "displayColor"


def test_every_file_in_the_archive_begins_at_a_multiple_of_64_bytes():
    """For names and contents of all lengths: where the padding would be too short for its own head, it is longer."""
    for length in range(130):
        files = {"a" * (1 + length // 2): bytes(length), "b/c.png": b"content", "d": b"end"}
        content = archive_bytes(files)
        with zipfile.ZipFile(BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == files
            for entry in archive.infolist():
                assert entry.compress_type == zipfile.ZIP_STORED
                begin = entry.header_offset + 30 + len(entry.filename) + len(entry.extra)
                assert begin % 64 == 0


def complaints(path) -> list[str]:
    """What all validators of USD say; names of errors and warnings."""
    validation = pytest.importorskip("pxr.UsdValidation", reason="needs a usd-core that has validators")
    validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 10
    stage = Usd.Stage.Open(str(path))
    return [error.GetName() for error in validation.ValidationContext(validators).Validate(stage)]


@pytest.mark.validator
@pytest.mark.parametrize("case", CASES)
def test_usd_validators_have_nothing_to_say(case, tmp_path):
    (tmp_path / "crate.usdz").write_bytes(usdz_bytes(CASES[case], "a name with é"))
    assert complaints(tmp_path / "crate.usdz") == []


@pytest.mark.validator
def test_usd_validators_find_what_is_broken_on_purpose(tmp_path):
    with zipfile.ZipFile(BytesIO(usdz_bytes(crate(), "crate"))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "crooked.usdz", "w") as archive:  # as any program would pack it
        for name, content in files.items():
            archive.writestr(name, content)
    assert "ByteMisalignment" in complaints(tmp_path / "crooked.usdz")
    del files["textures/color.png"]
    (tmp_path / "missing.usdz").write_bytes(archive_bytes(files))
    assert "UnresolvableDependency" in complaints(tmp_path / "missing.usdz")
    stage = Usd.Stage.CreateNew(str(tmp_path / "silent.usda"))
    UsdGeom.Xform.Define(stage, "/crate")
    stage.GetRootLayer().Save()
    assert {"MissingDefaultPrim", "MissingUpAxisMetadata"} <= set(complaints(tmp_path / "silent.usda"))
