"""What an artist gets who opens a file in Blender: right side up, right size, with its texture where it belongs.

`BLENDER` may name the program; otherwise it is looked for on the path. `apt-get install --no-install-recommends blender
python3-numpy` is enough.
"""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from crate import CENTER, crate, picture
from PIL import Image

from nerf3d.core.paths import standing
from nerf3d.export.formats import write_asset
from nerf3d.metrics.pictures import psnr
from nerf3d.render.mesh import Mesh, render_mesh

# Runs inside of Blender, with the file's path and the report's path behind "--".
LOOK = """
import json, sys
import numpy
if not hasattr(numpy, "bool"):
    numpy.bool = bool  # importers of older versions ask for it, newer versions of numpy lack it
import bpy

path, report = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
if path.endswith(".glb"):
    bpy.ops.import_scene.gltf(filepath=path)
elif path.endswith(".obj"):
    bpy.ops.wm.obj_import(filepath=path, forward_axis="Y", up_axis="Z")  # the crate's own frame
elif bpy.app.build_options.usd:
    options = {"import_usd_preview": True}  # where materials are not imported anyway
    known = bpy.ops.wm.usd_import.get_rna_type().properties.keys()
    bpy.ops.wm.usd_import(filepath=path, **{name: value for name, value in options.items() if name in known})
bpy.context.view_layer.update()
found = []
for thing in bpy.data.objects:
    if thing.type != "MESH":
        continue
    mesh, nodes = thing.data, [n for m in thing.data.materials for n in m.node_tree.nodes]
    pictures = [n for n in nodes if n.type == "TEX_IMAGE" and n.image and n.outputs["Color"].is_linked]
    found.append({
        "corners": [
            list(thing.matrix_world @ mesh.vertices[loop.vertex_index].co) + list(mesh.uv_layers[0].data[loop.index].uv)
            for loop in mesh.loops
        ] if mesh.uv_layers else [],
        "layers": len(mesh.uv_layers),
        "triangles": [len(p.vertices) for p in mesh.polygons],
        "materials": len(mesh.materials),
        "pictures": [{"size": list(n.image.size), "pixels": list(n.image.pixels)} for n in pictures],
    })
with open(report, "w") as file:
    json.dump({"usd": bool(bpy.app.build_options.usd), "version": bpy.app.version, "meshes": found}, file)
"""

# Arguments: the file, the picture to write, and the camera as JSON: world_from_camera (4 x 4, Blender's axes), angle, size.
SHOOT = """
import json, math, sys
import numpy
if not hasattr(numpy, "bool"):
    numpy.bool = bool
import bpy
import mathutils

path, picture, camera = sys.argv[sys.argv.index("--") + 1 :]
camera = json.loads(camera)
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=path)
scene = bpy.context.scene
lens = bpy.data.cameras.new("lens")
lens.angle = camera["angle"]
eye = bpy.data.objects.new("eye", lens)
eye.matrix_world = mathutils.Matrix(camera["pose"])
scene.collection.objects.link(eye)
scene.camera = eye
scene.render.engine = "CYCLES"
scene.cycles.samples = 16
scene.cycles.use_denoising = False
scene.cycles.device = "CPU"
scene.render.threads_mode = "FIXED"
scene.render.threads = 1
scene.render.film_transparent = True
scene.render.resolution_x = scene.render.resolution_y = camera["size"]
scene.render.resolution_percentage = 100
scene.view_settings.view_transform = "Standard"
scene.render.image_settings.file_format = "PNG"
scene.render.image_settings.color_mode = "RGBA"
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
"""


@pytest.fixture(scope="module")
def blender() -> str:
    program = shutil.which(os.environ.get("BLENDER", "blender"))
    if program is None:
        pytest.skip("needs Blender, which is not installed; or name the program in BLENDER")
    return program


@pytest.mark.blender
@pytest.mark.parametrize("suffix", [".glb", ".obj", ".usdz"])
def test_blender_shows_the_crate_as_it_is(suffix, blender, tmp_path):
    if suffix == ".usdz":
        pytest.importorskip("pxr")
    asset = crate()
    path, report = tmp_path / f"crate{suffix}", tmp_path / "report.json"
    write_asset(path, asset)
    run_in(blender, LOOK, tmp_path, str(path), str(report))
    told = json.loads(report.read_text())
    if suffix == ".usdz" and not told["usd"]:
        pytest.skip(f"needs a Blender that was built with USD; this one, {told['version']}, was not")

    (mesh,) = told["meshes"]
    assert mesh["triangles"] == [3] * 12
    assert (mesh["layers"], mesh["materials"]) == (1, 1)
    # Blender is Z up, like the crate: every corner is where it was, whatever the file's own axes, and has its place in the
    # picture. Importers may begin a triangle with any of its corners.
    both = np.concatenate([asset.vertices.numpy(), asset.uv.numpy()], 1)[asset.faces.reshape(-1).numpy()]
    seen = np.array(mesh["corners"])
    assert np.allclose(_sorted(seen), _sorted(both), atol=1e-4)
    (shown,) = mesh["pictures"]
    assert shown["size"] == [64, 64]
    pixels = np.array(shown["pixels"]).reshape(64, 64, 4)[::-1, :, :3]  # Blender's lowest row is the first
    assert np.array_equal((255 * pixels).round(), picture().numpy())


@pytest.mark.blender
@pytest.mark.parametrize("azimuth", [30.0, 200.0])
def test_blenders_picture_of_the_crate_is_ours(azimuth, blender, tmp_path):
    """The unlit material shows the texture's own colours, from the same camera, with whatever is behind it left empty."""
    asset, size = crate(), 96
    path, picture_file = tmp_path / "crate.glb", tmp_path / "shot.png"
    write_asset(path, asset)
    cameras = standing(torch.tensor([azimuth]), torch.tensor([25.0]), torch.tensor([7.0]), torch.tensor([40.0]), size)
    cameras.world_from_camera[:, :, 3] += CENTER
    pose = torch.eye(4)
    pose[:3] = cameras.world_from_camera[0] * torch.tensor([1.0, -1.0, -1.0, 1.0])
    camera = {"pose": pose.tolist(), "angle": math.radians(40.0), "size": size}
    run_in(blender, SHOOT, tmp_path, str(path), str(picture_file), json.dumps(camera))
    shot = torch.from_numpy(np.array(Image.open(picture_file))).float() / 255
    theirs = shot[..., :3] * shot[..., 3:] + 1 - shot[..., 3:]
    assert asset.textures is not None
    mesh = Mesh(asset.vertices, asset.faces, uv=asset.uv, texture=asset.textures.color.float() / 255)
    ours = render_mesh(mesh, cameras, 0, torch.ones(3), oversampling=5).color
    assert float((ours - 1).abs().amax(-1).gt(0.02).float().mean()) > 0.1  # the crate is in the picture
    assert psnr(theirs, ours) > 26


def run_in(blender: str, script: str, folder: Path, *arguments: str) -> None:
    """Run a script inside of Blender."""
    file = folder / "script.py"
    file.write_text(script)
    command = [blender, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(file), "--"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _sorted(rows: np.ndarray) -> np.ndarray:
    rows = rows.round(4) + 0.0
    return rows[np.lexsort(rows.T)]
