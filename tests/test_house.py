"""The house keeps its order: who imports whom, how late, and what nobody does."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nerf3d"
FILES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom, beside itself, `errors` and `assets`, which all may. A new room or file at the top gets its line here.
LOW = {"core"}
SCENE = {"core", "kernels"}
BELOW_TASKS = SCENE | {"fields", "render", "models", "guidance", "data", "export", "metrics"}
BELOW_TASKS |= {"media", "files", "train", "checkpoint", "config", "plain", "precision"}
BELOW_COMMANDS = BELOW_TASKS | {
    "tasks",
    "runs",
    "scenes",
    "logs",
    "console",
    "ranks",
    "doctor",
    "allocator",
    "tensor_cores",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "assets": set(),
    "core": set(),
    "allocator": set(),
    "threads": set(),
    "tensor_cores": set(),
    "kernels": LOW,
    "fields": SCENE,
    "render": SCENE,
    "models": SCENE | {"fields", "precision"},
    "ranks": set(),
    "precision": set(),
    "torchvision_repair": set(),
    "guidance": LOW | {"torchvision_repair"},
    "files": set(),
    "media": {"files"},
    "data": LOW | {"media"},
    "export": LOW | {"kernels", "media", "files"},  # textures are painted by the rasteriser
    "metrics": LOW | {"torchvision_repair"},
    "train": LOW | {"ranks", "precision"},
    "checkpoint": LOW,
    "plain": set(),
    "config": {"plain"},
    "doctor": {"kernels"},
    "tasks": BELOW_TASKS,
    "runs": BELOW_TASKS | {"tasks", "ranks"},
    "scenes": BELOW_TASKS | {"tasks", "runs"},
    "console": {"ranks"},
    "logs": {"train"},
    "commands": BELOW_COMMANDS,
    "__init__": {"commands", "runs", "scenes", "threads"},  # `import nerf3d` is the door to the typed functions
    "viewer": BELOW_COMMANDS | {"commands"},
    "plugins": BELOW_COMMANDS | {"commands"},
    "options": BELOW_COMMANDS | {"commands"},
    "cli": BELOW_COMMANDS | {"commands", "options", "viewer", "__init__"},
    "__main__": {"cli"},
}
HEAVY = ["torch", "numpy", "scipy", "numba", "PIL", "rich", "yaml", "jaxtyping", "safetensors", "imageio", "skimage"]
HEAVY += ["trimesh", "tensorboard", "pycolmap", "lpips", "matplotlib", "pydoc", "asyncio"]


def modules(file: Path) -> Iterator[str]:
    """The full names of everything that a file imports, wherever in it: `from a import b` counts as a.b."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (start, node.module) if part)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    """The room of our own that a full name lies in: nerf3d.core.rays -> core; None for all else."""
    first, *rest = name.split(".")
    if first != "nerf3d" or rest == ["__version__"]:
        return None
    there = bool(rest) and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
    return rest[0] if there else "__init__"


def misplaced(file: Path) -> list[str]:
    """The imports of a file that the house does not allow."""
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    bad = [m for m in modules(file) if (r := room(m)) and r not in {own, "errors", "assets"} | ALLOWED[own]]
    if own == "tasks" and file.name != "__init__.py":  # a story never knows another
        story = f"nerf3d.tasks.{file.relative_to(PACKAGE / 'tasks').parts[0].removesuffix('.py')}"
        bad += [m for m in modules(file) if room(m) == "tasks" and not f"{m}.".startswith(f"{story}.")]
    if own == "core":
        third = (
            {m.split(".")[0] for m in modules(file)} - {"torch", "jaxtyping", "nerf3d"} - set(sys.stdlib_module_names)
        )
        bad += sorted(third)
    return bad


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_keeps_to_its_room(file: Path) -> None:
    assert misplaced(file) == []
    names = {name for module in modules(file) for name in (module.split(".")[0], module)}
    assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "torch.load"}
    assert "nerfstudio" not in names or file == PACKAGE / "plugins" / "nerfstudio.py"
    text = file.read_text(encoding="utf-8")
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        assert ast.unparse(call.func) not in {"torch.load", "eval", "exec", "os.system"}
        assert not any(
            k.arg == "shell" or (k.arg == "allow_pickle" and ast.unparse(k.value) != "False") for k in call.keywords
        )
    assert len(text.splitlines()) <= 400, "one idea, one file"


def test_the_test_of_the_layers_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong imports of every form, in a little house of its own."""
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "ROOT", tmp_path)
    monkeypatch.setattr(here, "PACKAGE", tmp_path / "nerf3d")
    wrong = {
        "core/a.py": ["import numpy", "from nerf3d.fields import x", "from ..kernels import x", "from .. import cli"],
        "kernels/a.py": [
            "from nerf3d import fields",
            "import nerf3d.render.march",
            "def f():\n    import nerf3d.train",
        ],
        "tasks/a.py": [
            "from nerf3d.tasks import b",
            "from .b import x",
            "from nerf3d.tasks.b import x",
            "import nerf3d.commands.fit",
        ],
        "cli.py": [],
        "train.py": ["import nerf3d.cli", "from nerf3d.tasks.a import x"],
    }
    right = {
        "errors.py": ["import math"],
        "core/b.py": [
            "import math, torch",
            "from . import a",
            "from nerf3d.core.a import x",
            "from nerf3d.errors import E",
        ],
        "tasks/b.py": ["from nerf3d.fields.a import x", "import nerf3d.train", "from nerf3d.tasks.b import x"],
        "fields/a.py": ["import numpy", "from nerf3d.kernels import x"],
        "render/a.py": ["from nerf3d.core import x"],
        "commands/fit.py": ["from nerf3d.tasks import a", "import nerf3d.render"],
    }
    for name in wrong | right:
        (tmp_path / "nerf3d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nerf3d" / name).write_text("")
    for name, lines in (wrong | right).items():
        for line in lines:
            (tmp_path / "nerf3d" / name).write_text(line)
            assert bool(misplaced(tmp_path / "nerf3d" / name)) == (name in wrong), (name, line)


