"""In interpreters of their own, with stand-ins for the libraries: what is imported cannot be unimported here."""

import subprocess
import sys
from pathlib import Path

LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from nerf3d.errors import InputError
from nerf3d.guidance.libraries import prepare
try:
    prepare()
except InputError as error:
    sys.exit(str(error))
print("ready")
"""


def look(folder: Path, torchvision: str, libraries: tuple[str, ...] = ("transformers", "diffusers")) -> str:
    """What a fresh interpreter says beside such a torchvision, or how it refuses."""
    for name in libraries:
        (folder / name / "utils").mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
        (folder / name / "utils" / "__init__.py").write_text("")
        (folder / name / "utils" / "logging.py").write_text("def disable_progress_bar(): print('quiet')")
    (folder / "torchvision.py").write_text(torchvision)
    done = subprocess.run([sys.executable, "-c", LOOK, str(folder)], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_beside_a_healthy_torchvision_both_are_ready_and_show_no_bars(tmp_path: Path) -> None:
    assert look(tmp_path, "x = 1").split() == ["quiet", "quiet", "ready"]


def test_a_torchvision_beyond_repair_is_named_with_a_remedy(tmp_path: Path) -> None:
    said = look(tmp_path, "raise OSError('libcudart.so.12: cannot open shared object file')")
    assert "libcudart.so.12" in said
    assert "pip uninstall torchvision" in said
    assert "Traceback" not in said


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "diffusers.py").write_text("raise ImportError('none')")
    assert "pip install diffusers transformers" in look(tmp_path, "x = 1", ("transformers",))
