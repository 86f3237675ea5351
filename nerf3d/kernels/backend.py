"""Which version of a kernel runs: decided here, for all of them."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from nerf3d.errors import InputError

Backend = Literal["numba", "torch", "triton"]
"""Those that have, or stand in for, every operation."""
Library = Literal["nerfacc", "tcnn"]
"""Others' programs for some operations: see `composite_nerfacc.py` and `tcnn.py`."""
Version = Literal["numba", "torch", "triton", "tcnn"]
Choice = Literal["auto", "numba", "torch", "triton", "tcnn"]
_forced: Version | None = None
_chosen: Choice = "auto"

TCNN = "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"
"""What brings tiny-cuda-nn, which is on no registry."""


@cache
def numba_works() -> bool:
    """Whether numba can be imported here (it has no wheel for some platforms)."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def triton_interpreted() -> bool:
    """Whether Triton's programs run in its interpreter, on any device and very slowly: for tests without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def triton_works(device: torch.device) -> bool:
    """Whether Triton is installed and its programs run on this device.

    A small one is tried. If that fails (a driver too old for Triton's compiler is the usual reason), a warning says so and
    plain torch does the work; this is the one place where that is decided.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (7, 0):
        return False
    if device.type != "cuda" and not triton_interpreted():
        return False
    try:
        from nerf3d.kernels.launch_triton import probe
    except ImportError:
        return False
    try:
        probe(device)
    except Exception as error:  # whatever a compiler, an assembler or a driver may raise
        warnings.warn(f"Triton does not work on {device} ({_said(error)}); plain torch is used instead", stacklevel=2)
        return False
    return True


@cache
def library_fault(name: Library, device: torch.device) -> str:
    """Why a library cannot be used on a device; empty if it can.

    It is asked for something small whose answer is known, since none of this could be tried where it was written.
    """
    try:
        if name == "tcnn":
            from nerf3d.kernels.tcnn import probe
        else:
            from nerf3d.kernels.composite_nerfacc import probe
        probe(device)
    except Exception as error:  # a build for another GPU or another torch fails in ways of its own
        return _said(error)
    return ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"


def backend(tensor: Tensor) -> Backend:
    """For single precision numba on a CPU and Triton on CUDA, where they work; torch for everything else."""
    if _forced is not None and _forced != "tcnn":
        return _forced
    if tensor.dtype != torch.float32 or _chosen == "torch":
        return "torch"
    if tensor.device.type == "cuda" or (_chosen == "triton" and triton_interpreted()):
        return "triton" if _chosen != "numba" and triton_works(tensor.device) else "torch"
    return "numba" if tensor.device.type == "cpu" and numba_works() else "torch"


def borrows(name: Library, tensor: Tensor) -> bool:
    """Whether an operation that a library has goes to it: only where "tcnn" was chosen, never by "auto".

    tiny-cuda-nn's networks compute in half precision, and nobody has measured here what that gains. What the libraries
    do not have goes to the `backend` as ever.
    """
    if tensor.dtype != torch.float32:
        return False
    taken = _forced == "tcnn" if _forced is not None else _chosen == "tcnn" and tensor.device.type == "cuda"
    return taken and not library_fault(name, tensor.device)


def choose(name: Choice) -> None:
    """What this program may use from now on: "auto" is the best for each tensor, "torch" the references alone.

    "numba" keeps Triton out; "triton" insists that it works. Both leave to others the devices that they do not know.
    "tcnn" insists on tiny-cuda-nn, for encodings and networks, and takes nerfacc for compositing where that is installed.
    """
    global _chosen
    if name == "tcnn":
        _insist_on_tcnn()
    if name == "numba" and not numba_works():
        raise InputError("numba cannot be imported here: pip install numba, or choose torch")
    if name == "triton":
        if find_spec("triton") is None:
            raise InputError("Triton is not installed here: pip install triton, or choose auto")
        if not torch.cuda.is_available() and not triton_interpreted():
            raise InputError("Triton needs a CUDA device, and there is none here: choose auto, numba or torch")
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if not triton_works(device):
            raise InputError(f"Triton does not work on {device}: bring its driver up to date, or choose auto or torch")
    _chosen = name


def _insist_on_tcnn() -> None:
    if find_spec("tinycudann") is None:
        raise InputError(f"tiny-cuda-nn is not installed here: {TCNN} (which needs a CUDA compiler), or choose auto")
    if not torch.cuda.is_available():
        raise InputError("tiny-cuda-nn needs a CUDA device, and there is none here: choose auto, numba or torch")
    device = torch.device("cuda", torch.cuda.current_device())
    if fault := library_fault("tcnn", device):
        raise InputError(f"tiny-cuda-nn does not work on {device} ({fault}): build it anew by {TCNN}, or choose auto")
    if find_spec("nerfacc") is not None and (fault := library_fault("nerfacc", device)):
        warnings.warn(f"nerfacc does not work on {device} ({fault}); others composite instead", stacklevel=3)


def stays_on_cpu() -> bool:
    """Whether what was chosen is for CPUs alone, so that nobody means a GPU who leaves the device to the program."""
    return _chosen == "numba"


@contextmanager
def using(name: Version) -> Iterator[None]:
    """Force one version for a while: for tests and benchmarks."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def compiled() -> bool:
    """Whether the kernels were compiled on this machine before, so that the first step will not take half a minute."""
    if not numba_works():
        return True
    from nerf3d.kernels.adam_numba import adam

    return any(Path(adam.stats.cache_path).glob("adam_numba.*.nbi"))


def describe() -> str:
    """One sentence for `nerf3d doctor`."""
    cuda = "plain torch on CUDA"
    if torch.cuda.is_available() and triton_works(torch.device("cuda", torch.cuda.current_device())):
        cuda = "Triton on CUDA"
    if not numba_works():
        return f"plain torch on the CPU (`pip install numba` makes it some ten times faster), {cuda}"
    import numba

    return f"numba {numba.__version__} on the CPU ({numba.config.NUMBA_NUM_THREADS} threads), {cuda}"