def child(code: str) -> tuple[str, float]:
    """What a fresh interpreter prints for some code, and the seconds of CPU that it took (not of the clock)."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    with process.stdout:
        out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return out, used.ru_utime + used.ru_stime


def test_import_nerf3d_is_light() -> None:
    out, _ = child(f"import nerf3d, sys; print([m for m in {HEAVY} if m in sys.modules], nerf3d.__version__)")
    assert out.startswith("[] ")


def test_importing_nerf3d_says_how_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = "import nerf3d, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert child(ask)[0] == "2000\n"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert child(ask)[0] == "7\n"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert child(ask)[0] == "None\n"


HELP = f"""
import sys
from nerf3d.cli import main
try:
    code = main(sys.argv[1:] or ["--help"])
except SystemExit as exit:
    code = exit.code
heavy = [m for m in {HEAVY} if m in sys.modules]
print("heavy:", heavy)
sys.exit(code)
"""


def test_help_is_light_and_answers_in_half_a_second() -> None:
    runs = [child(HELP) for _ in range(3)]
    text = runs[0][0]
    assert text.rstrip().endswith("heavy: []")
    for command in ("fit", "render", "export", "eval", "doctor"):
        assert command in text
    assert min(seconds for _, seconds in runs) < 0.5


def test_a_wheel_carries_the_recipes(tmp_path: Path) -> None:
    """The build runs on a copy, since it leaves folders behind, and with a recipe of its own."""
    import zipfile

    setuptools = pytest.importorskip("setuptools", "77")
    assert setuptools
    source = tmp_path / "source"
    for name in ("nerf3d", "configs"):
        for file in (ROOT / name).rglob("*"):
            if file.suffix in (".py", ".yaml"):
                copy = source / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    (source / "configs" / "fit" / "mine.yaml").write_text("steps: 3\n")
    (source / "assets" / "meshes").mkdir(parents=True)
    (source / "assets" / "meshes" / "mine.obj").write_text("v 0 0 0\n")
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("nerf3d-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    find = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nerf3d.config import find_recipe; from nerf3d.assets import "
        "MESHES; print(find_recipe('mine', 'fit'), MESHES)"
    )
    command = [sys.executable, "-c", find, str(installed)]
    out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    recipe, meshes = map(Path, out.split())
    assert recipe == installed / "nerf3d" / "configs" / "fit" / "mine.yaml"
    assert {p.stem for p in (installed / "nerf3d" / "configs").rglob("*.yaml")} == {
        "mine",
        *(p.stem for p in (ROOT / "configs").rglob("*.yaml")),
    }
    assert meshes == installed / "nerf3d" / "assets" / "meshes"
    assert (meshes / "mine.obj").is_file()
    assert (installed / "nerf3d" / "core" / "rays.py").is_file()
