"""A mesh as .usdz: a USD layer and its textures in one file, for Apple's viewers, Blender, Houdini and Omniverse.

- Axes: a USD file says what is up, but knows +Y and +Z alone. An asset whose `up` is one of them keeps its frame, any other
  is turned to +Y. One unit is a metre.
- Shape: one mesh, no subdivision; vertices on a seam are welded where there is a texture.
- Material: UsdPreviewSurface, which every reader knows.
- Light: USD has no standard for a surface that is not lit. The colour is emitted and nothing reflected (diffuse black), as
  converters from glTF do it; as a diffuse colour it would be shaded a second time, by the light of the viewer's room.
- Colour: the texture is sRGB; `displayColor` is linear light, and the material reads it where there is no texture.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch

from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.export.asset import UP_Y, UP_Z, Asset, turned
from nerf3d.export.glb import linear_light, rotation_to_y
from nerf3d.export.png import png_bytes
from nerf3d.export.weld import welded

if TYPE_CHECKING:
    from pxr import Usd, UsdShade

ALIGNMENT, LOCAL_HEADER, PADDING = 64, 30, 0x1986  # bytes, bytes, the kind of an extra field that USD itself uses
NOISE = 1e-6  # of a direction in single precision


def usdz_bytes(asset: Asset, name: str) -> bytes:
    """The whole file; what a reader references is a prim that bears the name, as far as USD allows.

    Raises InputError where the extra `usd` is not installed.
    """
    try:
        from pxr import Tf, Usd, UsdGeom
    except ImportError as error:
        raise InputError(
            f"{name}.usdz needs the library usd-core, which is not installed: pip install 'nerf3d[usd]'."
        ) from error
    axis = {UP_Y: UsdGeom.Tokens.y, UP_Z: UsdGeom.Tokens.z}
    up = next((known for known in axis if np.allclose(asset.up, known, rtol=0, atol=NOISE)), None)
    if up is None:
        up, asset = UP_Y, turned(asset, rotation_to_y(torch.tensor(asset.up)))
    with TemporaryDirectory() as folder:
        layer = Path(folder) / "scene.usdc"
        stage = Usd.Stage.CreateNew(str(layer))
        UsdGeom.SetStageUpAxis(stage, axis[up])
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(name)}").GetPrim()
        stage.SetDefaultPrim(root)
        if asset.facts:
            root.SetCustomData(dict(asset.facts))
        _add_mesh(root, asset)
        _add_material(root, asset)
        stage.GetRootLayer().Save()
        files = {layer.name: layer.read_bytes()}  # the standard wants the layer first
    if asset.textures is not None:
        files["textures/color.png"] = png_bytes(asset.textures.color)
        if asset.textures.normal is not None:
            files["textures/normal.png"] = png_bytes(asset.textures.normal)
    return archive_bytes(files)


def archive_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip archive as the USDZ specification wants it: nothing compressed, every file's content begins at a multiple of 64
    bytes, so that it can be used where it lies.

    By hand, since `UsdUtils` renames the textures, and the class behind it moved from one version to the next.
    """
    archive = BytesIO()
    with ZipFile(archive, "w") as package:
        for name, content in files.items():
            entry = ZipInfo(name)  # of 1980: the same asset gives the same bytes
            padding = -(archive.tell() + LOCAL_HEADER + len(name.encode())) % ALIGNMENT
            padding += ALIGNMENT if 0 < padding < 4 else 0  # it has a head of four bytes itself
            entry.extra = struct.pack("<HH", PADDING, padding - 4) + bytes(padding - 4) if padding else b""
            package.writestr(entry, content)
    return archive.getvalue()


