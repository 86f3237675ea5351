"""In interpreters of their own, with packages that stand in for torchvision in its various states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEALTHY = {"__init__.py": "from torchvision import transforms", "transforms.py": "answer = 42"}
# As the real one: the compiled part, which would declare the operators, has not been loaded.
BROKEN = {
    "__init__.py": "from torchvision import transforms, _meta_registrations",
    "transforms.py": "answer = 42",
    "_meta_registrations.py": (
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake('torchvision::' + name)(lambda dets, scores, threshold: dets)\n"
    ),
}
TROUBLED = {"__init__.py": "raise RuntimeError('something else')"}

CODE = """
import sys
from nerf3d import torchvision_repair as module
def watched(repair=module._repair):
    print("repaired")
    repair()
module._repair = watched
print(module.import_torchvision(), module.import_torchvision())
"""


def child(tmp_path: Path, package: dict[str, str], more: str = "") -> subprocess.CompletedProcess[str]:
    for name, text in package.items():
        (tmp_path / "torchvision").mkdir(exist_ok=True)
        (tmp_path / "torchvision" / name).write_text(text)
    places = [str(tmp_path), str(Path(__file__).resolve().parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run([sys.executable, "-c", CODE + more], capture_output=True, text=True, env=environment)


def test_a_healthy_installation_is_left_alone(tmp_path: Path) -> None:
    out = child(tmp_path, HEALTHY, "import torchvision; print(torchvision.transforms.answer, 'torch' in sys.modules)")
    assert out.stdout.split() == ["True", "True", "42", "False"], out.stderr


def test_a_broken_one_is_repaired_once_and_says_what_it_still_lacks(tmp_path: Path) -> None:
    more = (
        "import torch, torchvision; print(torchvision.transforms.answer)\n"
        "try:\n    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)\n"
        "except NotImplementedError:\n    print('missing')\n"
    )
    out = child(tmp_path, BROKEN, more)
    assert out.stdout.split() == ["repaired", "True", "True", "42", "missing"], out.stderr


def test_other_failures_are_not_hidden(tmp_path: Path) -> None:
    out = child(tmp_path, TROUBLED)
    assert out.returncode == 1
    assert "RuntimeError: something else" in out.stderr
    assert "repaired" not in out.stdout


def test_without_torchvision_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from nerf3d import torchvision_repair as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    assert module.import_torchvision() is False
