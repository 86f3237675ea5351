"""Configuration files: YAML, the recipes that come with the program, and `--set key=value` on top of them.

A file states only what differs from the defaults of its dataclass:

    steps: 20000
    field:
      kind: HashGrid        # which member of a union; may be left out where it is the default's
      levels: 12            # everything else of `field` keeps its default

What a file may hold is said by the dataclasses, see `nerf3d.plain`.
"""

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nerf3d.errors import InputError
from nerf3d.plain import KIND, did_you_mean
from nerf3d.plain import from_plain as from_plain
from nerf3d.plain import to_plain as to_plain

T = TypeVar("T")
_HERE = Path(__file__).resolve().parent
# A wheel carries the recipes inside the package; a checkout has them at its top.
RECIPES = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose outermost value is a mapping, or which is empty. A key that is there twice is an error too."""
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, yaml.SafeLoader), path, set())
        data = yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the name") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict | None):
        raise InputError(
            f"{path} holds a single {_word(data)}, and a mapping is needed: lines of the form `key: value`"
        )
    return data or {}


def dump_yaml(data: object, path: Path) -> None:
    """Write plain data as YAML, all of it or nothing; floats keep every bit."""
    unfinished = path.with_name(f".unfinished_{path.name}")
    try:
        unfinished.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def override(data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of plain data with "dotted.key=value" assignments applied; values are written as in YAML.

    Another `kind` empties its mapping first, as the keys of one kind mean nothing to another. Whether a key exists is
    seen by `from_plain`, so that the message can name those that do.

    >>> override({"field": {"levels": 16}}, ["field.levels=12", "steps=100"])
    {'field': {'levels': 12}, 'steps': 100}
    """
    result = copy.deepcopy(data)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise InputError(f"{assignment!r} is no assignment; write it like field.levels=12")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(
                f"the value of {assignment!r} is not valid YAML; text with special signs needs quotes"
            ) from None
        inner = result
        for depth, name in enumerate(names[:-1], start=1):
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise InputError(
                    f"{assignment!r}: {'.'.join(names[:depth])} is {inner!r}, which has no keys of its own"
                )
        if names[-1] == KIND and inner.get(KIND) != value:
            inner.clear()
        inner[names[-1]] = value
    return result


def read_recipe(kind: type[T], path: Path, settings: Iterable[str] = ()) -> T:
    """A recipe from its file with "dotted.key=value" assignments on top; a message names the one that is wrong."""
    data, assignments = load_yaml(path), list(settings)
    recipe = from_plain(kind, data, str(path))
    return from_plain(kind, override(data, assignments), f"--set {' '.join(assignments)}") if assignments else recipe


def recipes(story: str) -> list[str]:
    """The names of the recipes for a story that come with the program: those in configs/STORY."""
    return sorted(path.stem for path in (RECIPES / story).glob("*.yaml"))


def find_recipe(name: str, story: str) -> Path:
    """The file of a recipe: one of ours by its name, or a person's own by a path that ends in .yaml."""
    known = recipes(story)
    if name in known:
        return RECIPES / story / f"{name}.yaml"
    own = Path(name)
    if own.suffix in (".yaml", ".yml"):
        if own.is_file():
            return own
        raise InputError(f"there is no recipe file {name}; check the path, or use one of: {', '.join(known)}")
    raise InputError(f"there is no recipe {name!r}{did_you_mean(name, known)}; choose from: {', '.join(known)}")


def _refuse_repeated_keys(node: yaml.Node | None, path: Path, seen: set[int]) -> None:
    """YAML forbids a key twice, and the library lets the last one win without a word."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))  # an alias shows the same node again, even inside of itself
    if isinstance(node, yaml.MappingNode):
        names = [name.value for name, _ in node.value]
        for name, _ in node.value:
            if names.count(name.value) > 1:
                line = name.start_mark.line + 1
                raise InputError(f"{path}: {name.value!r} in line {line} is there twice; remove one of them")
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            _refuse_repeated_keys(part, path, seen)


def _word(data: object) -> str:
    return {str: "text", list: "list", bool: "truth value"}.get(type(data), "number")
