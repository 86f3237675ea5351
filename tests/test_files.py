"""Folders that appear whole or not at all, also in the place of others."""

import os
from pathlib import Path

import pytest

from nerf3d.errors import InputError
from nerf3d.files import whole_folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "here" / "object"
    folder.mkdir(parents=True)
    (folder / "old").write_text("old")
    return folder


def write(folder: Path, over: bool = True) -> None:
    with whole_folder(folder, over) as work:
        (work / "new").write_text("new")


def inside(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def test_a_folder_in_the_place_of_another(old: Path) -> None:
    write(old)
    assert inside(old.parent) == ["object", "object/new"]
    write(old.parent / "next")
    assert inside(old.parent) == ["next", "next/new", "object", "object/new"]


def test_a_full_folder_stays_unless_told(old: Path) -> None:
    with pytest.raises(InputError, match="object cannot be written"):
        write(old, over=False)
    assert inside(old.parent) == ["object", "object/old"]


def test_a_link_goes_on_leading_there(old: Path) -> None:
    link = old.parent.parent / "link"
    link.symlink_to(old)
    write(link)
    assert link.is_symlink()
    assert inside(old.parent) == ["object", "object/new"]


@pytest.mark.parametrize("at", [1, 2])
def test_whoever_stops_the_exchange_finds_the_old_one(at: int, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, []

    def stopped(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == at:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("nerf3d.files.os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(old)
    assert inside(old.parent) == ["object", "object/old"]


def test_sentences_name_the_folder_that_was_asked_for(old: Path) -> None:
    with pytest.raises(InputError) as refused, whole_folder(old, over=True) as work:
        raise InputError(f"{work / 'new'} is too large")
    assert str(refused.value) == f"{old / 'new'} is too large"
    assert inside(old.parent) == ["object", "object/old"]
