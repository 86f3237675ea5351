"""Where a command computes: what `--device` means, decided here for all of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nerf3d.console import say
from nerf3d.errors import InputError
from nerf3d.kernels.backend import stays_on_cpu
from nerf3d.ranks import count, own_device


def chosen_device(name: str) -> torch.device:
    """The GPU or the CPU, by "auto": a GPU where torch can compute on one (each process of torchrun on its own). Anything
    else is torch's name of a device. Which GPU it is is said in one line.

    Raises InputError for a device that is not here. CUDA_VISIBLE_DEVICES="" hides GPUs, as it does from other programs.
    """
    if name == "auto":
        name = "cpu" if stays_on_cpu() or not gpu_works() else "cuda"
    try:
        device = own_device(torch.device(name))
        _compute(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"there is no device {name!r} here that torch can use; leave --device out, and ask `nerf3d doctor` what there is"
        ) from error
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        say(f"on {about.name}, {about.total_memory / 2**30:.0f} GiB")
    return device


def gpu_works() -> bool:
    """Whether there is a GPU for every process here, and torch computes on it. Where one is there in vain, that is said."""
    if not torch.cuda.is_available():
        return False
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1
    if torch.cuda.device_count() < processes:
        say(f"fewer GPUs than processes, {torch.cuda.device_count()} for {processes}: on the CPU")
        return False
    try:
        _compute(own_device(torch.device("cuda")))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"there is a GPU here, and torch cannot use it ({reason}): on the CPU")
        return False
    return True


def _compute(device: torch.device) -> None:
    """A driver or a build of torch that does not know the device fails at the first sum, not before."""
    if float(torch.ones(1, device=device).add(1)) != 2:
        raise RuntimeError(f"{device} cannot add")


@contextmanager
def room_for(what: str, device: torch.device) -> Iterator[None]:
    """InputError where `what`, which is brought to the device inside of this, is more than its memory holds."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{what} and the model are more than the memory of {device} holds; choose --device cpu, or make them smaller"
        ) from error
