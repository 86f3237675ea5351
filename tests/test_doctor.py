"""The doctor: it finds what is there, and says how to get what is not."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nerf3d import doctor
from nerf3d.doctor import EXTRAS, Finding, examine, render


def test_what_every_installation_has_is_found(tmp_path: Path) -> None:
    findings = {f.name: f for f in examine(tmp_path / "not" / "yet")}
    assert findings["torch"].text == torch.__version__
    assert findings["Python"].text.startswith(sys.version.split()[0])
    assert findings["ffmpeg"].status == "ok"
    assert findings["numba"].text.endswith(("over omp", "over tbb", "over workqueue"))
    assert "numba" in findings["kernels"].text
    assert str(tmp_path) in findings["disk"].text
    assert {e.package for e in EXTRAS} | {"memory", "processor", "CUDA", "LPIPS weights"} <= set(findings)
    assert [f.name for f in findings.values() if f.status == "missing"] == []
    assert not (tmp_path / "not").exists()


def test_an_absent_extra_is_a_note_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    findings = list(doctor._extras())
    assert [f.status for f in findings] == ["note"] * len(EXTRAS)
    assert findings[0].text == "not installed: finds the poses of bare photographs"
    assert findings[0].remedy == f"pip install pycolmap torch=={torch.__version__.split('+')[0]}"


def test_libraries_for_cuda_are_looked_for_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "tinycudann" else object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(doctor._libraries()) == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    absent, present = doctor._libraries()
    assert absent.status == "note"
    assert absent.remedy.startswith("pip install git+https://github.com/NVlabs/tiny-cuda-nn")
    assert (present.name, present.status) == ("nerfacc", "ok")


def test_broken_requirements_are_missing_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name in ("numba", "imageio_ffmpeg"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for finding, package in ((*doctor._numba(), "numba"), (doctor._ffmpeg(), "imageio-ffmpeg")):
        assert finding.status == "missing"
        assert finding.remedy.endswith(package)


def test_weights_and_disk_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert doctor._lpips_weights().status == "note"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    assert doctor._lpips_weights().status == "ok"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**29))
    assert doctor._disk(tmp_path) == Finding("disk", "note", f"0.5 GiB free at {tmp_path}", "free some space for runs")
    meminfo = "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    1048576 kB\n"
    monkeypatch.setattr(Path, "is_file", lambda _: False)  # no container
    monkeypatch.setattr(Path, "read_text", lambda _: meminfo)
    assert doctor._memory().text == "1.0 of 8.0 GiB free"
    assert doctor._memory().status == "note"


def test_render_aligns_and_puts_remedies_below() -> None:
    text = render([Finding("torch", "ok", "2.13"), Finding("x", "missing", "not there", "pip install x")])
    assert text.splitlines() == [
        "ok       torch  2.13",
        "MISSING  x      not there",
        "                -> pip install x",
    ]
    assert render([]) == ""
