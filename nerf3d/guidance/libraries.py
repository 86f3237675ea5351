"""diffusers and transformers, made ready to be imported.

Both import torchvision where it is installed, though teachers need nothing of it, and fail where that fails: the wheels on
PyPI are built for CUDA and do not work beside a torch for CPUs. Then the two are shown a world without torchvision while
they look around, which they do once. A healthy torchvision is left alone.
"""

import importlib
import sys

from nerf3d.errors import InputError


def prepare() -> None:
    """Call before importing from diffusers or transformers. Raises InputError where one of them is not installed."""
    broken = _torchvision_is_broken()
    if broken:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # Python's way to say: not installed
    try:
        for library in ("transformers", "diffusers"):
            importlib.import_module(f"{library}.utils.import_utils").is_torchvision_available()
            importlib.import_module(f"{library}.utils.logging").disable_progress_bar()  # one bar a part is noise
    except ImportError as error:
        raise InputError("teachers need two more libraries; pip install diffusers transformers") from error
    finally:
        if broken:
            del sys.modules["torchvision"]


def _torchvision_is_broken() -> bool:
    """Whether it is installed and cannot be imported."""
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return False
    except (RuntimeError, OSError, AttributeError):
        return True
    return False
