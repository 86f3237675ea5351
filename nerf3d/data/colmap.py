"""Captures that COLMAP has posed: a sparse model beside a folder of pictures.

The world keeps the model's own frame and scale.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import Lens
from nerf3d.data.assembly import assemble
from nerf3d.data.capture import Capture
from nerf3d.data.colmap_model import ModelCamera, ModelImage, SparseModel, count_images, is_model, read_model
from nerf3d.data.files import inside
from nerf3d.data.frames import missing_note
from nerf3d.data.pictures import common_size
from nerf3d.errors import InputError

# Reduced pictures serve where the full ones are missing.
PICTURE_FOLDERS = ("images", ".", "images_2", "images_4", "images_8")

# The models that are special cases of ours: the order of their parameters is focal lengths, cx, cy, distortion.
ONE_FOCAL_LENGTH = {
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "SIMPLE_FISHEYE",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
}
TWO_FOCAL_LENGTHS = {"PINHOLE", "OPENCV", "FULL_OPENCV", "FISHEYE", "OPENCV_FISHEYE"}


def load_colmap(folder: Path) -> Capture:
    """Read a folder with a COLMAP model (in sparse/0, sparse, colmap/sparse/0 or the folder itself) and its pictures.

    The pictures lie in images/ or in the folder itself, else in images_2, images_4 or images_8; intrinsics follow the
    size that they really have. A folder masks/ with `NAME.png` or `NAME` for a picture NAME (white: use) is optional.
    Pictures that are missing are skipped. Every eighth picture is held out. Raises InputError where there is no model,
    where it is damaged, empty or of a lens that is not supported, and where no pictures are found.
    """
    place, notes = find_model(folder)
    return capture_from_model(folder, read_model(place), place, notes)


def model_folders(folder: Path) -> list[Path]:
    """The sparse models of a data set, from the first of the usual places that holds any; COLMAP numbers several."""
    for parent in (folder / "sparse", folder / "colmap" / "sparse", folder):
        if parent.is_dir():
            numbered = sorted(p for p in parent.iterdir() if p.name.isdecimal() and is_model(p))
            if numbered or is_model(parent):
                return numbered or [parent]
    return []


def find_model(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of the sparse model, and a note if there were several: then the one with the most pictures."""
    models = model_folders(folder)
    if not models:
        raise InputError(
            f"{folder} holds no COLMAP model; put cameras, images and points3D into {folder / 'sparse' / '0'}"
        )
    if len(models) == 1:
        return models[0], ()
    counts = [count_images(model) for model in models]
    best = counts.index(max(counts))
    others = ", ".join(str(count) for i, count in enumerate(counts) if i != best)
    return models[best], (
        f"of {len(models)} COLMAP models the largest is used: {models[best].relative_to(folder)} with {counts[best]} "
        f"pictures (the others have {others})",
    )


def capture_from_model(folder: Path, model: SparseModel, source: Path, notes: Sequence[str] = ()) -> Capture:
    """The pictures of `folder` with the poses of a model that was read from `source` (for messages only)."""
    if not model.images:
        raise InputError(f"{source}: no image is registered in this COLMAP model; run the reconstruction again")
    root = _picture_folder(folder, model)
    found = [image for image in model.images if inside(root, image.name).is_file()]
    missing = [image.name for image in model.images if not inside(root, image.name).is_file()]
    pictures = [inside(root, image.name) for image in found]
    return assemble(
        names=[image.name for image in found],
        pictures=pictures,
        cameras=_cameras(source, model, found, *common_size(pictures)),
        masks=_masks(folder / "masks", [image.name for image in found]),
        points=torch.from_numpy(model.points).float() if len(model.points) else None,
        notes=(*notes, *missing_note(missing, len(model.images))),
    )


def _picture_folder(folder: Path, model: SparseModel) -> Path:
    """The first of the usual folders that holds any of the model's pictures."""
    for name in PICTURE_FOLDERS:
        root = folder / name
        if root.is_dir() and any(inside(root, image.name).is_file() for image in model.images):
            return root
    raise InputError(
        f"{folder}: none of the {len(model.images)} pictures of the COLMAP model (first: {model.images[0].name}) is in "
        f"{folder / 'images'}; put them there under the names that the model gives them"
    )


def _masks(folder: Path, names: Sequence[str]) -> list[Path | None] | None:
    """Each picture's mask, where there is one; None where there is none at all."""
    if not folder.is_dir():
        return None
    candidates = [(inside(folder, name + ".png"), inside(folder, name)) for name in names]
    masks = [next((path for path in pair if path.is_file()), None) for pair in candidates]
    return masks if any(masks) else None


def _cameras(source: Path, model: SparseModel, images: Sequence[ModelImage], width: int, height: int) -> Cameras:
    """The images' cameras, for pictures of width x height pixels."""
    intrinsics, distortions, lenses = [], [], set()
    for image in images:
        camera = model.cameras[image.camera]
        across, down = width / camera.width, height / camera.height
        if abs(across * camera.height - height) > max(1.0, 0.01 * height):
            raise InputError(
                f"{source}: {image.name} is {width} x {height} pixels but its camera's pictures are {camera.width} x "
                f"{camera.height}, another shape; use the pictures that the model was made from, resized at most"
            )
        (fx, fy, cx, cy), distortion, lens = optics(source, camera)
        intrinsics.append([fx * across, fy * down, cx * across, cy * down])
        distortions.append(distortion)
        lenses.add(lens)
    if len(lenses) > 1:
        raise InputError(
            f"{source}: the COLMAP model has both pinhole and fisheye cameras; undistort the pictures with COLMAP's "
            "image_undistorter, or take one kind out"
        )
    poses = torch.stack([torch.from_numpy(image.world_from_camera) for image in images]).float()
    return Cameras(poses, torch.tensor(intrinsics), torch.tensor(distortions), width, height, lenses.pop())


def optics(
    source: Path, camera: ModelCamera
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float, float], Lens]:
    """(fx, fy, cx, cy), the distortion as `Cameras` has it, and the kind of lens, of any of COLMAP's models that fit.

    >>> optics(Path("a"), ModelCamera("SIMPLE_RADIAL", 64, 48, (50.0, 32.0, 24.0, 0.1)))
    ((50.0, 50.0, 32.0, 24.0), (0.1, 0.0, 0.0, 0.0, 0.0), 'pinhole')
    """
    p = camera.parameters
    k: Sequence[float]
    if camera.model in ONE_FOCAL_LENGTH:
        fx, cx, cy, *k = p
        fy = fx
    elif camera.model in TWO_FOCAL_LENGTHS and not any(p[9:]):  # FULL_OPENCV's k4 to k6
        fx, fy, cx, cy, *k = p
    else:
        name = camera.model + (" with k4 to k6" if camera.model in TWO_FOCAL_LENGTHS else "")
        raise InputError(
            f"{source}: the camera model {name} is not supported; undistort the pictures with COLMAP's "
            "image_undistorter, or run the reconstruction with OPENCV or OPENCV_FISHEYE"
        )
    if min(fx, fy) <= 0:
        raise InputError(f"{source}: a camera's focal length is {min(fx, fy):g}; run the reconstruction again")
    k1, k2, k3, k4, k5 = (*k, 0.0, 0.0, 0.0, 0.0, 0.0)[:5]
    return (fx, fy, cx, cy), (k1, k2, k3, k4, k5), "fisheye" if "FISHEYE" in camera.model else "pinhole"
