"""`nerf3d eval` on meshes in files: alone, against the run that they came from, against the true mesh."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import trimesh
from crate import crate, painted_crate
from PIL import Image
from tiny import refused

import nerf3d
from nerf3d.cli import main
from nerf3d.commands import evaluate_asset as command
from nerf3d.core import Box, Scene
from nerf3d.export.asset import Asset, Textures, vertex_normals
from nerf3d.export.formats import write_asset
from nerf3d.export.frame import Frame, put
from nerf3d.render.picture import Picture
from nerf3d.render.stratified import Stratified

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "ball.glb"
    assert main(["export", str(run), "--out", str(out), "--resolution", "24", "--texture", "64"]) == 0
    return out


def figures(path: Path) -> dict:
    text = path.with_name(f"{path.name}.metrics.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_an_asset_alone(exported: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["eval", str(exported)]) == 0
    said = capsys.readouterr().out
    found = figures(exported)
    assert found["asset"] == "ball.glb"
    assert found["mesh"]["watertight"] is True
    assert found["mesh"]["components"] == 1
    assert found["mesh"]["volume"] == pytest.approx(4 / 3 * math.pi, rel=0.3)
    assert (found["degenerate"], found["pictures"], found["surface"], found["against"]) == (0, None, None, None)
    assert 0.1 < found["texture"]["used"] <= 1
    assert found["texture"]["overlap"] < 0.02
    low, middle, high = found["texture"]["density"]
    assert 0 < low <= middle <= high
    for word in ("watertight", "faces that cut others", "texels per unit", f"{found['mesh']['faces']} triangles"):
        assert word in said
    assert not exported.with_name("ball.glb.evaluation.png").exists()


def test_against_its_run_whatever_the_format_and_the_frame(run: Path, exported: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["eval", str(exported), "--against", str(run)]) == 0
    said = capsys.readouterr().out
    pictures = figures(exported)["pictures"]
    assert len(pictures["cameras"]) == 16
    assert pictures["psnr"] == pytest.approx(sum(pictures["cameras"]) / 16)
    mean_error = sum(10 ** (-value / 10) for value in pictures["cameras"]) / 16
    assert pictures["psnr_of_mean_error"] == pytest.approx(-10 * math.log10(mean_error))
    assert pictures["psnr_of_mean_error"] <= pictures["psnr"]
    assert (pictures["width"], pictures["height"], pictures["background"]) == (24, 24, [1.0, 1.0, 1.0])
    assert pictures["psnr"] > 16
    assert f"{pictures['psnr']:.2f} dB against the field: the mean over 16 cameras" in said
    sheet = np.asarray(Image.open(exported.with_name("ball.glb.evaluation.png")))
    assert sheet.shape == (3 * 24 + 2 * 4, 4 * 24 + 3 * 4, 3)  # six cameras, two a row
    same = []
    for name, options in {"b.ply": [], "c.ply": ["--up", "y", "--origin", "center", "--unit", "30cm"]}.items():
        out = exported.with_name(name)
        assert main(["export", str(run), "--out", str(out), "--resolution", "24", *options]) == 0
        assert main(["eval", str(out), "--against", str(run)]) == 0
        same.append(figures(out)["pictures"]["psnr"])
    assert same[0] == pytest.approx(same[1], abs=0.02)
    assert np.abs(trimesh.load(out, process=False).bounds.mean(0)).max() < 1e-5


def cube_scene() -> tuple[Scene, Asset]:
    """A field whose octants have eight colours, and its surface, which is exactly known: a cube."""

    class Cube(tiny.Ball):
        def density(self, x: torch.Tensor) -> torch.Tensor:
            return 200.0 * (x.abs().amax(-1) < 1.0).to(x.dtype)

    mesh = trimesh.creation.box((2, 2, 2))
    for _ in range(4):
        mesh = mesh.subdivide()
    vertices, faces = torch.from_numpy(mesh.vertices).float(), torch.from_numpy(mesh.faces)
    colors = ((0.1 + 0.8 * (vertices > 0).float()) * 255).round().to(torch.uint8)
    views = tiny.cameras(12, size=32)
    scene = Scene(Cube(), Stratified(Box.cube(1.5), 96), torch.ones(3), views, Box.cube(1.5), tiny.UP)
    return scene, Asset(vertices, faces, vertex_normals(vertices, faces), colors)


def test_the_true_surface_of_a_field_looks_like_the_field(tmp_path: Path) -> None:
    """Wherever its file puts it; and not, if it is turned around by a right angle."""
    scene, asset = cube_scene()
    figure = {}
    for name, frame in (("a.glb", Frame()), ("b.glb", Frame("base", 0.3, True)), ("c.obj", Frame("center", 7.0))):
        write_asset(tmp_path / name, put(asset, frame, Path(name).suffix))
        compared, _ = command._compare_pictures(scene, 0, command.read_mesh(tmp_path / name))
        figure[name] = compared.psnr
    assert 20 < figure["a.glb"] < 45  # edges between the colours are blurred over a triangle
    assert figure["b.glb"] == pytest.approx(figure["a.glb"], abs=0.1)
    assert figure["c.obj"] == pytest.approx(figure["a.glb"], abs=0.1)
    wrong = replace(asset, vertices=asset.vertices @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    write_asset(tmp_path / "d.glb", put(wrong, Frame(), ".glb"))
    compared, _ = command._compare_pictures(scene, 0, command.read_mesh(tmp_path / "d.glb"))
    assert compared.psnr < 15


def test_fresh_cameras() -> None:
    scene, _ = cube_scene()
    cameras = command.fresh_cameras(scene)
    assert len(cameras) == 16
    assert torch.allclose(cameras.center.norm(dim=1), torch.full((16,), 4.0), atol=0.05)
    assert torch.allclose(cameras.forward, -cameras.center / 4, atol=0.02)
    assert torch.equal(cameras.intrinsics, scene.cameras.intrinsics[0].expand(16, 4))
    elevation = torch.rad2deg(torch.asin(cameras.center[:, 2] / cameras.center.norm(dim=1)))
    theirs = torch.rad2deg(torch.asin(scene.cameras.center[:, 2] / 4))
    assert float(theirs.min()) < float(elevation.min()) < -30
    assert 30 < float(elevation.max()) < float(theirs.max())
    assert len({round(float(e), 2) for e in elevation}) == 16
    azimuth = torch.atan2(cameras.center[:, 1], cameras.center[:, 0]).sort().values
    assert torch.allclose(azimuth[1:] - azimuth[:-1], torch.full((15,), 2 * math.pi / 16), atol=1e-3)
    level = tiny.cameras(8)[torch.zeros(1, dtype=torch.int64)]
    one = command.fresh_cameras(replace(scene, cameras=level))
    assert len(one) == 16
    assert bool(one.world_from_camera.isfinite().all())
    large = command.fresh_cameras(replace(scene, cameras=scene.cameras.scaled_to(4000, 2000)))
    assert (large.width, large.height) == (400, 200)


def test_against_the_true_mesh_in_the_scenes_world(tmp_path: Path, capsys: Capture) -> None:
    """The asset stands upright, small and on the ground in its file; the truth is where the scene was."""
    write_asset(tmp_path / "crate.glb", put(crate(), Frame("base", 0.3, True), ".glb"))
    write_asset(tmp_path / "truth.ply", painted_crate())
    assert main(["eval", str(tmp_path / "crate.glb"), "--against", str(tmp_path / "truth.ply")]) == 0
    said = capsys.readouterr().out
    found = figures(tmp_path / "crate.glb")
    surface = found["surface"]
    assert (found["in_world"], found["against_in_world"], found["pictures"]) == (True, False, None)
    assert found["mesh"]["high"][1] == pytest.approx(0.3)
    assert surface["chamfer"] == pytest.approx(surface["finest"], rel=0.05)
    assert surface["threshold"] == pytest.approx(0.01 * math.sqrt(14))
    assert surface["f_score"] == 1.0
    assert surface["normal_consistency"] > 0.99
    assert "asset moved back to its scene's world, true mesh as it is in its file" in said
    assert "note" not in said
    moved = replace(painted_crate(), vertices=painted_crate().vertices + torch.tensor([2.0, 0, 0]))
    write_asset(tmp_path / "moved.ply", moved)
    result = nerf3d.evaluate_asset(tmp_path / "moved.ply", tmp_path / "truth.ply")
    assert result.surface is not None
    assert 1.0 < result.surface.chamfer < 2.0
    assert "they may stand in different frames" in command.table(result)


def test_what_is_unsound_is_seen(tmp_path: Path) -> None:
    one = painted_crate()
    vertices = torch.cat([one.vertices, one.vertices + torch.tensor([0.5, 0.1, 0.2])])
    faces = torch.cat([one.faces, one.faces[:-1] + 24])
    two = Asset(vertices, faces, one.normals.repeat(2, 1))
    write_asset(tmp_path / "two.stl", two)
    found = nerf3d.evaluate_asset(str(tmp_path / "two.stl"))
    assert found.mesh.components == 2  # though an .stl has no common vertices at all
    assert found.mesh.vertices == 16
    assert not found.mesh.watertight
    assert found.self_intersections > 4
    assert found.texture is None
    on_one_place = crate().uv[:4].repeat(6, 1)
    write_asset(tmp_path / "over.glb", replace(crate(), uv=on_one_place))
    over = nerf3d.evaluate_asset(tmp_path / "over.glb").texture
    assert over is not None
    assert over.overlap == 1.0
    write_asset(tmp_path / "crate.glb", crate())
    sound = nerf3d.evaluate_asset(tmp_path / "crate.glb")
    assert (sound.self_intersections, sound.degenerate, sound.mesh.watertight) == (0, 0, True)
    assert sound.texture is not None
    assert sound.texture.overlap == 0.0
    assert sound.texture.used == pytest.approx(6 / 8 / 4, rel=0.1)  # six of eight cells, a quarter of each
    density = [math.sqrt(8 * 16 / area) for area in (6.0, 3.0, 2.0)]  # a chart of 8 x 16 texels for sides of 6, 3, 2
    assert sound.texture.density == pytest.approx((density[0], density[0], density[2]), rel=1e-3)


def test_identical_pictures_are_null_in_json(
    run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    grey = Picture(torch.full((24, 24, 3), 0.5), torch.ones(24, 24), torch.ones(24, 24))
    monkeypatch.setattr(command, "render_picture", lambda *_: grey)
    monkeypatch.setattr(command, "render_mesh", lambda *_: grey)
    assert main(["eval", str(exported), "--against", str(run)]) == 0
    found = figures(exported)["pictures"]
    assert found["psnr"] is None
    assert found["psnr_of_mean_error"] is None
    assert found["cameras"] == [None] * 16
    assert "inf dB" in capsys.readouterr().out


def test_what_cannot_be_compared(
    run: Path, exported: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--against is for meshes in files" in refused(capsys, "eval", run, "--against", exported)
    assert "nowhere is not a run" in refused(capsys, "eval", "nowhere")
    assert "No such file" in refused(capsys, "eval", "gone.glb")
    Path("a.txt").write_text("")
    assert "no suffix of a mesh" in refused(capsys, "eval", "a.txt")
    assert "a.txt is neither a run's folder nor a mesh" in refused(capsys, "eval", exported, "--against", "a.txt")
    assert "is not a run (it has no config.yaml)" in refused(capsys, "eval", exported, "--against", tmp_path)
    assert "nothing is not a run" in refused(capsys, "eval", exported, "--against", "nothing")
    assert "gone.ply cannot be read" in refused(capsys, "eval", exported, "--against", "gone.ply")
    write_asset("a.stl", painted_crate())
    assert "a.stl has no colours" in refused(capsys, "eval", "a.stl", "--against", run)
    write_asset("a.ply", painted_crate())
    assert "asset_from_world" in refused(capsys, "eval", "a.ply", "--against", run)
    write_asset("a.obj", put(crate(), Frame(), ".obj"))
    Path("a_color.png").unlink()
    assert "a_color.png" in refused(capsys, "eval", "a.obj", "--against", run)
    assert not list(tmp_path.glob("*.metrics.json"))
    assert main(["eval", "a.obj"]) == 0  # the shape is there all the same
    assert "a_color.png" in capsys.readouterr().err
    assert figures(tmp_path / "a.obj")["texture"]["density"] is None


def test_where_nothing_can_be_written(tmp_path: Path, capsys: Capture) -> None:
    write_asset(tmp_path / "a.ply", painted_crate())
    (tmp_path / "a.ply.metrics.json").mkdir()
    assert "a.ply.metrics.json cannot be written" in refused(capsys, "eval", tmp_path / "a.ply")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ply", "a.ply.metrics.json"]


def test_a_texture_larger_than_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coverage is measured in a smaller picture, the density is that of the true one."""
    from nerf3d.metrics import asset as metrics

    monkeypatch.setattr(metrics, "MOST_TEXELS", 32)
    write_asset(tmp_path / "a.glb", replace(crate(), textures=Textures(torch.zeros(128, 128, 3, dtype=torch.uint8))))
    found = nerf3d.evaluate_asset(tmp_path / "a.glb").texture
    assert found is not None
    assert found.used == pytest.approx(6 / 32, rel=0.15)
    assert found.density is not None
    assert found.density[2] == pytest.approx(2 * math.sqrt(64), rel=1e-3)
