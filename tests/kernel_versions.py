"""The versions of a kernel that a test can run here, and where their tensors have to lie."""

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from nerf3d.kernels.backend import triton_interpreted


def _no_triton() -> str:
    """Why Triton's programs cannot run here; empty if they can."""
    if find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    if not triton_interpreted() and not torch.cuda.is_available():
        return "Triton needs a CUDA device, or its interpreter (TRITON_INTERPRET=1)"
    return ""


TRITON = pytest.param("triton", marks=pytest.mark.skipif(bool(_no_triton()), reason=_no_triton() or "it can"))
FAST = ["numba", TRITON]
ALL = [*FAST, "torch"]


def home(name: str) -> torch.device:
    """Where a version's tensors lie: Triton's on the GPU where there is one, unless it is interpreted."""
    return torch.device("cuda" if name == "triton" and not triton_interpreted() else "cpu")


def at_home(name: str, *tensors: Tensor) -> list[Tensor]:
    return [tensor.to(home(name)) for tensor in tensors]
