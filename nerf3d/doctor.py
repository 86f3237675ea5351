"""What this machine has, what of it is used, and how to get the rest: `nerf3d doctor`."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

GIB = 2**30
MEDIAPIPE = "==0.10.14" if sys.version_info < (3, 13) else ">=1.2"  # as in pyproject.toml


@dataclass(frozen=True)
class Finding:
    """One line: `missing` keeps something from working, a `note` is good to know. `remedy` is what to type or do."""

    name: str
    status: Literal["ok", "missing", "note"]
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Extra:
    """A package that nothing needs and something gains from; its module has the same name. `version`: which, if not any."""

    package: str
    gain: str
    version: str = ""


EXTRAS = (
    Extra("pycolmap", "finds the poses of bare photographs"),
    Extra("lpips", "the LPIPS metric"),
    Extra("mediapipe", "finds faces in films, for nerf3d avatar prepare", MEDIAPIPE),
)


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at everything; nothing is downloaded and nothing is changed. `folder` is where runs go (default: here)."""
    return [
        _python(),
        _processor(),
        _memory(),
        _torch(),
        _cuda(),
        *_numba(),
        _kernels(),
        *_libraries(),
        _ffmpeg(),
        *_extras(),
        _lpips_weights(),
        _disk(folder or Path.cwd()),
    ]


def render(findings: list[Finding]) -> str:
    """The findings as plain text, a line each, with the remedy below what has one."""
    width = max((len(f.name) for f in findings), default=0)
    sign = {"ok": "ok     ", "missing": "MISSING", "note": "note   "}
    lines = []
    for f in findings:
        lines.append(f"{sign[f.status]}  {f.name:<{width}}  {f.text}")
        if f.remedy:
            lines.append(f"{'':7}  {'':<{width}}  -> {f.remedy}")
    return "\n".join(lines)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} in {sys.prefix}, on {platform.platform()}")


def _processor() -> Finding:
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{os.cpu_count()} cores, {allowed} for this process; torch uses {torch.get_num_threads()} threads"
    return Finding("processor", "ok", f"{text} ({torch.backends.cpu.get_cpu_capability()})")


def _memory() -> Finding:
    """Linux says how much is free, and a container how much it may have; elsewhere there is only the total, if that."""
    try:
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        sizes = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
        limit = Path("/sys/fs/cgroup/memory.max")
        allowed = limit.read_text().strip() if limit.is_file() else "max"
        if allowed.isdigit() and int(allowed) < total:
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            total, free = int(allowed), min(free, int(allowed) - used)
    except (OSError, ValueError, KeyError, IndexError):
        return Finding("memory", "note", "this system does not say how much there is")
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < 3 * GIB:
        return Finding("memory", "note", text, "large photographs may need 3 GiB: reduce them, or close other programs")
    return Finding("memory", "ok", text)


def _torch() -> Finding:
    import torch

    return Finding("torch", "ok", torch.__version__)


def _cuda() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("CUDA", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    if torch.version.cuda:
        return Finding("CUDA", "note", "torch has it, but finds no device", "look at nvidia-smi, or update the driver")
    remedy = "with an NVIDIA GPU, install the build of torch that https://pytorch.org/get-started shows"
    return Finding("CUDA", "note", "this torch is built for the CPU, which works", remedy)


def _numba() -> Iterator[Finding]:
    try:
        import numba
    except ImportError as error:
        yield Finding("numba", "missing", f"it cannot be imported ({error}); kernels are slow", "pip install numba")
        return
    threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    layer = _threading_layer() or "no threading layer"
    yield Finding("numba", "ok", f"{numba.__version__}, {threads} threads over {layer}")


def _threading_layer() -> str | None:
    """The first of numba's thread pools that loads, in numba's order; it chooses only once a kernel has run."""
    for name, module in (("tbb", "tbbpool"), ("omp", "omppool"), ("workqueue", "workqueue")):
        try:
            __import__(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        return name
    return None


def _kernels() -> Finding:
    from nerf3d.kernels import backend

    return Finding("kernels", "ok", backend.describe())


def _libraries() -> Iterator[Finding]:
    """What `--kernels tcnn` takes; nothing to say without CUDA. Whether they work is tried where they are chosen."""
    import torch

    from nerf3d.kernels.backend import TCNN

    if not torch.cuda.is_available():
        return
    for name, module, gain, remedy in (
        ("tiny-cuda-nn", "tinycudann", "encodings and networks for --kernels tcnn", TCNN),
        ("nerfacc", "nerfacc", "compositing for --kernels tcnn", "pip install nerfacc"),
    ):
        if util.find_spec(module) is None:
            yield Finding(name, "note", f"not installed: {gain}", remedy)
        else:
            yield Finding(name, "ok", f"{_version(module)}: {gain}")


def _ffmpeg() -> Finding:
    try:
        import imageio_ffmpeg

        path, version = imageio_ffmpeg.get_ffmpeg_exe(), imageio_ffmpeg.get_ffmpeg_version()
    except (ImportError, RuntimeError, OSError) as error:
        return Finding("ffmpeg", "missing", f"no films ({error})", "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ffmpeg", "ok", f"{version} ({path})")


def _extras() -> Iterator[Finding]:
    """Whether each can be imported is not tried: some take ten seconds, and looking for them takes none."""
    import torch

    release = torch.__version__.partition("+")[0]
    for extra in EXTRAS:
        if util.find_spec(extra.package) is None:
            # torch is named too, or a package may bring another build of it, with gigabytes of CUDA libraries.
            command = f"pip install {extra.package}{extra.version} torch=={release}"
            yield Finding(extra.package, "note", f"not installed: {extra.gain}", command)
        else:
            yield Finding(extra.package, "ok", f"{_version(extra.package)}: {extra.gain}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _lpips_weights() -> Finding:
    """LPIPS measures with a network trained on ImageNet, whose weights come from the net unless they lie here."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = sorted(path.name for path in folder.glob("vgg16-*.pth"))
    if found:
        return Finding("LPIPS weights", "ok", f"{', '.join(found)} in {folder}")
    remedy = f"put torchvision's vgg16-397923af.pth into {folder}"
    return Finding("LPIPS weights", "note", "not here, so that eval leaves LPIPS out", remedy)


def _disk(folder: Path) -> Finding:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / GIB:.1f} GiB free at {there}"
    return Finding("disk", "ok", text) if free > 2 * GIB else Finding("disk", "note", text, "free some space for runs")
