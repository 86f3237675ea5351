"""Frozen dataclasses <-> plain data: the dataclasses are the schema, and there is no other.

Nothing here knows what is configured. What cannot be used is an InputError: one sentence with the file, the dotted key,
the value, and what would do.
"""

import dataclasses
import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nerf3d.errors import InputError

T = TypeVar("T")
KIND = "kind"
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text (in quotes, if it looks like something else)",
    Path: "a path",
    NoneType: "null",
}


class _MisfitError(Exception):
    """The data does not fit its type; the text begins with the dotted key."""


def from_plain(kind: type[T] | UnionType, data: object, where: str) -> T:
    """The configuration of the given dataclass (or union of dataclasses) that plain data describes.

    What the data leaves out keeps its default, at every depth: a nested mapping changes the default value of its field.
    Nothing is converted silently: a whole number is no text, 3.7 no whole number, "false" no truth value. But a whole
    number, and text such as "1e-2" (which YAML does not read as a number), will do where a float is needed.

    >>> from_plain(Ramp, {"start": 0, "stop": 1, "until": "1e4"}, "ramp.yaml")
    Ramp(start=0.0, stop=1.0, begin=0.0, until=10000.0)

    `where` is what a message calls the data: its file, as a rule. Raises InputError.
    """
    try:
        return _read(kind, data, "", dataclasses.MISSING)
    except _MisfitError as misfit:
        raise InputError(f"{where}: {misfit}") from None


