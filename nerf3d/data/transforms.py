"""Transforms files: NeRF-synthetic's three, and instant-ngp's and nerfstudio's one.

The frame in which a file states its poses is the scene's world frame, whatever was done before it was written. So
nerfstudio's `applied_transform` and `applied_scale`, by which a converter has already moved and turned the poses, are
not undone, and instant-ngp's `scale`, `offset` and `aabb_scale`, by which that program fits a scene into its own cube,
are not applied: a mesh comes out in the coordinates of the file's own transform_matrix entries.
"""

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.numerics import normalize
from nerf3d.core.paths import mean_up
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.frames import Frame, cameras_of, missing_note, read_frames
from nerf3d.data.lens import number
from nerf3d.data.objects import object_box
from nerf3d.data.pictures import common_size, has_alpha, load_masks, load_pictures
from nerf3d.data.split import by_name, hold_out, sizes
from nerf3d.errors import InputError


def load_blender(folder: Path) -> Capture:
    """A NeRF-synthetic folder: transforms_train.json and, for testing, transforms_test.json, else transforms_val.json.

    Without either, every eighth picture is held out. Pictures keep the files' order; up is +z, as in Blender.
    """
    train, missing = read_frames(folder / "transforms_train.json")
    listed = len(train) + len(missing)
    for other in ("transforms_test.json", "transforms_val.json"):
        if (folder / other).is_file():
            test, absent = read_frames(folder / other)
            missing, listed = missing + absent, listed + len(test) + len(absent)
            note = f"{len(train)} photographs for training, {len(test)} of {other} for testing"
            break
    else:
        train, test, note = _divide(train, hold_out([frame.name for frame in train]))
    return _capture(train, test, torch.tensor([0.0, 0.0, 1.0]), (*missing_note(missing, listed), note))


def load_transforms(folder: Path) -> Capture:
    """A folder with one transforms.json, as instant-ngp and nerfstudio write it.

    Held out are the pictures that nerfstudio's `test_filenames` (else `val_filenames`) lists, else every eighth. Up is
    the file's `up`, else what the cameras hold upwards on average.
    """
    file = folder / "transforms.json"
    frames, missing = read_frames(file)
    document = frames[0].document
    named = _named_split(file, document, frames)
    train, test, note = _divide(frames, named or hold_out([frame.name for frame in frames]), own=named is not None)
    up = _up(file, document)
    return _capture(train, test, up, (*missing_note(missing, len(frames) + len(missing)), note))


def _divide(frames: Sequence[Frame], split: tuple[list[int], list[int]], own: bool = False) -> tuple[list, list, str]:
    train, test = ([frames[i] for i in part] for part in split)
    if own:
        return train, test, f"{len(train)} photographs for training, {len(test)} for testing (the data set's own split)"
    return train, test, sizes(len(train), len(test))


def _named_split(
    file: Path, document: Mapping[str, Any], frames: Sequence[Frame]
) -> tuple[list[int], list[int]] | None:
    """The split that a file spells out, as nerfstudio does; None if it does not, or leaves nothing on one side."""

    def plain(name: str) -> str:
        return posixpath.normpath(name.replace("\\", "/"))

    found = {plain(frame.listed): frame.name for frame in frames}

    def names(key: str) -> set[str]:
        value = document.get(key) or []
        if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
            raise InputError(f"{file}: {key!r} is not a list of names; correct it or take it out")
        return {found.get(plain(name), plain(name)) for name in value}

    train, test = names("train_filenames"), names("test_filenames") or names("val_filenames")
    kept, held = by_name([frame.name for frame in frames], train, test)
    return (kept, held) if kept and held else None


def _up(file: Path, document: Mapping[str, Any]) -> Float[Tensor, "3"] | None:
    """The unit vector that the file gives as `up`; None if it gives none."""
    value = document.get("up")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"{file}: 'up' is {value!r}, which is not a list of three numbers; correct it or take it out")
    up = torch.tensor([number(f"{file}, 'up'", {"up": entry}, "up") or 0.0 for entry in value])
    if float(up.norm()) < 1e-6:
        raise InputError(f"{file}: 'up' has no length; correct it or take it out")
    return normalize(up)


def _capture(
    train: Sequence[Frame], test: Sequence[Frame], up: Float[Tensor, "3"] | None, notes: tuple[str, ...]
) -> Capture:
    """Load the pictures of both parts, which have one size and one number of channels."""
    frames = [*train, *test]
    paths = [frame.picture for frame in frames]
    width, height = common_size(paths)
    cameras = cameras_of(frames, width, height)
    alpha = has_alpha(paths)
    box = None
    if alpha:  # an object in front of nothing; without alpha, a place that goes on to the horizon
        box, more = object_box(cameras)
        notes = (*notes, *more)
    return Capture(
        train=_photographs(train, cameras[: len(train)], alpha),
        test=_photographs(test, cameras[len(train) :], alpha),
        up=mean_up(cameras) if up is None else up,
        box=box,
        notes=notes,
    )


def _photographs(frames: Sequence[Frame], cameras: Cameras, alpha: bool) -> Photographs:
    masked = any(frame.mask is not None for frame in frames)
    return Photographs(
        images=load_pictures([frame.picture for frame in frames], alpha),
        cameras=cameras,
        names=tuple(frame.name for frame in frames),
        masks=load_masks([frame.mask for frame in frames], cameras.height, cameras.width) if masked else None,
    )
