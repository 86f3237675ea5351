"""Which device a command takes, on machines with GPUs that are only pretended."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nerf3d.cli import main
from nerf3d.commands import device as room
from nerf3d.commands.device import chosen_device, gpu_works, room_for
from nerf3d.commands.fit import fit
from nerf3d.commands.fit_avatar import fit_avatar
from nerf3d.commands.fit_generator import fit_generator
from nerf3d.commands.text import text
from nerf3d.errors import InputError

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def gpu(monkeypatch: Patch) -> None:
    """One that works."""
    monkeypatch.setattr(room, "gpu_works", gpu_works)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    about = SimpleNamespace(name="NVIDIA H200", total_memory=139 * 2**30 + 5)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(room, "_compute", lambda device: None)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_taken_and_said(capsys: Capture) -> None:
    assert chosen_device("auto") == torch.device("cuda")
    assert capsys.readouterr().err == "on NVIDIA H200, 139 GiB\n"
    assert chosen_device("cpu") == torch.device("cpu")
    assert capsys.readouterr().err == ""


def test_without_one_it_is_the_cpu(monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.setattr(room, "gpu_works", gpu_works)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == torch.device("cpu")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_torch_cannot_use_is_not_taken(monkeypatch: Patch, capsys: Capture) -> None:
    def compute(device: torch.device) -> None:
        if device.type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nmore of it")

    monkeypatch.setattr(room, "_compute", compute)
    assert chosen_device("auto") == torch.device("cpu")
    said = "there is a GPU here, and torch cannot use it (CUDA error: no kernel image is available): on the CPU"
    assert " ".join(capsys.readouterr().err.split()) == said
    with pytest.raises(InputError, match="there is no device 'cuda' here that torch can use"):
        chosen_device("cuda")


@pytest.mark.usefixtures("gpu")
def test_every_process_has_its_own_or_none_has(monkeypatch: Patch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert chosen_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("auto") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["abacus", "meta", "cuda:9"])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(InputError, match=f"there is no device '{name}' here"):
        chosen_device(name)


def test_what_is_too_large_for_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="the photographs and the model are more than the memory of cuda:0 holds"):  # noqa: SIM117
        with room_for("the photographs", torch.device("cuda", 0)):
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("command", [fit, text, fit_avatar, fit_generator])
def test_functions_choose_as_commands_do(command: object) -> None:
    assert inspect.signature(command).parameters["device"].default == "auto"  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [["fit"], ["text"], ["avatar", "fit"], ["gen", "fit"]])
def test_commands_choose_by_themselves(command: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert re.search(r"--device DEVICE\s+where to compute: .*\(auto\)", " ".join(capsys.readouterr().out.split()))


@pytest.mark.parametrize(("command", "allowed"), [(["fit"], False), (["text"], True), (["gen", "fit"], True)])
def test_networks_may_be_rounded_where_they_do_the_work(command: list[str], allowed: bool, tmp_path: Path) -> None:
    """Whatever comes of the command: its setting is there before it begins."""
    before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    try:
        assert main([*command, str(tmp_path / "nothing"), "--out", str(tmp_path / "run"), "--steps", "0"]) == 2
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
