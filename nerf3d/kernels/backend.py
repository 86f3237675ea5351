"""Which version of a kernel runs: decided here, for all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["numba", "torch"]
_forced: Backend | None = None


@cache
def numba_works() -> bool:
    """Whether numba can be imported here (it has no wheel for some platforms)."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def backend(tensor: Tensor) -> Backend:
    """numba for single precision on a CPU, torch for everything else (CUDA, double precision)."""
    if _forced is not None:
        return _forced
    return "numba" if tensor.device.type == "cpu" and tensor.dtype == torch.float32 and numba_works() else "torch"


@contextmanager
def using(name: Backend) -> Iterator[None]:
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
    if not numba_works():
        return "plain torch (numba cannot be imported; `pip install numba` makes a CPU some ten times faster)"
    import numba

    return f"numba {numba.__version__} on the CPU ({numba.config.NUMBA_NUM_THREADS} threads), plain torch on CUDA"
