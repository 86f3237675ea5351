"""The frames that a transforms file lists, whoever wrote it: NeRF-synthetic, instant-ngp, nerfstudio, an add-on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.files import inside, read_json
from nerf3d.data.lens import read_optics
from nerf3d.data.pictures import SUFFIXES
from nerf3d.errors import InputError


@dataclass(frozen=True)
class Frame:
    """A listed picture that exists. `name` is its path relative to the data set, `listed` as the file writes it.

    `world_from_camera` has OpenCV axes. `where` names file and frame, for errors; `document` and `table` are the
    outermost object of the file and the frame's own.
    """

    picture: Path
    mask: Path | None
    name: str
    listed: str
    world_from_camera: Float[Tensor, "3 4"]
    where: str
    document: Mapping[str, Any]
    table: Mapping[str, Any]


def read_frames(file: Path) -> tuple[list[Frame], list[str]]:
    """The frames of a transforms file, in its order, and the listed names of those whose pictures are missing."""
    document = read_json(file)
    tables = document.get("frames")
    if not isinstance(tables, list) or not tables:
        what = "has no list 'frames'" if not isinstance(tables, list) else "lists no frames"
        raise InputError(f"{file} {what}; each picture needs an entry with file_path and transform_matrix")
    frames, missing = [], []
    for index, table in enumerate(tables):
        listed = table.get("file_path") if isinstance(table, dict) else None
        if not isinstance(listed, str) or not listed:
            raise InputError(f"{file}: frame {index} has no file_path; each frame names its picture")
        where = f"{file}, frame {listed!r}"
        pose = read_pose(where, table.get("transform_matrix"))
        picture = find_picture(file.parent, listed)
        if picture is None:
            missing.append(listed)
            continue
        mask = table.get("mask_path")
        if mask is not None and not isinstance(mask, str):
            raise InputError(f"{where}: mask_path is {mask!r} where a file's name is expected")
        frames.append(
            Frame(
                picture=picture,
                mask=inside(file.parent, mask) if mask else None,
                name=picture.relative_to(file.parent.resolve()).as_posix(),
                listed=listed,
                world_from_camera=pose,
                where=where,
                document=document,
                table=table,
            )
        )
    if not frames:
        raise InputError(
            f"none of the {len(missing)} pictures that {file} lists exist (first: {missing[0]}); file_path is relative "
            "to the folder of that file"
        )
    return frames, missing


def read_pose(where: str, matrix: Any) -> Float[Tensor, "3 4"]:
    """A 4 x 4 (or 3 x 4) camera-to-world matrix with OpenGL axes (y up, z backward), turned to OpenCV axes.

    Raises InputError for anything else and for values that are not finite. Whether the left 3 x 3 part is a rotation is
    examined later, for all formats alike.
    """
    if matrix is None:
        raise InputError(f"{where} has no transform_matrix; a picture without a pose cannot be used")
    rows = matrix if isinstance(matrix, list) else []
    if len(rows) not in (3, 4) or any(not isinstance(row, list) or len(row) != 4 for row in rows):
        raise InputError(f"{where}: transform_matrix is not 4 rows of 4 numbers; correct it")
    try:
        pose = torch.tensor([[float(value) for value in row] for row in rows[:3]])
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: transform_matrix holds something that is not a number; correct it") from None
    if not bool(pose.isfinite().all()):
        raise InputError(f"{where}: transform_matrix holds a value that is not finite; take the frame out")
    return pose * torch.tensor([1.0, -1.0, -1.0, 1.0])


def find_picture(folder: Path, listed: str) -> Path | None:
    """The picture of that name; NeRF-synthetic leaves the extension out. None if there is no such file."""
    for suffix in ("", *SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
        path = inside(folder, listed + suffix)
        if path.is_file():
            return path
    return None


def cameras_of(frames: Sequence[Frame], width: int, height: int) -> Cameras:
    """The cameras of the frames, whose pictures are width x height pixels."""
    optics = [read_optics(frame.where, frame.document, frame.table, width, height) for frame in frames]
    for frame, own in zip(frames, optics):
        if own.lens != optics[0].lens:
            raise InputError(
                f"{frame.where} has a {own.lens} lens but the first frame's is {optics[0].lens}; one data set must be "
                "taken with one kind of lens: split it, or undistort the pictures"
            )
    return Cameras(
        world_from_camera=torch.stack([frame.world_from_camera for frame in frames]),
        intrinsics=torch.tensor([own.intrinsics for own in optics]),
        distortion=torch.tensor([own.distortion for own in optics]),
        width=width,
        height=height,
        lens=optics[0].lens,
    )


def missing_note(missing: Sequence[str], listed: int) -> tuple[str, ...]:
    """The one sentence about all pictures that are listed and not there; nothing if all are."""
    if not missing:
        return ()
    what = "picture is missing and was" if len(missing) == 1 else "pictures are missing and were"
    return (f"{len(missing)} of {listed} listed {what} skipped (first: {missing[0]})",)
