"""The command line, in this process: what it makes of bad input, and one story from photographs to figures."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import tiny
import torch
import trimesh
from PIL import Image

import nerf3d
from nerf3d.cli import main
from nerf3d.commands import evaluate as evaluation
from nerf3d.config import load_yaml
from nerf3d.runs import RunConfig

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("cli") / "scene", train=6, test=2)


@pytest.fixture
def scene(intact: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(intact, tmp_path / "scene"))


@pytest.fixture(scope="module")
def run(intact: Path) -> Path:
    """A finished run; tests only look at it, or write into its media."""
    out = intact.parent / "run with spaces é"
    settings = (*tiny.SMALL, "samples=8192", "rays=256")
    assert main(["fit", str(intact), "--out", str(out), "--steps", "100", *tiny.options(settings)]) == 0
    return out


def refused(capsys: Capture, *arguments: object) -> str:
    """What the command says: one sentence on one line, behind nothing but the loader's notes; exit code 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    *notes, line = said.err.splitlines()
    assert line.startswith("nerf3d: ")
    assert all("photographs for training" in note for note in notes)
    return line


def no_traces(folder: Path, before: set[Path]) -> None:
    assert set(folder.rglob("*")) == before


def edit(file: str, change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(scene: Path) -> None:
        document = json.loads((scene / file).read_text())
        change(document)
        (scene / file).write_text(json.dumps(document))

    return apply


def pose(row: int, value: float) -> Change:
    """A value all along one row of the third training pose."""

    def change(document: dict[str, Any]) -> None:
        document["frames"][2]["transform_matrix"][row] = [value] * 4

    return edit("transforms_train.json", change)


def cut(file: str, share: float) -> Change:
    def change(scene: Path) -> None:
        data = (scene / file).read_bytes()
        (scene / file).write_bytes(data[: int(share * len(data))])

    return change


def turn(document: dict[str, Any]) -> None:
    for frame in document["frames"]:
        for row in frame["transform_matrix"]:
            row[1:3] = [-row[1], -row[2]]


def one_place(document: dict[str, Any]) -> None:
    for frame in document["frames"]:
        for row in frame["transform_matrix"]:
            row[3] = 0.0


def opaque(scene: Path) -> None:
    for file in scene.rglob("*.png"):
        Image.open(file).convert("RGB").save(file)


def mask(size: int) -> Change:
    def change(scene: Path) -> None:
        Image.new("L", (size, size), 255).save(scene / "mask.png")
        edit("transforms_train.json", lambda d: d["frames"][1].update(mask_path="mask.png"))(scene)

    return change


def only(count: int) -> Change:
    return edit("transforms_train.json", lambda d: d.update(frames=d["frames"][:count]))


TRAIN = "transforms_train.json"
BAD_SCENES: dict[str, tuple[Change, str]] = {
    "no folder": (shutil.rmtree, r"there is no folder .*scene; check the path"),
    "a file": (lambda s: (shutil.rmtree(s), s.touch()), r"scene is a file; give the folder"),
    "empty folder": (lambda s: (shutil.rmtree(s), s.mkdir()), r"scene holds no data set: .*check the path"),
    "cut-off JSON": (cut(TRAIN, 0.5), r"transforms_train\.json is not complete, valid JSON .*again"),
    "JSON of another kind": (lambda s: (s / TRAIN).write_text("[]"), r"transforms_train\.json holds a JSON list"),
    "no frames": (edit(TRAIN, lambda d: d.update(frames=[])), r"transforms_train\.json lists no frames"),
    "singular pose": (pose(1, 0.0), r"train/r_2\.png has a singular pose.*correct its pose"),
    "non-finite pose": (pose(1, float("nan")), r"transforms_train\.json, frame '\./train/r_2'.* not finite"),
    "huge pose": (pose(1, 1e300), r"transforms_train\.json, frame '\./train/r_2'.* not finite"),
    "leaves the folder": (
        edit(TRAIN, lambda d: d["frames"][0].update(file_path="../../etc/passwd")),
        r"'\.\./\.\./etc/passwd' leaves the data set's folder .*put the file itself",
    ),
    "absolute path": (
        edit(TRAIN, lambda d: d["frames"][0].update(file_path="/etc/passwd")),
        r"'/etc/passwd' leaves the data set's folder",
    ),
    "truncated picture": (cut("train/r_3.png", 0.6), r"train/r_3\.png cannot be read as a picture.*replace it"),
    "empty picture": (cut("train/r_3.png", 0.0), r"train/r_3\.png is empty; replace it"),
    "truncated held-out picture": (cut("test/r_1.png", 0.6), r"test/r_1\.png cannot be read as a picture"),
    "another size": (
        lambda s: Image.new("RGBA", (20, 24)).save(s / "train/r_4.png"),
        r"train/r_4\.png is 20 x 24 pixels but .*r_0\.png is 24 x 24.*resize it",
    ),
    "32 bits": (
        lambda s: (
            (s / "train/r_1.png").unlink(),
            Image.fromarray(np.zeros((24, 24), np.float32)).save(s / "train/r_1.tif"),
        ),
        r"train/r_1\.tif has 32 bits a channel; save it with 8 or 16",
    ),
    "mask of the wrong size": (mask(12), r"the mask .*mask\.png is 12 x 12 pixels but its picture is 24 x 24"),
    "mask that is missing": (
        edit(TRAIN, lambda d: d["frames"][1].update(mask_path="no.png")),
        r"no\.png does not exist; restore it",
    ),
    "two views": (only(2), r"only 2 of the pictures are for training .*add photographs"),
    "cameras look away": (edit(TRAIN, turn), r"look away.*correct the poses"),
    "cameras look away from a place": (
        lambda s: (opaque(s), edit(TRAIN, turn)(s)),
        r"all cameras look away from the place.*correct the poses",
    ),
    "all at one point": (
        lambda s: (opaque(s), edit(TRAIN, one_place)(s)),
        r"all cameras stand at the same point.*move between",
    ),
    "no focal length": (edit(TRAIN, lambda d: d.pop("camera_angle_x")), r"gives no focal length; add fl_x"),
    "nonsense focal length": (edit(TRAIN, lambda d: d.update(camera_angle_x="wide")), r"'wide', which is not a number"),
}


@pytest.mark.parametrize("name", BAD_SCENES)
def test_a_scene_that_cannot_be_used(name: str, scene: Path, tmp_path: Path, capsys: Capture) -> None:
    change, message = BAD_SCENES[name]
    change(scene)
    before = set(tmp_path.rglob("*"))
    line = refused(capsys, "fit", scene, "--out", tmp_path / "run", "--steps", 3)
    assert re.search(message, line), line
    no_traces(tmp_path, before)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "I;16", "1", "LA"])
