"""`nerf3d render`: a film, or a folder of pictures, of a run."""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.console import say, tracked
from nerf3d.core import Cameras, Scene
from nerf3d.core.paths import orbit_around, spiral, through
from nerf3d.data.camera_file import load_camera_path
from nerf3d.errors import InputError
from nerf3d.export.film import write_film, write_frames
from nerf3d.export.pictures import color_picture, depth_picture, depth_range, normal_picture, opacity_picture
from nerf3d.render.picture import Picture, render_picture
from nerf3d.runs import open_run
from nerf3d.scenes import load_scene

CHANNELS = ("rgb", "depth", "normal", "opacity")
SHORTEST, LONGEST = 192, 640
"""Films are no smaller and no larger than this on their longer side, unless told otherwise. A file may say less."""
MOST = 8192
"""Nor than this, ever: few players show more."""


def film(
    run: Path | str,
    out: Path | str | None = None,
    path: str = "orbit",
    channels: tuple[str, ...] = ("rgb",),
    frames: int = 90,
    fps: float = 30.0,
    size: int | None = None,
) -> Path:
    """Film a run along a path: "orbit", "spiral", "inputs" (through the cameras it was made from) or a JSON file.

    `out` is an .mp4, with the channels side by side, or a folder for PNGs; None: media/PATH.mp4 in the run. `channels`
    are among rgb, depth, normal, opacity. `size` is the longer side in pixels (None: as photographed, from 192 to
    640). Returns where it was written.
    """
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown or not channels:
        raise InputError(
            f"there is no channel {', '.join(unknown) or '(none given)'}; choose among {', '.join(CHANNELS)}"
        )
    if frames < 1:
        raise InputError(f"a film needs at least one frame, not {frames}")
    if size is not None and not 1 <= size <= MOST:
        raise InputError(f"a film cannot be {size} pixels large; choose a size up to {MOST}")
    if not 0 < fps <= 1000:
        raise InputError(f"a film has between 0 and 1000 frames per second, not {fps}")
    opened = open_run(Path(run))
    target = Path(out) if out is not None else opened.media / f"{Path(path).stem}.mp4"
    if target.suffix.lower() not in ("", ".mp4"):  # before the work, not after it
        raise InputError(f"{target} is neither an .mp4 file nor a folder (which has no dot in its name); rename it")
    scene, _ = load_scene(opened)
    cameras = _cameras(scene, path, frames, size)
    pictures = _pictures(scene, cameras, "normal" in channels)
    if target.suffix.lower() == ".mp4":
        write_film(target, (torch.cat(views, 1) for views in _views(scene, cameras, channels, pictures)), fps)
    else:
        names = [f"{name}_{index:05d}" for index in range(len(cameras)) for name in channels]
        write_frames(target, (view for views in _views(scene, cameras, channels, pictures) for view in views), names)
    say(f"{len(cameras)} frames in {target}")
    return target


def _cameras(scene: Scene, path: str, frames: int, size: int | None) -> Cameras:
    inputs = scene.cameras
    if path.endswith(".json"):
        cameras = load_camera_path(Path(path), inputs)
    elif path in ("orbit", "spiral", "inputs"):
        poses = {
            "orbit": lambda: orbit_around(inputs, scene.up, frames),
            "spiral": lambda: spiral(inputs, frames),
            "inputs": lambda: through(inputs.world_from_camera, frames),
        }[path]()
        middle = inputs.intrinsics.contiguous().median(0).values.expand(len(poses), 4)
        cameras = Cameras(poses, middle, torch.zeros(len(poses), 5), inputs.width, inputs.height, inputs.lens)
    else:
        raise InputError(f"there is no path {path!r}; choose orbit, spiral, inputs or a .json file with cameras")
    longest = max(cameras.width, cameras.height)
    shortest = 1 if path.endswith(".json") else SHORTEST  # a file says how large
    scale = (size or min(max(longest, shortest), LONGEST)) / longest
    return cameras.scaled_to(max(round(cameras.width * scale), 1), max(round(cameras.height * scale), 1))


def _pictures(scene: Scene, cameras: Cameras, normals: bool) -> Iterator[Picture]:
    for index in tracked(range(len(cameras)), "render", len(cameras)):
        yield render_picture(scene, cameras, index, normals)


def _views(
    scene: Scene, cameras: Cameras, channels: tuple[str, ...], pictures: Iterator[Picture]
) -> Iterator[list[UInt8[Tensor, "h w 3"]]]:
    """The channels of every picture. Depth has one scale for the whole film, taken from a few of its frames."""
    scale = (0.0, 1.0)
    if "depth" in channels:
        small = cameras.scaled_to(max(cameras.width // 4, 1), max(cameras.height // 4, 1))
        some = [render_picture(scene, small, index) for index in range(0, len(cameras), max(len(cameras) // 8, 1))]
        scale = depth_range(torch.stack([p.depth for p in some]), torch.stack([p.opacity for p in some]))
    for picture in pictures:
        views = {
            "rgb": lambda p: color_picture(p.color),
            "depth": lambda p: depth_picture(p.depth, p.opacity, scale),
            "normal": lambda p: normal_picture(p.normal, p.opacity),
            "opacity": lambda p: opacity_picture(p.opacity),
        }
        yield [views[name](picture) for name in channels]
