"""Make a torchvision usable whose compiled part does not load, as PyPI's does beside a torch for CPUs only.

Its import then ends with "operator torchvision::nms does not exist", and with it the import of everything that uses
torchvision where it finds it: open_clip, transformers, diffusers, lpips. What they need are its transforms, which are
plain Python. So the two operators that the import asks for are declared (not defined: whoever calls them is told that
they are missing), and the import is tried again. An installation that works is never touched.
"""

import importlib
import importlib.util
import sys

SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))
"""What torchvision registers shapes for while it is imported, and what only its compiled part declares."""

_declared: list[object] = []
"""Declarations last as long as the object that made them."""


def import_torchvision() -> bool:
    """Import torchvision, repaired where its compiled part is broken; False where it is not installed.

    To be called before the first import of a library that imports torchvision when it is there. A second call costs
    nothing. Any other failure of the import is raised as it is.
    """
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _repair()
    return True


def _repair() -> None:
    """Forget what was half imported, declare what it missed, and import again."""
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    importlib.import_module("torchvision")
