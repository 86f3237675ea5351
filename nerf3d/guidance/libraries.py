"""diffusers and transformers, made ready to be imported: both import torchvision where it is installed, broken or not."""

import importlib

from nerf3d.errors import InputError
from nerf3d.torchvision_repair import import_torchvision


def prepare() -> None:
    """Call before importing from diffusers or transformers. Raises InputError where one of them is not installed, or
    where torchvision is there and broken beyond repair.
    """
    try:
        import_torchvision()
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise InputError(
            f"torchvision is installed but cannot be imported ({error}); pip uninstall torchvision, or install the build "
            "that belongs to this torch"
        ) from error
    try:
        for library in ("transformers", "diffusers"):
            importlib.import_module(f"{library}.utils.logging").disable_progress_bar()  # one bar a part is noise
    except ImportError as error:
        raise InputError("teachers need two more libraries; pip install diffusers transformers") from error
