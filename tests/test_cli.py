"""The command line, in this process: what it makes of bad input."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import refused

from nerf3d.cli import main

Capture = pytest.CaptureFixture[str]
Change = Callable[[Path], object]


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
    "unknown key": (
        ["--set", "field.layout.levls=3"],
        r"field\.layout\.levls is not a key \(did you mean 'levels'\?\)",
    ),
    "another type": (["--set", "rays=many"], r"rays is 'many', and a whole number is needed"),
    "no assignment": (["--set", "rays"], r"'rays' is no assignment"),
    "unknown kind": (["--set", "field.kind=HashGird"], r"did you mean 'HashGrid'\?"),
    "unknown loss": (["--set", "loss=l3"], r"loss is 'l3'; it can be: huber, mse"),
    "no rays": (["--set", "rays=0"], r"ngp_blender\.yaml with --set rays=0: rays is 0, and a number above 0 is needed"),
    "negative samples": (["--set", "samples=-3"], r"samples is -3"),
    "no levels": (["--set", "field.layout.levels=0"], r"field\.layout\.levels is 0"),
    "a table larger than any memory": (
        ["--set", "field.layout.log2_table_size=60"],
        r"log2_table_size is 60, and 28 is",
    ),
    "negative weight": (["--set", "weights.distortion=-1"], r"weights\.distortion is -1, and a number from 0 on"),
    "no rate": (["--set", "rate.start=0"], r"rate decays from 0 to"),
    "endless rate": (["--set", "rate.start=.inf"], r"rate\.start is inf"),
    "near behind far": (
        ["--set", "sampler.near=9", "--set", "sampler.far=3"],
        r"near is 9, which is not before its far, 3",
    ),
    "loss without its sampler": (["--set", "weights.coarse=1"], r"weights\.coarse needs the sampler CoarseToFine"),
    "rounds that do not fit": (["--set", "sampler={kind: Proposals, finest: [16]}"], r"one entry for each round"),
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
    assert re.search(r"file exists and is not an empty folder; choose another \(--out", fit(tmp_path / "file"))
    assert re.search(r"full exists and is not an empty folder; choose another", fit(tmp_path / "full"))
    assert re.search(r"spaces é holds a run already; go on with it \(--resume", fit(run))
    assert "File name too long" in fit(tmp_path / ("x" * 300))
    no_traces(tmp_path, before)
    assert "run cannot be written (Not a directory)" in fit(tmp_path / "file" / "run")
    no_traces(tmp_path, before)


def test_a_full_disk_when_a_run_begins(
    intact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from nerf3d import runs

    def full(found: object, path: Path) -> None:
        path.with_name("half").write_text("half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "write_capture", full)
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

    assert (
        "nowhere is not a run (there is no such folder); give the folder that `nerf3d fit`, `text`, `avatar fit` or "
        "`gen fit` wrote" in line(tmp_path / "nowhere")
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
    "matrix that is no rotation": (
        {"frames": [{"transform_matrix": [[2, 0, 0, 0], *TURN[1:]]}]},
        r"frame 0 is not a rot",
    ),
    "huge matrix": ({"frames": [{"transform_matrix": [[1e30] * 4] * 4}]}, r"frame 0 is not a rotation and a position"),
    "no angle": ({"camera_angle_x": 0, "frames": [{"transform_matrix": TURN}]}, r"camera_angle_x is 0 degrees"),
    "all around": ({"camera_angle_x": 7, "frames": [{"transform_matrix": TURN}]}, r"camera_angle_x is 401\.07 degrees"),
    "no focal length": (
        {"fl_x": 0, "frames": [{"transform_matrix": TURN}]},
        r"a focal length is not a positive number",
    ),
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
        (["--out", "mesh.fbx"], r"mesh\.fbx has no suffix that names a mesh format: choose one of \.glb, \.obj, \.ply"),
        (["--out", "a.glb", "--faces", "2"], r"a mesh cannot have 2 triangles; give 4 to"),
        (["--out", "a.glb", "--faces", "1000000000"], r"a mesh cannot have 1000000000 triangles"),
        (["--out", "a.glb", "--texture", "7", "--resolution", "16"], r"a texture of 7 pixels"),
        (["--out", "a.ply", "--texture", "512"], r"a\.ply has no room for textures"),
        (["--out", "a.glb", "--unit", "3 parsec"], r"'3 parsec' is no length; give a number and one of m, cm"),
        (["--out", "a.glb", "--up", "z", "--resolution", "16"], r"a \.glb is Y up by its standard"),
        (["--out", "a.glb", "--smoothing", "-1"], r"-1 rounds of smoothing"),
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
