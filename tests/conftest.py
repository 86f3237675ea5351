"""Shapes and types on public functions are checked at run time, under pytest only."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import nerf3d

PACKAGE = Path(nerf3d.__file__).parent
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _checked_modules() -> list[str]:
    """All modules but those that numba compiles: it cannot compile a function that was wrapped in a check."""
    files = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]
    names = [".".join(("nerf3d", *p.relative_to(PACKAGE).with_suffix("").parts)) for p in files]
    return [name for name in names if not name.endswith(("_numba", ".simd"))]


install_import_hook(_checked_modules(), "beartype.beartype")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and meshes that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder {SHARED}, which is not here")
    return SHARED
