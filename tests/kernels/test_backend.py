"""Which version is taken, and what is said where one cannot work."""

from collections.abc import Iterator

import pytest
import torch
from kernel_versions import TRITON, home

from nerf3d.cli import main
from nerf3d.errors import InputError
from nerf3d.kernels import backend as house
from nerf3d.kernels.backend import backend, choose, triton_works, using


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(house, "_chosen", "auto")
    triton_works.cache_clear()
    yield
    triton_works.cache_clear()


def test_each_tensor_gets_the_best_version_that_was_not_ruled_out() -> None:
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert (backend(single), backend(double)) == ("numba", "torch")
    choose("torch")
    assert backend(single) == "torch"
    choose("numba")
    assert backend(single) == "numba"
    with using("torch"):
        assert backend(single) == "torch"
    choose("auto")
    assert backend(single) == "numba"


@pytest.mark.parametrize("version", [TRITON])
def test_triton_is_taken_where_it_was_chosen(version: str) -> None:
    choose("triton")
    assert backend(torch.zeros(1, device=home(version))) == version
    assert backend(torch.zeros(1, device=home(version), dtype=torch.float64)) == "torch"


def test_triton_without_a_gpu_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(house, "find_spec", lambda name: object())
    with pytest.raises(InputError, match=r"needs a CUDA device, .* choose auto"):
        choose("triton")
    monkeypatch.setattr(house, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install triton"):
        choose("triton")
    assert backend(torch.zeros(1)) == "numba"


@pytest.mark.parametrize("version", [TRITON])
def test_a_device_on_which_triton_fails_is_left_to_torch_with_one_warning(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nerf3d.kernels import launch_triton

    def fails(device: torch.device) -> None:
        raise RuntimeError("the provided PTX was compiled with an unsupported toolchain\nand more")

    monkeypatch.setattr(launch_triton, "probe", fails)
    with pytest.warns(UserWarning, match=r"unsupported toolchain\); plain torch is used") as told:
        assert [triton_works(home(version)) for _ in range(3)] == [False] * 3
    assert len(told) == 1
    with pytest.raises(InputError, match="does not work on"):
        choose("triton")


def test_the_command_line_chooses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else is looked at: what cannot be had is said in one sentence."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert main(["fit", "nowhere", "--kernels", "triton"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Triton" in said
    assert main(["fit", "nowhere", "--kernels", "torch"]) == 2
    assert house.backend(torch.zeros(1)) == "torch"
