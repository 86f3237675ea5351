"""The examples in docstrings are true, for a person who types them: without the checks of shapes that tests have."""

import subprocess
import sys
from pathlib import Path

import nerf3d

PACKAGE = Path(nerf3d.__file__).parent
RUN = """
import doctest, importlib, sys
import torch
from nerf3d.core.schedules import Decay, Ramp
failures = 0
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    result = doctest.testmod(module, globs=vars(module) | {"torch": torch, "Ramp": Ramp, "Decay": Decay})
    assert result.attempted, f"no example of {name} was found"
    failures += result.failed
sys.exit(failures > 0)
"""


def test_examples() -> None:
    files = [f for f in PACKAGE.rglob("*.py") if ">>>" in f.read_text(encoding="utf-8") and "_numba" not in f.stem]
    names = [".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in files]
    assert len(names) > 8
    done = subprocess.run([sys.executable, "-c", RUN, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
