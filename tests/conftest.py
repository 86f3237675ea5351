"""Shapes and types on public functions are checked at run time, under pytest only."""

import os
import shutil
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import nerf3d

PACKAGE = Path(nerf3d.__file__).parent
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _checked_modules() -> list[str]:
    """All modules but those that numba or Triton compile: they cannot compile a function that was wrapped in a check."""
    files = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]
    names = [".".join(("nerf3d", *p.relative_to(PACKAGE).with_suffix("").parts)) for p in files]
    return [name for name in names if not name.endswith(("_numba", "_triton", ".simd"))]


install_import_hook(_checked_modules(), "beartype.beartype")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Where several processes test side by side, each has a thread of its own; who tests several threads asks for them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import numba
        import torch

        torch.set_num_threads(1)
        numba.set_num_threads(1)


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands, and those that tests start as programs, do not take a GPU by themselves; kernels are tried on it."""
    if "kernels" not in request.path.parts:
        monkeypatch.setattr("nerf3d.commands.device.gpu_works", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and meshes that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder {SHARED}, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny scene on disk (see tests/tiny.py) that tests leave as it is."""
    import tiny  # here, since what it imports must be imported behind the hook above

    return tiny.write(tmp_path_factory.mktemp("tiny") / "scene", train=6, test=2)


@pytest.fixture
def scene(intact: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(intact, tmp_path / "scene"))


@pytest.fixture(scope="session")
def run(intact: Path) -> Path:
    """A finished run of it; tests only look at it, or write into its media."""
    import tiny

    out = intact.parent / "run with spaces é"
    settings = (*tiny.SMALL, "samples=8192", "rays=256")
    assert tiny.main(["fit", str(intact), "--out", str(out), "--steps", "100", *tiny.options(settings)]) == 0
    return out
