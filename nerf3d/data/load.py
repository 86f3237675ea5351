"""One door for every format: what lies in the folder decides."""

from dataclasses import replace
from pathlib import Path

from nerf3d.data.capture import Capture
from nerf3d.data.check import check
from nerf3d.data.colmap import model_folders
from nerf3d.data.pictures import list_pictures
from nerf3d.errors import InputError

ENOUGH_POINTS = 2000
"""Points of structure from motion that are kept, evenly; they only say roughly where things are."""


def load_capture(folder: Path) -> Capture:
    """The photographs and cameras of a data set, examined and ready to be learnt from.

    In this order: NeRF-synthetic (transforms_train.json), instant-ngp and nerfstudio (transforms.json), LLFF
    (poses_bounds.npy), a COLMAP sparse model, and at last a bare folder of three or more photographs, in it or in its
    images/, whose poses are then computed. Raises InputError for anything else and for all that `check` refuses.
    """
    if not folder.exists():
        raise InputError(f"there is no folder {folder}; check the path")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds the data set")
    capture = check(_load(folder))
    if capture.points is not None:
        capture = replace(capture, points=capture.points[:: max(len(capture.points) // ENOUGH_POINTS, 1)].contiguous())
    return capture


def _load(folder: Path) -> Capture:
    if (folder / "transforms_train.json").is_file():
        from nerf3d.data.transforms import load_blender

        return load_blender(folder)
    if (folder / "transforms.json").is_file():
        from nerf3d.data.transforms import load_transforms

        return load_transforms(folder)
    if (folder / "poses_bounds.npy").is_file():
        from nerf3d.data.llff import load_llff

        return load_llff(folder)
    if model_folders(folder):
        from nerf3d.data.colmap import load_colmap

        return load_colmap(folder)
    count = max(len(list_pictures(folder)), len(list_pictures(folder / "images")))
    if count >= 3:
        from nerf3d.data.poses import load_photographs

        return load_photographs(folder)
    if count:
        raise InputError(f"{folder} holds no poses and only {count} photographs; at least 3 are needed: add some")
    raise InputError(
        f"{folder} holds no data set: no transforms_train.json, transforms.json or poses_bounds.npy, no COLMAP model "
        "(cameras.bin or cameras.txt in it, in sparse/0, sparse or colmap/sparse/0), no photographs in it or in "
        "images/; check the path"
    )
