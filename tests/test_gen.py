"""`nerf3d gen`: from a collection to objects, on cars so few and a model so small that it takes seconds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

from nerf3d.cli import main
from nerf3d.commands import evaluate_edits, evaluate_inversions, fit_generator, invert_picture
from nerf3d.commands import evaluate_generator as measure
from nerf3d.commands.edit_object import check_words, edit_object, meant
from nerf3d.commands.evaluate_generator import evaluate_generator
from nerf3d.commands.generator_figures import IN_WORDS, number, table
from nerf3d.commands.interpolate import interpolate
from nerf3d.commands.invert_picture import read_object
from nerf3d.commands.prepare_collection import prepare_collection
from nerf3d.commands.sample_generator import sample_generator
from nerf3d.core.schedules import Constant
from nerf3d.errors import InputError
from nerf3d.export.surface import Surface
from nerf3d.media.ffmpeg import look_into
from nerf3d.runs import open_run
from nerf3d.scenes import load_model, load_scene
from nerf3d.tasks.generate import DiffAE, editing, inversion
from nerf3d.tasks.generate.autoencoder import Objects
from nerf3d.tasks.generate.latent import read_latent
from nerf3d.tasks.generate.resemblance import SQUARED
from nerf3d.train import NotANumber

SMALL = (
    "model.encoder.channels=[8,8,8,8]",
    "model.encoder.code=8",
    "model.channels=[8,8,8]",
    "model.plane_features=4",
    "model.decoder_width=8",
    "flow.width=16",
    "flow.blocks=1",
    "looks.objects=2",
    "looks.rays=64",
    "looks.samples=8",
)


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection") / "cars"
    prepare_collection("cars", folder, count=12, views=4, size=32)
    return folder


@pytest.fixture(scope="module")
def model(cars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gen") / "run"
    fit_generator.fit_generator(cars, run, settings=SMALL, steps=40)
    return run


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little effort, and pictures of few pixels."""
    effort = inversion.Effort(pose_steps=2, steps=4, tuning_steps=2)
    monkeypatch.setattr(inversion.invert, "__defaults__", (effort, SQUARED))
    monkeypatch.setattr(inversion.tune, "__defaults__", (effort, SQUARED))
    monkeypatch.setattr(editing.edit, "__defaults__", (False, editing.Push(steps=3, views=1), lambda *_: None))
    monkeypatch.setattr("nerf3d.commands.turntable.FRAMES", 3)
    monkeypatch.setattr("nerf3d.commands.sample_generator.SURFACE", 16)


def test_a_run_is_as_documented(model: Path) -> None:
    opened = load_model(open_run(model))
    assert opened.step == 40
    assert (opened.about.objects, opened.about.cameras.width) == (10, 32)  # two of twelve are held out
    assert opened.about.kinds
    assert list((model / "media").glob("drawn_*.png"))
    assert (model / "config.yaml").is_file()
    with pytest.raises(InputError, match="model of many objects: draw some by `nerf3d gen sample"):
        load_scene(open_run(model))


