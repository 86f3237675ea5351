"""LLFF's captures: a folder of pictures and `poses_bounds.npy`, 17 numbers for every picture in the order of names.

They are a 3 x 5 matrix, row by row, and the nearest and farthest depth of the picture's content. The columns of the
matrix are the camera's down, right and backwards in the world, its centre, and (height, width, focal length) in
pixels of the full pictures. (See https://github.com/Fyusion/LLFF, "Using your own poses without running COLMAP".)
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.assembly import assemble
from nerf3d.data.capture import Capture
from nerf3d.data.pictures import common_size, list_pictures
from nerf3d.errors import InputError

FILE = "poses_bounds.npy"
PICTURE_FOLDERS = ("images", "images_4", "images_8")


def load_llff(folder: Path) -> Capture:
    """Read a folder with `poses_bounds.npy` and images/ (else images_4 or images_8), in the world of the file.

    The focal length follows the size of the pictures, the principal point is their middle; the depth bounds become a
    point at either end of what every camera sees along its axis. Every eighth picture is held out. Raises InputError
    for a file of another shape, for values that are no poses, and where the numbers of poses and pictures differ.
    """
    pictures = next((found for name in PICTURE_FOLDERS if (found := list_pictures(folder / name))), [])
    if not pictures:
        raise InputError(f"{folder} has {FILE} but no pictures in {', '.join(PICTURE_FOLDERS)}; put them into images")
    matrix, bounds = _read(folder / FILE)
    if len(matrix) != len(pictures):
        raise InputError(
            f"{folder / FILE} holds {len(matrix)} poses but {pictures[0].parent} has {len(pictures)} pictures; they "
            "must be the same pictures"
        )
    width, height = common_size(pictures)
    down, right, backwards, center, size = np.moveaxis(matrix, 2, 0)
    poses = torch.from_numpy(np.stack([right, down, -backwards, center], -1)).float()
    full_height, full_width, focal = size.T
    if (np.abs(full_height * width / full_width - height) > max(1.0, 0.01 * height)).any():
        raise InputError(
            f"{folder / FILE} is for pictures of {full_width[0]:g} x {full_height[0]:g} pixels but {pictures[0]} is "
            f"{width} x {height}, another shape; use those pictures, resized at most"
        )
    middle = np.ones(len(matrix))
    intrinsics = [focal * width / full_width, focal * height / full_height, middle * width / 2, middle * height / 2]
    return assemble(
        names=[picture.name for picture in pictures],
        pictures=pictures,
        cameras=Cameras(
            poses, torch.from_numpy(np.stack(intrinsics, -1)).float(), torch.zeros(len(matrix), 5), width, height
        ),
        points=(poses[:, None, :, 3] + bounds[:, :, None] * poses[:, None, :, 2]).reshape(-1, 3),
    )


def _read(path: Path) -> tuple[np.ndarray, Float[Tensor, "n 2"]]:
    """The poses, (n, 3, 5) in double precision, examined, and the depths between which each picture sees something."""
    try:
        # Mapped, not read: a false shape in the header cannot ask for memory, and pickled objects are refused.
        rows = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises almost anything on a broken file
        what = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as an array ({what}); copy or make it again") from None
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        raise InputError(
            f"{path} is {rows.dtype} of shape {rows.shape}; LLFF's file has 17 real numbers for every picture"
        )
    matrix = np.array(rows[:, :15], np.float64).reshape(-1, 3, 5)
    if not np.isfinite(matrix).all() or (matrix[:, :, 4] <= 0).any():
        raise InputError(f"{path} has values that are not finite, or sizes that are not above 0; make it again")
    bounds = torch.from_numpy(np.array(rows[:, 15:], np.float32))
    return matrix, bounds.nan_to_num(0.0, 0.0, 0.0)