def _add_mesh(root: "Usd.Prim", asset: Asset) -> None:
    from pxr import Sdf, UsdGeom, Vt

    def vectors(x: torch.Tensor) -> Any:
        return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(x.numpy()))

    def integers(x: torch.Tensor) -> Any:
        return Vt.IntArray.FromNumpy(x.reshape(-1).to(torch.int32).numpy())

    mesh = UsdGeom.Mesh.Define(root.GetStage(), root.GetPath().AppendChild("mesh"))
    points, corners = asset.vertices, asset.faces
    if asset.textures is not None:
        points, corners = welded(asset.vertices, asset.faces)
    mesh.CreatePointsAttr(vectors(points))
    mesh.CreateFaceVertexIndicesAttr(integers(corners))
    mesh.CreateFaceVertexCountsAttr(integers(torch.full((len(corners),), 3)))
    mesh.CreateExtentAttr(vectors(torch.stack([points.amin(0), points.amax(0)])))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)

    normals, kind = normalize(asset.normals), UsdGeom.Tokens.vertex
    if asset.textures is not None:  # what belongs to a corner of a face is no longer a point's
        normals, kind = normals[asset.faces].reshape(-1, 3), UsdGeom.Tokens.faceVarying
    mesh.CreateNormalsAttr(vectors(normals))  # a primvar with indices would be smaller, but fewer programs look there
    mesh.SetNormalsInterpolation(kind)
    if asset.uv is not None:
        st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, kind)
        st.Set(Vt.Vec2fArray.FromNumpy(asset.uv.contiguous().numpy()))
        if kind == UsdGeom.Tokens.faceVarying:
            st.SetIndices(integers(asset.faces))
    if asset.colors is not None and asset.textures is None:
        mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(vectors(linear_light(asset.colors)))


def _add_material(root: "Usd.Prim", asset: Asset) -> None:
    from pxr import Sdf, UsdShade

    stage, types = root.GetStage(), Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, root.GetPath().AppendChild("material"))
    surface = _shader(material, "surface", "UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    shown, black = ("diffuseColor", "emissiveColor") if asset.lit else ("emissiveColor", "diffuseColor")
    color = surface.CreateInput(shown, types.Color3f)
    surface.CreateInput(black, types.Color3f).Set((0.0, 0.0, 0.0))
    surface.CreateInput("roughness", types.Float).Set(asset.roughness)
    surface.CreateInput("metallic", types.Float).Set(asset.metallic if asset.lit else 0.0)
    surface.CreateInput("useSpecularWorkflow", types.Int).Set(0)
    if not asset.lit:
        surface.CreateInput("ior", types.Float).Set(1.0)  # as air: nothing is reflected

    if asset.textures is not None:
        place = _shader(material, "place", "UsdPrimvarReader_float2")
        place.CreateInput("varname", types.String).Set("st")
        st = place.CreateOutput("result", types.Float2)
        color.ConnectToSource(_picture(material, "color", "sRGB", st).CreateOutput("rgb", types.Float3))
        if asset.textures.normal is not None:
            picture = _picture(material, "normal", "raw", st)
            picture.CreateInput("scale", types.Float4).Set((2.0, 2.0, 2.0, 1.0))  # [0, 1] to [-1, 1]
            picture.CreateInput("bias", types.Float4).Set((-1.0, -1.0, -1.0, 0.0))
            bump = surface.CreateInput("normal", types.Normal3f)
            bump.ConnectToSource(picture.CreateOutput("rgb", types.Float3))
    elif asset.colors is not None:
        reader = _shader(material, "colors", "UsdPrimvarReader_float3")
        reader.CreateInput("varname", types.String).Set("displayColor")
        color.ConnectToSource(reader.CreateOutput("result", types.Float3))
    else:
        color.Set((1.0, 1.0, 1.0))
    mesh = stage.GetPrimAtPath(root.GetPath().AppendChild("mesh"))
    UsdShade.MaterialBindingAPI.Apply(mesh).Bind(material)


def _shader(material: "UsdShade.Material", name: str, identifier: str) -> "UsdShade.Shader":
    from pxr import UsdShade

    shader = UsdShade.Shader.Define(material.GetPrim().GetStage(), material.GetPath().AppendChild(name))
    shader.CreateIdAttr(identifier)
    return shader


def _picture(material: "UsdShade.Material", name: str, space: str, st: "UsdShade.Output") -> "UsdShade.Shader":
    """A texture of that name; beyond the edge of the atlas its last pixels go on."""
    from pxr import Sdf

    types = Sdf.ValueTypeNames
    picture = _shader(material, name, "UsdUVTexture")
    picture.CreateInput("file", types.Asset).Set(f"textures/{name}.png")
    picture.CreateInput("sourceColorSpace", types.Token).Set(space)
    picture.CreateInput("st", types.Float2).ConnectToSource(st)
    picture.CreateInput("wrapS", types.Token).Set("clamp")
    picture.CreateInput("wrapT", types.Token).Set("clamp")
    return picture
