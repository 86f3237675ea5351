"""In interpreters of their own, with stand-ins for the libraries: what is imported cannot be unimported here."""

import subprocess
import sys
from pathlib import Path

import pytest

LOOKS_AROUND = """
import functools, importlib.util
@functools.lru_cache
def is_torchvision_available():
    return importlib.util.find_spec("torchvision") is not None
"""
LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from nerf3d.errors import InputError
from nerf3d.guidance.libraries import prepare
try:
    prepare()
except InputError as error:
    sys.exit(str(error))
from transformers.utils.import_utils import is_torchvision_available as one
from diffusers.utils.import_utils import is_torchvision_available as other
print(one(), other(), sys.modules.get("torchvision", "unseen"))
"""


def look(folder: Path, torchvision: str | None, libraries: tuple[str, ...] = ("transformers", "diffusers")) -> str:
    """What a fresh interpreter finds beside such a torchvision, or how it refuses."""
    for name in libraries:
        (folder / name / "utils").mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
        (folder / name / "utils" / "__init__.py").write_text("")
        (folder / name / "utils" / "import_utils.py").write_text(LOOKS_AROUND)
        (folder / name / "utils" / "logging.py").write_text("def disable_progress_bar(): pass")
    if torchvision is not None:
        (folder / "torchvision").mkdir()
        (folder / "torchvision" / "part.py").write_text("")
        (folder / "torchvision" / "__init__.py").write_text(f"import torchvision.part\n{torchvision}")
    done = subprocess.run([sys.executable, "-c", LOOK, str(folder)], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


@pytest.mark.parametrize(
    ("torchvision", "found"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "False False unseen"),
        ("x = 1", "True True <module 'torchvision'"),
    ],
)
def test_a_broken_torchvision_is_hidden_and_a_healthy_one_is_not(torchvision: str, found: str, tmp_path: Path) -> None:
    assert look(tmp_path, torchvision).startswith(found)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "diffusers.py").write_text("raise ImportError('none')")
    assert "pip install diffusers transformers" in look(tmp_path, "x = 1", ("transformers",))
