"""Where the files are that come with the program: a wheel carries them inside the package, a checkout has them beside it."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
PRIOR = ASSETS / "prior"
EVALUATOR = ASSETS / "evaluator"
MESHES = ASSETS / "meshes"
PROMPTS = ASSETS / "prompts"
NOTE = "nerf3d.json"
"""The file in a pipeline's folder that says that it was trained by scripts/train_prior.py."""


def of_the_world(pipeline: Path) -> bool:
    """Whether a prior knows the built-in world: its words, and the captions that say where the camera stands."""
    return (pipeline / NOTE).is_file()
