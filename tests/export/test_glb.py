"""The letters of a .glb, and what Khronos' validator says of it."""

import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from crate import bumpy_crate, crate, normal_map, painted_crate, picture
from PIL import Image

from nerf3d.export.asset import UP_Y
from nerf3d.export.glb import glb_bytes

TYPES = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
CASES = {
    "textured": crate(),
    "normal map": bumpy_crate(),
    "normal map, unlit": replace(bumpy_crate(), lit=False),
    "colors": painted_crate(),
    "bare": replace(crate(), textures=None, uv=None, facts={}),
    "Y up": replace(crate(), up=UP_Y),
    "tilted": replace(crate(), up=(0.6, 0.0, 0.8)),
    "one triangle": replace(crate(), faces=crate().faces[:1]),
}


def parts(content: bytes):
    """The JSON tree, and the binary half."""
    (size,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + size]), content[28 + size :]


def rows(content: bytes, accessor: int) -> np.ndarray:
    tree, binary = parts(content)
    told = tree["accessors"][accessor]
    view = tree["bufferViews"][told["bufferView"]]
    raw = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.frombuffer(raw, TYPES[told["componentType"]]).reshape(told["count"], WIDTHS[told["type"]])


def test_a_texture_is_embedded_whole_and_drawn_without_light_or_bleeding():
    content = glb_bytes(crate(), "crate")
    tree, binary = parts(content)
    (primitive,) = tree["meshes"][0]["primitives"]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    uv = rows(content, primitive["attributes"]["TEXCOORD_0"])
    assert np.array_equal(uv, (crate().uv * torch.tensor([1, -1]) + torch.tensor([0, 1])).numpy())
    (material,) = tree["materials"]
    assert material["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 0}
    assert material["extensions"] == {"KHR_materials_unlit": {}}
    view = tree["bufferViews"][tree["images"][0]["bufferView"]]
    assert "target" not in view
    image = Image.open(BytesIO(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]))
    assert np.array_equal(np.asarray(image), picture().numpy())
    assert "gamma" not in image.info  # programs would apply it to what glTF calls sRGB already
    assert tree["samplers"] == [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
    assert tree["scenes"][0]["extras"] == {"made by": "hand"}


def test_a_normal_map_comes_with_tangents_and_stays_as_it_is():
    content = glb_bytes(bumpy_crate(), "crate")
    tree, binary = parts(content)
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]
    assert "COLOR_0" not in attributes
    t = rows(content, attributes["TANGENT"])
    assert np.allclose(t[:4], [0, 1, 0, 1])  # the side +x, whose chart has +y to the right
    (material,) = tree["materials"]
    assert material["pbrMetallicRoughness"] == {
        "metallicFactor": 0.25,
        "roughnessFactor": 0.4,
        "baseColorTexture": {"index": 0},
    }
    assert material["normalTexture"] == {"index": 1}
    assert "extensions" not in material
    assert "extensionsUsed" not in tree
    view = tree["bufferViews"][tree["images"][tree["textures"][1]["source"]]["bufferView"]]
    image = Image.open(BytesIO(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]))
    assert np.array_equal(np.asarray(image), normal_map().numpy())


def test_a_texture_is_not_multiplied_with_colors():
    both = replace(crate(), colors=painted_crate().colors)
    assert "COLOR_0" not in parts(glb_bytes(both, "crate"))[0]["meshes"][0]["primitives"][0]["attributes"]


def test_what_stands_upright_is_not_turned():
    assert "matrix" not in parts(glb_bytes(replace(crate(), up=UP_Y), "crate"))[0]["nodes"][0]


@pytest.mark.parametrize(("count", "component"), [(65535, 5123), (65536, 5125)])
def test_indices_are_short_where_they_can_be(count, component):
    """The largest short is reserved: with 65535 vertices the largest index is 65534."""
    asset = replace(
        painted_crate(),
        vertices=torch.arange(3.0 * count).reshape(-1, 3),
        normals=torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3),
        colors=torch.zeros(count, 3, dtype=torch.uint8),
        faces=torch.tensor([[0, 1, count - 1]]),
    )
    content = glb_bytes(asset, "many")
    tree, _ = parts(content)
    index = tree["meshes"][0]["primitives"][0]["indices"]
    assert tree["accessors"][index]["componentType"] == component
    assert rows(content, index)[:, 0].tolist() == [0, 1, count - 1]


VALIDATE = """
const file = require("fs").readFileSync(process.argv[1]);
require("gltf-validator").validateBytes(new Uint8Array(file)).then(report => console.log(JSON.stringify(report)));
"""


@pytest.fixture(scope="session")
def validator():
    """Asks Khronos' validator what it has to say about a file: a function from bytes to (counts, codes)."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which is not installed")
    homes = [os.environ.get("GLTF_VALIDATOR", "")]  # a node_modules folder
    if npm := shutil.which("npm"):
        homes += [subprocess.run([npm, "root", "-g"], capture_output=True, text=True).stdout.strip()]
    home = next((home for home in homes if home and (Path(home) / "gltf-validator").is_dir()), None)
    if home is None:
        pytest.skip(
            "needs Khronos' validator: npm install -g gltf-validator, or name its node_modules in GLTF_VALIDATOR"
        )

    def ask(path: Path):
        environment = os.environ | {"NODE_PATH": home}
        out = subprocess.run([node, "-e", VALIDATE, path], env=environment, capture_output=True, check=True, timeout=60)
        issues = json.loads(out.stdout)["issues"]
        counts = [issues[f"num{kind}"] for kind in ("Errors", "Warnings", "Infos", "Hints")]
        return counts, {message["code"] for message in issues["messages"]}

    return ask


@pytest.mark.validator
@pytest.mark.parametrize("case", CASES)
def test_khronos_validator_has_nothing_to_say(case, validator, tmp_path):
    (tmp_path / "crate.glb").write_bytes(glb_bytes(CASES[case], "a name with é"))
    assert validator(tmp_path / "crate.glb") == ([0, 0, 0, 0], set())


@pytest.mark.validator
def test_khronos_validator_finds_what_is_broken_on_purpose(validator, tmp_path):
    content = bytearray(glb_bytes(crate(), "crate"))
    tree, binary = parts(bytes(content))
    primitive = tree["meshes"][0]["primitives"][0]
    view = tree["bufferViews"][tree["accessors"][primitive["indices"]]["bufferView"]]
    begin = len(content) - len(binary) + view["byteOffset"]
    content[begin : begin + 2] = struct.pack("<H", 24)  # of 24 vertices the last is 23
    (tmp_path / "index.glb").write_bytes(content)
    counts, codes = validator(tmp_path / "index.glb")
    assert counts[0] == 1
    assert codes == {"ACCESSOR_INDEX_OOB"}
    (tmp_path / "names.glb").write_bytes(glb_bytes(crate(), "crate").replace(b'"NORMAL"', b'"NORMEL"'))
    assert validator(tmp_path / "names.glb")[0][0] > 0