def to_plain(value: object, kind: Any = None) -> Any:
    """The same as plain data, complete with all defaults: from_plain(type(value), to_plain(value), ...) equals value.

    Where `kind`, the declared type, is a union of dataclasses, the mapping begins with the member's name: `kind: Ramp`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        is_union = get_origin(kind) in (Union, UnionType)
        tag = {KIND: type(value).__name__} if is_union and len(_dataclasses_among(get_args(kind))) > 1 else {}
        hints = get_type_hints(type(value))
        return tag | {f.name: to_plain(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        item_kinds = _item_kinds(kind, len(value))
        return [to_plain(item, item_kind) for item, item_kind in zip(value, item_kinds)]
    if isinstance(value, dict):
        return {key: to_plain(item, (*get_args(kind), None, None)[1]) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


# One reader per form of type. `default` is the value that the enclosing dataclass would have without the data.


def _read(kind: Any, data: object, key: str, default: object) -> Any:
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, data, key, default)
    if origin in (Union, UnionType):
        return _read_union(get_args(kind), data, key, default)
    if origin is Literal:
        return _read_choice(get_args(kind), data, key)
    if origin in (tuple, list):
        return origin(_read_items(kind, data, key))
    if origin is dict:
        if not isinstance(data, dict):
            raise _MisfitError(_needs(key, data, "a mapping"))
        return {
            name: _read(get_args(kind)[1], item, _join(key, name), dataclasses.MISSING) for name, item in data.items()
        }
    if kind is float and isinstance(data, str) and NUMBER.fullmatch(data):
        return float(data)
    if kind is float and type(data) in (int, float):
        return float(data)  # type: ignore[arg-type]
    if kind is Path and isinstance(data, str | Path):
        return Path(data)
    if kind in WORDS and type(data) is kind:
        return data
    if kind in WORDS:
        raise _MisfitError(_needs(key, data, WORDS[kind]))
    raise TypeError(f"{key}: a configuration cannot have a field of type {kind}")


def _read_dataclass(kind: Any, data: object, key: str, default: object) -> Any:
    if not isinstance(data, dict):
        raise _MisfitError(_needs(key, data, f"a mapping with keys of {kind.__name__}"))
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if data.get(KIND, kind.__name__) != kind.__name__ and KIND not in fields:
        raise _MisfitError(_needs(_join(key, KIND), data[KIND], kind.__name__))
    hints = get_type_hints(kind)
    given = {}
    for name, value in data.items():
        if name in fields:
            given[name] = _read(hints[name], value, _join(key, name), _default(fields[name], default, kind))
        elif name != KIND:
            raise _MisfitError(
                f"{_join(key, name)} is not a key{did_you_mean(name, fields)}; "
                f"{key or 'this file'} can have: {', '.join(fields)}"
            )
    try:
        if type(default) is kind:
            return dataclasses.replace(default, **given)  # type: ignore[type-var]
        missing = [
            f.name for f in fields.values() if f.name not in given and _default(f, None, kind) is dataclasses.MISSING
        ]
        if missing:
            raise _MisfitError(f"{_join(key, missing[0])} is missing, and has no default")
        return kind(**given)
    except ValueError as error:
        raise _MisfitError(f"{key}: {error}" if key else str(error)) from None


def _default(field: dataclasses.Field, outer: object, kind: type) -> object:
    """The value of a field when nothing is said: the outer default's own, else the class's; MISSING without either."""
    if type(outer) is kind:
        return getattr(outer, field.name)
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _read_union(members: Sequence[Any], data: object, key: str, default: object) -> Any:
    """A mapping is the dataclass that its `kind` names (or the default's, or the only one); other data fits or not."""
    if data is None and NoneType in members:
        return None
    named = {m.__name__: m for m in _dataclasses_among(members)}
    if isinstance(data, dict) and named:
        name = data.get(KIND)
        if name is None and type(default) in named.values():
            name = type(default).__name__
        if name is None and len(named) == 1:
            (name,) = named
        if name is None:
            raise _MisfitError(f"{_join(key, KIND)} is missing; it can be: {', '.join(named)}")
        if not isinstance(name, str) or name not in named:
            raise _MisfitError(
                f"{_join(key, KIND)} is {_shortly(name)}{did_you_mean(name, named)}; it can be: {', '.join(named)}"
            )
        return _read_dataclass(named[name], data, key, default)
    others = [m for m in members if not dataclasses.is_dataclass(m) and m is not NoneType]
    for member in sorted(others, key=lambda m: m is float):  # an int stays one where both would do
        try:
            return _read(member, data, key, dataclasses.MISSING)
        except _MisfitError as misfit:
            if len(members) - (NoneType in members) == 1:
                raise misfit
    words = [_describe(m) for m in others] + ([f"a mapping ({KIND}: {' or '.join(named)})"] if named else [])
    raise _MisfitError(_needs(key, data, " or ".join(words)))


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(str(choice) for choice in get_args(kind))
    return WORDS.get(kind, "a mapping" if get_origin(kind) is dict else "a list")


def _read_choice(choices: Sequence[object], data: object, key: str) -> object:
    if any(type(data) is type(choice) and data == choice for choice in choices):
        return data
    meant = did_you_mean(data, [c for c in choices if isinstance(c, str)])
    raise _MisfitError(f"{key} is {_shortly(data)}{meant}; it can be: {', '.join(str(c) for c in choices)}")


def _read_items(kind: Any, data: object, key: str) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise _MisfitError(_needs(key, data, "a list, like [1, 2]"))
    kinds = _item_kinds(kind, len(data))
    if len(kinds) != len(data):
        raise _MisfitError(f"{key} has {len(data)} entries, and {len(kinds)} are needed")
    return [
        _read(item_kind, item, f"{key}[{index}]", dataclasses.MISSING)
        for index, (item_kind, item) in enumerate(zip(kinds, data))
    ]


def _item_kinds(kind: Any, length: int) -> list[Any]:
    """The declared types of the entries of a list or tuple type; none are known (None) of anything else."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple and arguments[-1:] != (Ellipsis,):
        return list(arguments)
    return [arguments[0] if get_origin(kind) in (tuple, list) else None] * length


def _dataclasses_among(kinds: Iterable[Any]) -> list[type]:
    return [kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)]


def _needs(key: str, data: object, what: str) -> str:
    return f"{key or 'the whole'} is {_shortly(data)}, and {what} is needed"


def _shortly(data: object) -> str:
    """repr() of a value of any size, in at most a line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(data)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A remark for a message, when one of the known names is close to the one given; else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""
