"""What an artist gets who opens a file in Blender: right side up, right size, with its texture where it belongs.

`BLENDER` may name the program; otherwise it is looked for on the path. `apt-get install --no-install-recommends blender
python3-numpy` is enough.
"""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from crate import crate, picture

from nerf3d.export.formats import write_asset

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
    (tmp_path / "look.py").write_text(LOOK)
    command = [blender, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]
    command += [str(tmp_path / "look.py"), "--", str(path), str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
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


def _sorted(rows: np.ndarray) -> np.ndarray:
    rows = rows.round(4) + 0.0
    return rows[np.lexsort(rows.T)]
