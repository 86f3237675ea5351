"""`nerf3d export --from depth`, in this process."""

from pathlib import Path

import pytest
import trimesh
from tiny import refused

from nerf3d.cli import main


def test_a_surface_from_depth_is_what_the_cameras_see(run: Path, tmp_path: Path) -> None:
    """A ball of radius 1, from cameras at heights up to 0.8 of their distance: no pole is hidden from all of them."""
    out = tmp_path / "ball.ply"
    assert main(["export", str(run), "--from", "depth", "--out", str(out), "--resolution", "40"]) == 0
    mesh = trimesh.load(out, process=False)
    radius = (mesh.vertices**2).sum(1) ** 0.5
    assert float(radius.mean()) == pytest.approx(1.0, abs=0.1)  # the field is a hundred steps old
    assert float(radius.std()) < 0.1
    assert len(mesh.faces) > 1000


def test_where_no_camera_sees_anything_there_is_one_sentence_and_no_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nothing.glb"
    corner = ["--box", "1.3", "1.3", "1.3", "1.5", "1.5", "1.5"]
    said = refused(capsys, "export", run, "--from", "depth", "--out", out, "--resolution", 16, *corner)
    assert "No camera sees a surface inside the box [1.3, 1.3, 1.3] to [1.5, 1.5, 1.5]" in said
    assert not out.exists()


def test_a_level_is_no_option_of_depth(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "export", run, "--from", "depth", "--level", 5, "--out", tmp_path / "a.glb")
    assert "a --level is a density" in said