def test_pictures_of_other_kinds_are_understood(mode: str, scene: Path, tmp_path: Path) -> None:
    opaque(scene)
    for file in (scene / "train").iterdir():
        picture = Image.open(file)
        if mode == "I;16":
            picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        elif mode == "CMYK":
            file.unlink()
            file = file.with_suffix(".jpg")
        (picture if mode == "I;16" else picture.convert(mode)).save(file)
    more = tiny.options((*tiny.SMALL, "space=box"))
    assert main(["fit", str(scene), "--out", str(tmp_path / "run"), "--steps", "2", *more]) == 0


BAD_OPTIONS: dict[str, tuple[list[str], str]] = {
    "unknown preset": (["--preset", "ngp_blendr"], r"'ngp_blendr' \(did you mean 'ngp_blender'\?\)"),
    "no such recipe file": (["--preset", "my/own.yaml"], r"there is no recipe file my/own\.yaml"),
    "unknown key": (["--set", "field.layout.levls=3"], r"field\.layout\.levls is not a key \(did you mean 'levels'\?\)"),
    "another type": (["--set", "rays=many"], r"rays is 'many', and a whole number is needed"),
    "no assignment": (["--set", "rays"], r"'rays' is no assignment"),
    "unknown kind": (["--set", "field.kind=HashGird"], r"did you mean 'HashGrid'\?"),
    "unknown loss": (["--set", "loss=l3"], r"loss is 'l3'; it can be: huber, mse"),
    "no steps": (["--steps", "0"], r"0 steps"),
    "negative steps": (["--steps", "-4"], r"-4 steps"),
    "no time": (["--max-minutes", "0"], r"0\.0 minutes"),
    "time that is no number": (["--max-minutes", "nan"], r"nan minutes"),
    "no end": (["--set", "minutes=null"], r"a run needs an end"),
    "negative seed": (["--seed", "-1"], r"seed of -1"),
    "huge seed": (["--seed", str(2**70)], r"seed of 1180591620717411303424"),
    "unknown device": (["--device", "abacus"], r"there is no device 'abacus'"),
    "device that is not here": (["--device", "xpu:7"], r"there is no device 'xpu:7'"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_cannot_be_used(name: str, intact: Path, tmp_path: Path, capsys: Capture) -> None:
    options, message = BAD_OPTIONS[name]
    line = refused(capsys, "fit", intact, "--out", tmp_path / "run", *options)
    assert re.search(message, line), line
    no_traces(tmp_path, set())


def test_a_recipe_of_ones_own(intact: Path, tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text("rays: 12\nstpes: 3\n")
    assert "own.yaml: stpes is not a key (did you mean 'steps'?)" in refused(
        capsys, "fit", intact, "--preset", recipe, "--out", tmp_path / "run"
    )
    no_traces(tmp_path, {recipe})


def test_a_place_to_write_to_that_cannot_be_used(intact: Path, run: Path, tmp_path: Path, capsys: Capture) -> None:
    def fit(out: Path) -> str:
        return refused(capsys, "fit", intact, "--steps", 2, "--out", out)

    (tmp_path / "file").write_text("here")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = set(tmp_path.rglob("*"))
    assert re.search(r"file exists and is not an empty folder; choose another with --out", fit(tmp_path / "file"))
    assert re.search(r"full exists and is not an empty folder; choose another", fit(tmp_path / "full"))
    assert re.search(r"spaces é holds a run already; go on with it with --resume", fit(run))
    assert "File name too long" in fit(tmp_path / ("x" * 300))
    no_traces(tmp_path, before)
    assert "run cannot be written (Not a directory)" in fit(tmp_path / "file" / "run")
    no_traces(tmp_path, before)


def test_a_full_disk_when_a_run_begins(
    intact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from nerf3d import runs

    def full(path: Path, text: str) -> None:
        path.with_name("half").write_text(text[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "_write_whole", full)
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "run", tmp_path / "empty"):
        line = refused(capsys, "fit", intact, "--steps", 2, "--out", out, *tiny.options())
        assert f"{out} cannot be written (No space left on device)" in line
    no_traces(tmp_path, {tmp_path / "empty"})


@pytest.mark.parametrize("command", [["render"], ["export", "--out", "mesh.glb"], ["eval"]], ids=lambda c: c[0])
def test_a_folder_that_is_no_run(
    command: list[str], intact: Path, run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def line(folder: Path) -> str:
        return refused(capsys, command[0], folder, *command[1:])

    assert "nowhere is not a run (there is no such folder); give the folder that `nerf3d fit` wrote" in line(
        tmp_path / "nowhere"
    )
    assert f"{intact} is not a run (it has no config.yaml)" in line(intact)
    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(run / "config.yaml", young)
    assert f"{young} has no checkpoint yet" in line(young)
    shutil.copytree(run / "checkpoints", young / "checkpoints")
    assert "capture.json is missing or damaged" in line(young)
    (young / "capture.json").write_text((run / "capture.json").read_text()[:-30])
    assert "capture.json is missing or damaged" in line(young)
    shutil.copy(run / "capture.json", young)
    text = (run / "config.yaml").read_text()
    (young / "config.yaml").write_text(text.replace("coarsest: 8", "coarsest: 9"))
    assert "does not fit this run" in line(young)
    (young / "config.yaml").write_text(text.replace("seed:", "sed:"))
    assert "config.yaml: sed is not a key (did you mean 'seed'?)" in line(young)
    (young / "config.yaml").write_text("a: [")
    assert "config.yaml is not valid YAML" in line(young)
    assert not (tmp_path / "mesh.glb").exists()
    assert not (young / "media").exists()


BAD_FILMS: dict[str, tuple[list[str], str]] = {
    "unknown channel": (["--channels", "rgb,dept"], r"there is no channel dept; choose among rgb, depth, normal"),
    "no channel": (["--channels", ","], r"there is no channel \(none given\)"),
    "unknown path": (["--path", "orbits"], r"there is no path 'orbits'; choose orbit, spiral, inputs"),
    "no path file": (["--path", "no.json"], r"there is no camera path no\.json"),
    "another kind of file": (["--out", "film.avi"], r"film\.avi is neither an \.mp4 file nor a folder"),
    "no pace": (["--fps", "0"], r"frames per second, not 0"),
    "a pace that is no number": (["--fps", "nan"], r"frames per second, not nan"),
    "too large": (["--size", "100000"], r"cannot be 100000 pixels large"),
    "in a file's place": (["--out", "taken/film.mp4"], r"taken/film\.mp4 cannot be written"),
    "frames in a file's place": (["--out", "taken"], r"taken/rgb_00000\.png cannot be written"),
}


@pytest.mark.parametrize("name", BAD_FILMS)
def test_films_that_cannot_be_made(
    name: str, run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("here")
    options, message = BAD_FILMS[name]
    line = refused(capsys, "render", run, "--frames", 2, "--size", 8, *options)
    assert re.search(message, line), line
    no_traces(tmp_path, {tmp_path / "taken"})


TURN = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
FLAT = [number for row in TURN for number in row]
BAD_PATHS: dict[str, tuple[object, str]] = {
    "cut off": ('{"frames": [', r"path\.json is not complete, valid JSON"),
    "a list": ([], r"path\.json holds a JSON list"),
    "nothing": ({}, r'path\.json holds no "frames" and no "camera_path"'),
    "no frames": ({"frames": []}, r'holds no "frames"'),
    "frames of another kind": ({"frames": [3]}, r'holds no "frames"'),
    "no matrix": ({"frames": [{}]}, r"path\.json, frame 0 has no transform_matrix"),
    "matrix of words": ({"frames": [{"transform_matrix": [["a"] * 4] * 4}]}, r"something that is not a number"),
    "matrix that is no rotation": ({"frames": [{"transform_matrix": [[2, 0, 0, 0], *TURN[1:]]}]}, r"frame 0 is not a rot"),
    "huge matrix": ({"frames": [{"transform_matrix": [[1e30] * 4] * 4}]}, r"frame 0 is not a rotation and a position"),
    "no angle": ({"camera_angle_x": 0, "frames": [{"transform_matrix": TURN}]}, r"camera_angle_x is 0 degrees"),
    "all around": ({"camera_angle_x": 7, "frames": [{"transform_matrix": TURN}]}, r"camera_angle_x is 401\.07 degrees"),
    "no focal length": ({"fl_x": 0, "frames": [{"transform_matrix": TURN}]}, r"a focal length is not a positive number"),
    "nonsense focal length": ({"fl_x": "x", "frames": [{"transform_matrix": TURN}]}, r"'fl_x' is 'x'"),
    "no size": ({"w": 0, "h": 9, "frames": [{"transform_matrix": TURN}]}, r"cannot be 0 x 9 pixels large"),
    "endless size": ({"w": 1e999, "h": 9, "frames": [{"transform_matrix": TURN}]}, r"cannot be inf x 9 pixels"),
    "nerfstudio, no matrix": ({"camera_path": [{"fov": 50}]}, r'camera 0 has no "camera_to_world" of 16 numbers'),
    "nerfstudio, no angle": ({"camera_path": [{"camera_to_world": FLAT, "fov": 0}]}, r"camera 0: fov is 0 degrees"),
    "nerfstudio, flat": ({"camera_path": [{"camera_to_world": FLAT, "fov": 180}]}, r"camera 0: fov is 180 degrees"),
}


@pytest.mark.parametrize("name", BAD_PATHS)
def test_camera_paths_that_cannot_be_used(name: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    document, message = BAD_PATHS[name]
    file = tmp_path / "path.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    line = refused(capsys, "render", run, "--path", file, "--out", tmp_path / "film.mp4")
    assert re.search(message, line), line
    no_traces(tmp_path, {file})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "mesh.stl"], r"mesh\.stl has no suffix that names a mesh format: choose one of \.glb, \.obj, \.ply"),
        (["--out", "mesh"], r"mesh has no suffix"),
        (["--out", "a.ply", "--resolution", "3"], r"a resolution of 3 cells"),
        (["--out", "a.ply", "--level", "nan"], r"a level of nan"),
        (["--out", "a.ply", "--level", "-1"], r"a level of -1"),
        (["--out", "a.ply", "--level", "1e9", "--resolution", "16"], r"[Tt]he field is empty inside the box"),
        (["--out", "a.ply", "--smallest", "nan"], r"share of nan"),
        (["--out", "taken/a.ply", "--resolution", "16"], r"taken/a\.ply cannot be written"),
    ],
)
def test_meshes_that_cannot_be_made(
    options: list[str], message: str, run: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("here")
    line = refused(capsys, "export", run, *options)
    assert re.search(message, line), line
    no_traces(tmp_path, {tmp_path / "taken"})


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["fit"],
        ["fit", "scene", "--checkpoint-every", "0"],
        ["fit", "scene", "--checkpoint-every", "x"],
        ["fit", "scene", "--steps", "1.5"],
        ["render", "run", "--frames", "0"],
        ["export", "run"],
    ],
)
def test_what_the_parser_refuses(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("nerf3d")
    assert "error: " in last
    assert "_positive" not in last


# The story itself.


def test_a_run_is_a_folder_with_everything_in_it(intact: Path, run: Path) -> None:
    config = load_yaml(run / "config.yaml")
    assert config["data"] == str(intact.resolve())
    assert config["recipe"]["steps"] == 100
    assert config["recipe"]["field"]["width"] == 16
    assert nerf3d.open_run(run).config == nerf3d.config.from_plain(RunConfig, config, "x")
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
    assert len(list(out.parent.iterdir())) == 1


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
    where = load_yaml(copy / "config.yaml")["data"]
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
    assert load_yaml(run / "config.yaml")["data"] == str(scene.resolve())
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "scene", "--out", "a/b/run", "--steps", "2", *tiny.options()]) == 0
    assert (tmp_path / "a" / "b" / "run" / "config.yaml").is_file()


def test_from_python(intact: Path, tmp_path: Path) -> None:
    """Everything that a command does is a function call away."""
    run = nerf3d.fit(intact, out=tmp_path / "run", settings=tiny.SMALL, steps=3)
    assert nerf3d.film(run.folder, tmp_path / "film.mp4", frames=1, size=8) == tmp_path / "film.mp4"
    scene, step = nerf3d.load_scene(nerf3d.open_run(run.folder))
    assert step == 3
    assert scene.field.density(torch.zeros(1, 3)).shape == (1,)
    with pytest.raises(AttributeError, match="no attribute 'train_everything'"):
        _ = nerf3d.train_everything
