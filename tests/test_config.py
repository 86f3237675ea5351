"""Configuration: what round-trips, what is refused, and what the refusal says."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from nerf3d import config
from nerf3d.config import dump_yaml, find_recipe, from_plain, load_yaml, override, read_recipe, recipes, to_plain
from nerf3d.errors import InputError


@dataclass(frozen=True)
class Grid:
    levels: int = 16
    scale: float = 1.5


@dataclass(frozen=True)
class Frequency:
    octaves: int = 10


@dataclass(frozen=True)
class Adam:
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Fit:
    steps: int = 1000
    field: Grid | Frequency = Grid(levels=8)
    adam: Adam = Adam(rate=1e-2)
    background: Literal["white", "black", "random"] = "white"
    sizes: tuple[int, ...] = (1, 2)
    names: list[str] = dataclasses.field(default_factory=list)
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    scene: Path | None = None
    limit: int | float | None = None
    deep: bool = False
    extra: Grid | Frequency | None = None


def message(data: object, kind=Fit) -> str:
    with pytest.raises(InputError) as caught:
        from_plain(kind, data, "fit.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip_through_yaml_keeps_every_value(tmp_path: Path) -> None:
    before = Fit(
        field=Frequency(octaves=4),
        adam=Adam(rate=0.1 + 0.2, betas=(1e-300, 1 - 2**-53)),
        sizes=(),
        names=["1e-2", "true", "ä: b", ""],
        weights={"eikonal": 1e-5, "sum": 3.0},
        scene=Path("a b/c"),
        limit=7,
        extra=Grid(),
    )
    file = tmp_path / "fit.yaml"
    dump_yaml(to_plain(before), file)
    after = from_plain(Fit, load_yaml(file), str(file))
    assert after == before
    assert type(after.limit) is int
    assert [p.name for p in tmp_path.iterdir()] == ["fit.yaml"]


def test_plain_data_are_tagged_in_unions_only() -> None:
    plain = to_plain(Fit())
    assert plain["field"] == {"kind": "Grid", "levels": 8, "scale": 1.5}
    assert plain["adam"] == {"rate": 1e-2, "betas": [0.9, 0.99]}
    assert plain["extra"] is None
    assert to_plain(Grid(), Grid | Frequency) == {"kind": "Grid", "levels": 16, "scale": 1.5}
    assert from_plain(Grid | Frequency, {"kind": "Frequency"}, "x") == Frequency()


def test_what_is_left_out_keeps_the_enclosing_default() -> None:
    fit = from_plain(Fit, {"field": {"scale": 2}, "adam": {"betas": [0, 0.5]}}, "fit.yaml")
    assert fit.field == Grid(levels=8, scale=2.0)  # not the class's own 16 levels
    assert fit.adam == Adam(rate=1e-2, betas=(0.0, 0.5))
    assert from_plain(Fit, {"field": {"kind": "Grid"}}, "x").field == Grid(levels=8)
    assert from_plain(Fit, {"field": {"kind": "Frequency"}}, "x").field == Frequency()
    assert from_plain(Fit, {}, "x") == Fit()


def test_numbers() -> None:
    for text, value in (("1e-2", 0.01), ("-.5", -0.5), ("1E4", 1e4), ("3.", 3.0)):
        assert from_plain(Adam, {"rate": text}, "x").rate == value
    rate = from_plain(Adam, {"rate": 3}, "x").rate
    assert (type(rate), rate) == (float, 3.0)
    assert from_plain(Fit, {"limit": 0.5}, "x").limit == 0.5


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"stpes": 3}, ["fit.yaml: stpes is not a key", "did you mean 'steps'?", "this file can have: steps, field"]),
        ({"field": {"levles": 3}}, ["field.levles", "did you mean 'levels'?", "field can have: levels, scale"]),
        ({"steps": 3.7}, ["steps is 3.7", "a whole number"]),
        ({"steps": True}, ["steps is True", "a whole number"]),
        ({"steps": "12"}, ["steps is '12'", "a whole number"]),
        ({"steps": None}, ["steps is None", "a whole number"]),
        ({"deep": "false"}, ["deep is 'false'", "true or false"]),
        ({"deep": 1}, ["deep is 1", "true or false"]),
        ({"adam": {"rate": "fast"}}, ["adam.rate is 'fast'", "a number"]),
        ({"adam": {"rate": True}}, ["adam.rate is True", "a number"]),
        ({"adam": {"betas": [0.9]}}, ["adam.betas has 1 entries", "2 are needed"]),
        ({"adam": {"betas": [0.9, "x"]}}, ["adam.betas[1] is 'x'"]),
        ({"adam": 3}, ["adam is 3", "a mapping with keys of Adam"]),
        ({"sizes": "12"}, ["sizes is '12'", "a list"]),
        ({"names": [1]}, ["names[0] is 1", "text"]),
        ({"weights": {"a": "b"}}, ["weights.a is 'b'"]),
        ({"weights": 1}, ["weights is 1", "a mapping"]),
        ({"background": "whit"}, ["background is 'whit'", "did you mean 'white'?", "white, black, random"]),
        ({"background": False}, ["background is False", "white, black, random"]),
        ({"field": {"kind": "grid"}}, ["field.kind is 'grid'", "did you mean 'Grid'?", "Grid, Frequency"]),
        ({"field": {"kind": ["x"]}}, ["field.kind is ['x']", "Grid, Frequency"]),
        ({"field": "Grid"}, ["field is 'Grid'", "a mapping (kind: Grid or Frequency)"]),
        ({"extra": {"levels": 2}}, ["extra.kind is missing", "Grid, Frequency"]),
        ({"limit": "many"}, ["limit is 'many'", "a whole number or a number"]),
        ({"scene": 4}, ["scene is 4", "a path"]),
        ([1], ["the whole is [1]", "a mapping"]),
        ({"names": ["x" * 10_000, 3]}, ["names[1]"]),
        ({"steps": "x" * 10_000}, ["steps is 'xxx"]),
    ],
)
def test_a_misfit_is_one_sentence_with_key_value_and_remedy(data: object, parts: list[str]) -> None:
    text = message(data)
    for part in ["fit.yaml: ", *parts]:
        assert part in text
    assert len(text) < 300


def test_a_missing_key_and_a_value_that_the_class_refuses() -> None:
    @dataclass(frozen=True)
    class Strict:
        count: int

        def __post_init__(self) -> None:
            if self.count < 1:
                raise ValueError("count must be at least 1")

    assert message({}, Strict) == "fit.yaml: count is missing, and has no default"
    assert message({"count": 0}, Strict) == "fit.yaml: count must be at least 1"
    assert from_plain(Strict, {"count": 2}, "x").count == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("steps: [1", "not valid YAML"),
        ("- 1", "a mapping is needed"),
        ("5", "a mapping is needed"),
        ("a: 1\nb: {c: 1, c: 2}", "'c' in line 2 is there twice"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: \xff", "not valid YAML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"odd\.yaml") as caught:
        load_yaml(file)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_all_defaults_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_yaml(tmp_path / "empty.yaml") == {}
    with pytest.raises(InputError, match=r"none\.yaml cannot be read"):
        load_yaml(tmp_path / "none.yaml")


def test_an_alias_bomb_takes_no_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    data = load_yaml(tmp_path / "bomb.yaml")  # 9^29 entries, if anybody walked through all of them
    assert "a29 is not a key" in message({"a29": data["a29"]})
    assert "steps is [[[" in message({"steps": data["a29"]})


def test_dump_leaves_the_old_file_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    dump_yaml({"a": 1}, file)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config.os, "replace", fail)
    with pytest.raises(InputError, match=r"config\.yaml cannot be written: No space left"):
        dump_yaml({"a": 2}, file)
    assert load_yaml(file) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_override() -> None:
    data = {"field": {"kind": "Grid", "levels": 4}}
    after = override(data, ["field.levels=12", "adam.rate=1e-2", "names=[a, b]", "scene=null", "background=black"])
    assert data == {"field": {"kind": "Grid", "levels": 4}}
    fit = from_plain(Fit, after, "--set")
    assert fit == Fit(field=Grid(levels=12), names=["a", "b"], background="black")
    assert override(data, ["field.kind=Frequency", "field.octaves=3"]) == {"field": {"kind": "Frequency", "octaves": 3}}
    assert override(data, ["field.kind=Grid"]) == data
    assert "did you mean 'levels'" in message(override({}, ["field.levls=3"]))


@pytest.mark.parametrize("assignment", ["steps", "=3", "a..b=3", ".a=3", "steps=[1", "steps.more=3"])
def test_override_refuses_what_is_no_assignment(assignment: str) -> None:
    with pytest.raises(InputError, match=r"assignment|YAML|no keys of its own"):
        override({"steps": 1}, [assignment])


def test_recipes_are_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "RECIPES", tmp_path)
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "ngp_blender.yaml").write_text("steps: 3\n")
    (tmp_path / "fit" / "nerf2020.yaml").write_text("steps: 4\n")
    assert recipes("fit") == ["nerf2020", "ngp_blender"]
    assert recipes("text") == []
    assert load_yaml(find_recipe("nerf2020", "fit")) == {"steps": 4}
    own = tmp_path / "fit" / "nerf2020.yaml"
    assert find_recipe(str(own), "text") == own
    with pytest.raises(
        InputError, match=r"'ngp_blendr' \(did you mean 'ngp_blender'\?\); choose from: nerf2020, ngp_bl"
    ):
        find_recipe("ngp_blendr", "fit")
    with pytest.raises(InputError, match=r"there is no recipe file other\.yaml"):
        find_recipe("other.yaml", "fit")
    with pytest.raises(InputError, match="there is no recipe"):
        find_recipe("../fit/nerf2020", "fit")


def test_the_recipes_folder_is_the_repositorys() -> None:
    assert Path(config.__file__).parents[1] / "configs" == config.RECIPES


def test_what_is_wrong_is_blamed_on_the_one_that_brought_it(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("steps: 100\n")
    assert read_recipe(Fit, file, ("limit=64",)) == Fit(steps=100, limit=64)
    with pytest.raises(InputError, match=r"^--set limit=64 stepps=5: .*stepps"):
        read_recipe(Fit, file, ("limit=64", "stepps=5"))
    file.write_text("stepps: 100\n")
    with pytest.raises(InputError, match=r"^\S*own\.yaml: "):
        read_recipe(Fit, file, ("steps=64",))
