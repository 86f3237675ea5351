"""Where the files are that come with the program: a wheel carries them inside the package, a checkout has them beside it."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
PRIOR = ASSETS / "prior"
EVALUATOR = ASSETS / "evaluator"
MESHES = ASSETS / "meshes"
PROMPTS = ASSETS / "prompts"
