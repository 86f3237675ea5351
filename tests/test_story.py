"""The commands, in this process, from photographs to films, meshes and figures."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import tiny
import torch
import trimesh
from PIL import Image
from tiny import refused

import nerf3d
from nerf3d.cli import main
from nerf3d.commands import evaluate as evaluation
from nerf3d.config import from_plain, load_yaml
from nerf3d.runs import RunConfig

Capture = pytest.CaptureFixture[str]
TURN = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
FLAT = [number for row in TURN for number in row]


def test_a_run_is_a_folder_with_everything_in_it(intact: Path, run: Path) -> None:
    config = load_yaml(run / "config.yaml")
    assert config["source"] == str(intact.resolve())
    assert config["recipe"]["steps"] == 100
    assert config["recipe"]["field"]["width"] == 16
    assert nerf3d.open_run(run).config == from_plain(RunConfig, config, "x")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60, 80, 100]
    assert {"step", "seconds", "rate", "loss/photometric", "psnr", "rays", "samples"} == set(lines[0])
    assert lines[-1]["loss/photometric"] < lines[0]["loss/photometric"]
    assert len(list((run / "tensorboard").iterdir())) == 1
    sheets = sorted(run.glob("media/held_out_*.png"))
    assert [sheet.name for sheet in sheets] == [f"held_out_000{step}.png" for step in ("025", "050", "075", "100")]
    picture = np.asarray(Image.open(sheets[-1]))
    assert picture.shape == (2 * 24 + 4, 2 * 24 + 4, 3)
    assert {p.name for p in run.iterdir()} >= {"capture.json", "checkpoints", "config.yaml"}
    assert not [path for path in run.rglob("*") if "unfinished" in path.name]


@pytest.mark.parametrize("path", ["orbit", "spiral", "inputs"])
def test_film(path: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "film é.mp4"
    options = ["--path", path, "--frames", "3", "--size", "20", "--channels", "rgb,depth"]
    assert main(["render", str(run), "--out", str(out), *options]) == 0
    frames = _film(out)
    assert frames.shape == (3, 20, 40, 3)
    if path == "orbit":  # the others are for scenes that were not seen from all around
        assert frames[:, :2, :2].mean() > 240  # white, as there is alpha
        assert frames[:, 8:12, 8:12].mean() < 200


def _film(path: Path) -> np.ndarray:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    size = re.search(r"Video: h264.* (\d+)x(\d+)", done.stderr.decode())
    assert size is not None
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3)


def test_film_beside_the_run_and_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["render", run.name, "--frames", "1", "--size", "8"]) == 0
    assert _film(run / "media" / "orbit.mp4").shape == (1, 8, 8, 3)


def test_pictures_of_all_channels(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "frames"
    channels = ["rgb", "depth", "normal", "opacity"]
    options = ["--frames", "2", "--size", "16", "--channels", ",".join(channels), "--path", "inputs"]
    assert main(["render", str(run), "--out", str(out), *options]) == 0
    assert {p.name for p in out.iterdir()} == {f"{c}_0000{i}.png" for c in channels for i in (0, 1)}
    pictures = [np.asarray(Image.open(p)) for p in out.iterdir()]
    assert {p.shape for p in pictures} == {(16, 16, 3)}
    assert len({p.tobytes() for p in pictures}) == 8


def test_film_along_a_file(run: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "path.json", tmp_path / "film.mp4"
    file.write_text(json.dumps({"w": 12, "h": 8, "camera_angle_x": 0.8, "frames": [{"transform_matrix": TURN}] * 2}))
    assert main(["render", str(run), "--path", str(file), "--out", str(out)]) == 0
    assert _film(out).shape == (2, 8, 12, 3)
    cameras = [{"camera_to_world": FLAT, "fov": 40}] * 3
    file.write_text(json.dumps({"render_width": 10, "render_height": 14, "camera_path": cameras}))
    assert main(["render", str(run), "--path", str(file), "--out", str(out)]) == 0
    assert _film(out).shape == (3, 14, 10, 3)


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_export(suffix: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a folder" / f"mesh.{suffix}"
    assert main(["export", str(run), "--out", str(out), "--resolution", "24"]) == 0
    mesh = trimesh.load(out, force="mesh", process=False)
    assert len(mesh.faces) > 100
    assert bool((np.abs(mesh.vertices) <= 1.5 + 1e-5).all())
    beside = {"mesh.mtl", "mesh_color.png"} if suffix == "obj" else set()
    assert {file.name for file in out.parent.iterdir()} >= {out.name} | beside
    assert len(list(out.parent.iterdir())) == 1 + len(beside)


def test_export_of_a_part(run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "part.ply"
    box = ["-0.3", "-0.4", "-0.5", "0.5", "0.4", "0.6"]
    assert main(["export", str(run), "--out", str(out), "--resolution", "24", "--level", "1e-3", "--box", *box]) == 0
    mesh = trimesh.load(out, force="mesh", process=False)
    assert (mesh.vertices >= np.array([-0.3, -0.4, -0.5]) - 0.04).all()
    assert (mesh.vertices <= np.array([0.5, 0.4, 0.6]) + 0.04).all()
    capsys.readouterr()
    assert main(["export", str(run), "--out", str(out), "--box", *reversed(box)]) == 2
    assert "is empty" in capsys.readouterr().err


def test_eval(run: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert main(["eval", str(run)]) == 0
    table = capsys.readouterr().out
    figures = json.loads((run / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert {"psnr", "ssim", "lpips", "views", "step", "background", "alpha", "color_space"} <= set(figures)
    assert [view["name"] for view in figures["views"]] == ["test/r_0.png", "test/r_1.png"]
    assert figures["psnr"] == pytest.approx(sum(view["psnr"] for view in figures["views"]) / 2)
    assert figures["psnr"] > 17
    assert figures["background"] == "white"
    assert figures["step"] == 100
    for word in ("test/r_0.png", "mean", f"{figures['psnr']:.2f}", f"{figures['ssim']:.4f}"):
        assert word in table
    assert (run / "media" / "evaluation.png").is_file()


def test_eval_of_a_perfect_run(run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no infinity."""

    def perfect(scene: object, photographs: object, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((24, 24, 3), 0.5), torch.full((24, 24, 3), 0.5)

    monkeypatch.setattr(evaluation, "compare", perfect)
    assert nerf3d.evaluate(run).psnr == float("inf")
    figures = json.loads((run / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert figures["psnr"] is None
    assert figures["ssim"] == 1.0
    assert main(["eval", str(run)]) == 0
    assert "inf" in capsys.readouterr().out


def test_eval_when_the_photographs_have_gone(scene: Path, run: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    text = (copy / "config.yaml").read_text()
    where = load_yaml(copy / "config.yaml")["source"]
    (copy / "config.yaml").write_text(text.replace(where, str(tmp_path / "gone")))
    assert "there is no folder" in refused(capsys, "eval", copy)
    (copy / "config.yaml").write_text(text.replace(where, str(scene)))
    assert main(["eval", str(copy)]) == 0
    shutil.rmtree(scene / "test")
    assert str(scene) in refused(capsys, "eval", copy)


def test_relative_paths_and_the_default_folder(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene)
    assert main(["fit", ".", "--steps", "2", *tiny.options()]) == 0
    run = scene / "runs" / "scene-ngp_blender"
    assert load_yaml(run / "config.yaml")["source"] == str(scene.resolve())
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "scene", "--out", "a/b/run", "--steps", "2", *tiny.options()]) == 0
    assert (tmp_path / "a" / "b" / "run" / "config.yaml").is_file()


def test_three_photographs_are_enough(scene: Path, tmp_path: Path, capsys: Capture) -> None:
    document = json.loads((scene / "transforms_train.json").read_text())
    document["frames"] = document["frames"][:3]
    (scene / "transforms_train.json").write_text(json.dumps(document))
    (scene / "transforms_test.json").unlink()
    run = tmp_path / "run"
    assert main(["fit", str(scene), "--out", str(run), "--steps", "3", *tiny.options()]) == 0
    assert "3 photographs for training and none for testing, since they are so few" in capsys.readouterr().err
    assert list((run / "media").iterdir()) == []
    assert main(["render", str(run), "--frames", "1", "--size", "8"]) == 0
    assert "no photographs that were held out, so there is nothing to measure" in refused(capsys, "eval", run)


def test_from_python(intact: Path, tmp_path: Path) -> None:
    """Everything that a command does is a function call away."""
    run = nerf3d.fit(intact, out=tmp_path / "run", settings=tiny.SMALL, steps=3)
    assert nerf3d.film(run.folder, tmp_path / "film.mp4", frames=1, size=8) == tmp_path / "film.mp4"
    scene, step = nerf3d.load_scene(nerf3d.open_run(run.folder))
    assert step == 3
    assert scene.field.density(torch.zeros(1, 3)).shape == (1,)
    with pytest.raises(AttributeError, match="no attribute 'train_everything'"):
        _ = nerf3d.train_everything
