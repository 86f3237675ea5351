"""Shapes and types on public functions are checked at run time, under pytest only."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("nerf3d", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs and meshes that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder {SHARED}, which is not here")
    return SHARED