def test_a_killed_run_goes_on_to_the_same_bits(cars: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_generator.fit_generator(cars, whole, settings=SMALL, steps=8)
    fit_generator.fit_generator(cars, parts, settings=(*SMALL, "settled=0.5"), steps=8, checkpoint_every=3)
    fit_generator.fit_generator(cars, tmp_path / "again", settings=(*SMALL, "settled=0.5"), steps=8)
    last = sorted((parts / "checkpoints").iterdir())[-1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    fit_generator.fit_generator(cars, parts, resume=True)
    one, other = (load_model(open_run(p)).maker.state_dict() for p in (parts, tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match="keeps its recipe"):
        fit_generator.fit_generator(cars, parts, resume=True, settings=SMALL)


def test_every_seed_is_an_object_that_other_commands_know(
    model: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sample_generator(model, "3-4", tmp_path / "objects", only_pictures=True)
    assert [m.run.folder.name for m in made] == ["seed_0003", "seed_0004"]
    assert (tmp_path / "objects" / "sheet.png").is_file()
    codes = [read_latent(m.run.folder / "latent.safetensors").code for m in made]
    assert not torch.equal(*codes)
    again = sample_generator(model, "3", tmp_path / "objects", only_pictures=True)  # in the place of the one before
    assert torch.equal(read_latent(again[0].run.folder / "latent.safetensors").code, codes[0])
    scene, step = load_scene(made[0].run)
    assert step == 40
    assert scene.field.density(torch.zeros(1, 3)).shape == (1,)
    film = tmp_path / "film.mp4"
    assert main(["render", str(made[0].run.folder), "--out", str(film), "--frames", "2", "--size", "32"]) == 0
    assert film.is_file()
    assert main(["render", str(made[0].run.folder), "--out", str(tmp_path / "frames"), "--frames", "1"]) == 0
    with Image.open(tmp_path / "frames" / "rgb_00000.png") as frame:
        assert frame.size == (192, 192)  # six times as large as the collection's pictures


def test_truncation_brings_objects_nearer_to_the_usual(model: Path) -> None:
    maker = load_model(open_run(model)).makes
    assert isinstance(maker, Objects)
    for kind in (None, *maker.kinds[:2]):
        wide, narrow = (maker.draw(20, torch.Generator().manual_seed(0), t, kind) for t in (1.0, 0.25))
        usual = (
            maker.flow.mean if kind is None else maker.draw(4000, torch.Generator().manual_seed(9), 1.0, kind).mean(0)
        )
        spread = float(wide.std(0).mean())
        assert float((narrow - (usual + 0.25 * (wide - usual))).abs().mean()) < 0.1 * spread  # the usual is an estimate


def test_a_model_that_was_moved_still_shows_its_objects(model: Path, tmp_path: Path, brief: None) -> None:
    here = tmp_path / "here"
    shutil.copytree(model, here, ignore=shutil.ignore_patterns("samples"))
    inside = sample_generator(here, "1", only_pictures=True)[0].run.folder
    outside = sample_generator(here, "1", tmp_path / "objects", only_pictures=True)[0].run.folder
    before = load_scene(open_run(inside))[0].field.density(torch.zeros(1, 3))
    here.rename(tmp_path / "there")
    moved = tmp_path / "there" / inside.relative_to(here)
    assert torch.equal(load_scene(open_run(moved))[0].field.density(torch.zeros(1, 3)), before)
    sample_generator(tmp_path / "there", "1", only_pictures=True)  # in the place of the one that came along
    with pytest.raises(InputError, match="which is not there"):
        load_scene(open_run(outside))


def test_objects_are_there_whole_or_not_at_all(
    model: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "objects" / "seed_0005"
    target.mkdir(parents=True)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        sample_generator(model, "5", target.parent, only_pictures=True)
    assert (target / "notes.txt").read_text() == "mine"

    there = sample_generator(model, "6", target.parent, only_pictures=True)[0].run.folder
    before = (there / "latent.safetensors").read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nerf3d.commands.sample_generator.looked_at", interrupted)
        for seed in "6", "7":
            with pytest.raises(KeyboardInterrupt):
                sample_generator(model, seed, target.parent, truncation=0.5, only_pictures=True)
    assert (there / "latent.safetensors").read_bytes() == before
    assert {each.name for each in target.parent.iterdir()} == {"seed_0005", "seed_0006", "sheet.png"}
    sample_generator(model, "6", target.parent, truncation=0.5, only_pictures=True)
    assert (there / "latent.safetensors").read_bytes() != before
    (there / "media" / "orbit.mp4").write_text("a film")
    with pytest.raises(InputError, match=r"also media/orbit\.mp4; put that elsewhere"):
        sample_generator(model, "4,6", target.parent, only_pictures=True)
    assert not (target.parent / "seed_0004").exists()


def test_objects_of_other_models_stay(model: Path, cars: Path, tmp_path: Path, brief: None) -> None:
    """Whatever lies at the path of the model that made them."""
    other, copy = tmp_path / "other", tmp_path / "copy"
    fit_generator.fit_generator(cars, other, settings=SMALL, steps=3, seed=7)
    theirs = sample_generator(other, "1", only_pictures=True)[0].run.folder
    with pytest.raises(InputError, match="an object of another model"):
        sample_generator(model, "1", theirs.parent, only_pictures=True)
    shutil.copytree(other, copy)
    fit_generator.fit_generator(cars, other, resume=True, steps=4)
    kept = copy / theirs.relative_to(other)
    assert load_scene(open_run(kept))[1] == 3  # by the model that it lies in, not by the one that went on
    with pytest.raises(InputError, match="before it was trained further"):
        load_scene(open_run(theirs))
    sample_generator(other, "1", only_pictures=True)
    assert load_scene(open_run(theirs))[1] == 4


def test_what_cannot_be_written_is_no_lack_of_surface(
    model: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise InputError(f"{path} cannot be written (no space)")

    monkeypatch.setattr("nerf3d.commands.mesh.write_asset", full)
    solid = Surface(torch.eye(4, 3), torch.tensor([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]), 1.0, 0.1)
    monkeypatch.setattr("nerf3d.commands.sample_generator.seen_surface", lambda *_: solid)
    with pytest.raises(InputError) as refused:
        sample_generator(model, "1", tmp_path)
    assert str(refused.value) == f"{tmp_path / 'seed_0001' / 'asset.glb'} cannot be written (no space)"
    assert list(tmp_path.iterdir()) == []


def test_the_way_between_objects_is_a_film(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nerf3d.commands.interpolate.SIZE", 32)
    film = interpolate(model, "1,2,3", tmp_path / "way.mp4", frames=4)
    assert look_into(film).seconds == pytest.approx(12 / 24, abs=0.05)
    with pytest.raises(InputError, match="nothing between one object and itself"):
        interpolate(model, "5", tmp_path / "way.mp4")


def test_a_picture_is_inverted_and_edited(model: Path, cars: Path, tmp_path: Path, brief: None) -> None:
    picture = cars / "00000" / "img00000000.png"
    made = invert_picture.invert_picture(model, picture, tmp_path / "found", measures=("structural", "identity"))
    latent = read_latent(made.run.folder / "latent.safetensors")
    assert latent.how == "inverted from img00000000.png"
    assert latent.tuned
    assert (made.run.folder / "inversion.png").is_file()
    assert (
        main(["gen", "edit", str(model), str(made.run.folder), "a yellow one", "--out", str(tmp_path / "yellow")]) == 0
    )
    edited = read_latent(tmp_path / "yellow" / "latent.safetensors")
    assert not torch.equal(edited.code, latent.code)
    assert edited.how.endswith("; a yellow one")
    with Image.open(tmp_path / "yellow" / "edit.png") as sheet:
        assert sheet.size[0] > 4 * 128
    with pytest.raises(InputError, match="holds the object that is to be edited"):
        edit_object(model, made.run.folder, "a yellow one", made.run.folder)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, brief: None) -> None:
    monkeypatch.setattr(measure, "COMPARED", 4)
    monkeypatch.setattr(measure, "UNTRAINED", 5)
    monkeypatch.setattr(measure, "PAIRS", 2)
    monkeypatch.setattr(measure, "LARGE", 32)
    monkeypatch.setattr(evaluate_edits, "OBJECTS", 2)
    monkeypatch.setattr(evaluate_inversions, "INVERTED", 2)
    monkeypatch.setattr(evaluate_inversions, "POSED", 1)


def test_a_model_is_measured(model: Path, few: None) -> None:
    result = evaluate_generator(model)
    assert result.objects == 6
    assert result.distance > 0 < result.floor
    assert result.probe is not None
    assert result.depth_error is not None
    assert 0 < result.depth_error < 1
    assert 0 <= result.pose_error_degrees <= 180
    assert result.edits_outline is not None
    assert 0 < result.edits_outline <= 1
    written = json.loads((model / "metrics.json").read_text())
    assert written["distance"] == pytest.approx(result.distance)
    assert (model / "media" / "drawn.png").is_file()
    assert {*IN_WORDS, "features", "inception"} == {each.name for each in fields(result)}
    said = table(result)
    assert f"{number(result.distance)}  how far drawn pictures" in said
    assert "tokens_used" in said.splitlines()[-1]


def test_weights_that_are_not_inceptions_are_refused(
    model: Path, few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gen", "eval", str(model), "--inception", str(tmp_path / "nowhere.safetensors")]) == 2
    assert "cannot be read as weights" in capsys.readouterr().err


def test_a_latent_of_another_model_is_refused(
    model: Path, cars: Path, tmp_path: Path, brief: None, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    fit_generator.fit_generator(cars, other, settings=SMALL, steps=3, seed=7)
    made = sample_generator(other, "1", only_pictures=True)
    assert main(["gen", "edit", str(model), str(made[0].run.folder), "a red car"]) == 2
    assert "a code of another model" in capsys.readouterr().err
    assert main(["gen", "edit", str(model), str(tmp_path), "a red car"]) == 2
    assert "there is no latent at" in capsys.readouterr().err


def test_lost_numbers_step_back_twice_at_most(
    cars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = []

    def lost(run: object, *others: object) -> object:
        tries.append(run.config.recipe.rate)  # type: ignore[attr-defined]
        raise NotANumber("training went wrong at step 3: color is not a number any more")

    monkeypatch.setattr(fit_generator, "run_training", lost)
    with pytest.raises(InputError, match="not a number"):
        fit_generator.fit_generator(cars, tmp_path / "run", settings=SMALL, steps=5)
    first = DiffAE().rate(0.0)
    assert [t(0.0) for t in tries] == pytest.approx([first, first / 2, first / 4])
    assert capsys.readouterr().err.count("half the rates") == 2


def test_no_step_is_a_failure(cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes that are over once the collection was read."""
    out = tmp_path / "run"
    given = ["gen", "fit", str(cars), "--out", str(out), "--max-minutes", "1e-9"]
    assert main([*given, *(part for setting in SMALL for part in ("--set", setting))]) == 1
    said = capsys.readouterr().err
    assert "the time was over before the first step" in said
    assert "nerf3d gen sample" not in said


def test_slower_halves_every_rate() -> None:
    recipe = fit_generator.slower(DiffAE())
    assert [recipe.rate(at) for at in (0.0, 1.0)] == pytest.approx([DiffAE().rate(at) / 2 for at in (0.0, 1.0)])
    assert recipe.flow.rate == Constant(5e-4)
    assert recipe.looks == DiffAE().looks


Bad = Callable[[Path, Path, Path], list[str]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (lambda model, cars, out: ["sample", str(model), "--seeds", "a"], "'a' names no seeds"),
        (lambda model, cars, out: ["sample", str(model), "--seeds", "9-1"], "give them as 1-9"),
        (lambda model, cars, out: ["sample", str(model), "--seeds", "0-99999"], "more than 10,000 seeds"),
        (lambda model, cars, out: ["sample", str(model), "--truncation", "0"], "a truncation of 0"),
        (lambda model, cars, out: ["sample", str(model), "--kind", "a tree"], "this model knows no 'a tree'"),
        (lambda model, cars, out: ["sample", str(out)], "is not a run"),
        (lambda model, cars, out: ["fit", str(out / "nothing")], "there is no folder"),
        (
            lambda model, cars, out: ["fit", str(cars), "--recipe", "eg4d", "--out", str(out)],
            "there is no recipe 'eg4d'",
        ),
        (
            lambda model, cars, out: ["fit", str(cars), "--set", "looks.rays=0", "--out", str(out / "a")],
            "looks.rays is 0",
        ),
        (lambda model, cars, out: ["fit", str(cars), "--size", "16", "--out", str(out / "b")], "32 pixels, not 16"),
        (lambda model, cars, out: ["invert", str(model), str(out / "none.png")], "none.png"),
        (
            lambda model, cars, out: ["invert", str(model), str(out / "none.png"), "--critic", str(out)],
            "add the measure identity",
        ),
        (lambda model, cars, out: ["invert", str(model), str(out)], "it is a folder; give one picture in it"),
        (lambda model, cars, out: ["invert", str(model), str(model / "config.yaml")], "cannot be read as a picture"),
        (lambda model, cars, out: ["edit", str(model), str(out), "  "], "as in: nerf3d gen edit"),
        (lambda model, cars, out: ["interpolate", str(out), "--truncation", "3"], "a truncation of 3"),
    ],
)
def test_bad_input_is_one_sentence(
    options: Bad, sentence: str, model: Path, cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gen", *options(model, cars, tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert sentence in said
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_pictures_without_an_object(tmp_path: Path) -> None:
    for name, color in (("white", (255, 255, 255)), ("black", (0, 0, 0))):
        Image.new("RGB", (40, 40), color).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="shows no object"):
        read_object(tmp_path / "white.png", 32)
    with pytest.raises(InputError, match="no background"):
        read_object(tmp_path / "black.png", 32)
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match="not square; cut out"):
        read_object(tmp_path / "wide.png", 32)


def test_words_that_the_critic_never_read(capsys: pytest.CaptureFixture[str]) -> None:
    for nonsense in ("qwertz", "the one", "!?", "qwertz next to the side"):
        with pytest.raises(InputError, match="knows nothing of"):
            check_words(nonsense)
    check_words("a yellow car")
    assert capsys.readouterr().err == ""
    check_words("a yellow hovercraft")
    assert "has never read hovercraft" in capsys.readouterr().err


def test_one_is_the_thing_that_all_kinds_are() -> None:
    assert meant("a yellow one", ("a red car", "a blue car")) == "a yellow car"
    assert meant("a yellow one", ("a red car", "a blue mug")) == "a yellow one"
