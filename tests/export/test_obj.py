"""The lines of an .obj and its material library, and names that every system takes."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from crate import bumpy_crate, crate, normal_map, painted_crate, picture
from PIL import Image

from nerf3d.export.formats import write_asset
from nerf3d.export.obj import companions, safe_name


def settings(asset, name="crate") -> dict[str, str]:
    text = companions(asset, name)[f"{safe_name(name)}.mtl"].decode()
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_what_an_obj_needs_lies_beside_it_under_names_of_its_own(tmp_path):
    write_asset(tmp_path / "crate.obj", bumpy_crate())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "crate.mtl",
        "crate.obj",
        "crate_color.png",
        "crate_normal.png",
    ]
    lines = (tmp_path / "crate.obj").read_text().splitlines()
    assert lines[:3] == ["# made by: hand", "mtllib crate.mtl", "o crate"]
    assert "usemtl crate" in lines
    said = settings(bumpy_crate())
    assert said["newmtl"] == "crate"
    assert np.array_equal(np.asarray(Image.open(tmp_path / said["map_Kd"])), picture().numpy())
    assert np.array_equal(np.asarray(Image.open(tmp_path / said["norm"])), normal_map().numpy())
    assert said["map_Bump"].endswith(f" {said['norm']}")


def test_material_of_a_surface_that_is_lit_and_of_one_that_is_not():
    lit, unlit = settings(bumpy_crate()), settings(crate())
    assert (lit["illum"], lit["Pr"], lit["Pm"], lit["Kd"]) == ("2", "0.4", "0.25", "1 1 1")
    assert float(lit["Ns"]) == pytest.approx(360)
    assert (unlit["illum"], unlit["Ks"], unlit["Kd"]) == ("0", "0 0 0", "1 1 1")
    assert "norm" not in unlit


def test_without_a_texture_there_is_one_file_alone(tmp_path):
    write_asset(tmp_path / "crate.obj", painted_crate())
    assert [p.name for p in tmp_path.iterdir()] == ["crate.obj"]
    text = (tmp_path / "crate.obj").read_text()
    assert "mtllib" not in text
    assert "usemtl" not in text


def test_texture_coordinates_without_a_texture_are_kept(tmp_path):
    write_asset(tmp_path / "crate.obj", replace(crate(), textures=None))
    text = (tmp_path / "crate.obj").read_text()
    assert "f 1/1/1 2/2/2 3/3/3" in text.splitlines()
    assert sum(line.startswith("v ") for line in text.splitlines()) == 24


@pytest.mark.parametrize("name", ["my chair", "tür 2 (é)", "a#b", "50%", "NUL.big", "-x y", "a\tb", "..."])
def test_names_with_spaces_and_signs_lead_to_the_texture(name, tmp_path):
    write_asset(tmp_path / f"{name}.obj", crate())
    mesh = trimesh.load(tmp_path / f"{name}.obj", process=False)
    assert np.array_equal(np.asarray(mesh.visual.material.image.convert("RGB")), picture().numpy())
    safe = safe_name(name)
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.obj", f"{safe}.mtl", f"{safe}_color.png"}
    assert not set(safe) & set('<>:"/\\|?* \t#%')


def test_names_stay_what_they_are_where_they_can():
    for name in ("chair", "chair-2_b.v1", "Tür", "console", "com", "椅子"):
        assert safe_name(name) == name


def test_devices_of_windows_are_no_names():
    for name in ("con", "NUL", "com1", "Lpt9.model"):
        assert safe_name(name).split(".")[0].lower() not in {"con", "nul", "com1", "lpt9"}


def test_two_names_never_become_one():
    names = ["a b", "a_b", "a:b", "a*b", "a b."]
    assert len({safe_name(name) for name in names}) == len(names)
