"""ShapeNet-SRN's layout (Sitzmann et al. 2019): a folder for each object.

    OBJECT/rgb/*.png        its pictures, on white
    OBJECT/pose/*.txt       for each a camera-to-world matrix with OpenCV axes: 16 numbers, row after row
    OBJECT/intrinsics.txt   f cx cy 0.
                            0. 0. 0.
                            1.
                            height width

Lengths of intrinsics.txt are in pixels of a picture of that height and width, which the pictures need not have.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.collections.cameras import exact_poses, visible_box
from nerf3d.data.collections.collection import Attributes, Collection
from nerf3d.data.collections.pictures import load_resized
from nerf3d.data.pictures import list_pictures
from nerf3d.errors import InputError

INTRINSICS = "intrinsics.txt"


def srn_objects(folder: Path) -> list[Path]:
    """The objects' folders in a folder, or in the only folder that it holds; none where the layout is another."""
    for place in (folder, *_only_folder(folder)):
        found = sorted(path.parent for path in place.glob(f"*/{INTRINSICS}"))
        if found:
            return found
    return []


def _only_folder(folder: Path) -> list[Path]:
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return folders if len(folders) == 1 else []


def read_srn(folder: Path, size: int | None = None) -> Collection:
    """The collection of all objects in a folder, its pictures `size` pixels wide (None: as they are).

    Raises InputError for objects without pictures or poses and for whatever in them is not as it should be.
    """
    objects = srn_objects(folder)
    if not objects:
        raise InputError(f"{folder} holds no folders with an {INTRINSICS}; give the folder of the objects' folders")
    paths: list[Path] = []
    poses: list[Tensor] = []
    lenses: list[Tensor] = []
    scene: list[int] = []
    for number, place in enumerate(objects):
        pictures = list_pictures(place / "rgb")
        if not pictures:
            raise InputError(f"{place / 'rgb'} holds no pictures; restore them or take the object out")
        files = [place / "pose" / f"{picture.stem}.txt" for picture in pictures]
        poses.append(exact_poses(torch.stack([_pose(file) for file in files]), [str(file) for file in files]))
        lenses.append(_relative_intrinsics(place / INTRINSICS).expand(len(pictures), 4))
        scene += [number] * len(pictures)
        paths += pictures
    if len(paths) < 2:
        raise InputError(f"{folder} holds one picture, which is no collection; add pictures")
    pixels = load_resized(paths, size)
    height, width = pixels.shape[1:3]
    intrinsics = torch.cat(lenses) * torch.tensor([width, height, width, height])
    cameras = Cameras(torch.cat(poses), intrinsics, torch.zeros(len(paths), 5), width, height)
    has_alpha = bool((pixels[..., 3] < 255).any())
    count = len(objects)
    return Collection(
        pictures=pixels,
        cameras=cameras,
        scene=torch.tensor(scene),
        captions=("",) * count,
        box=visible_box(cameras, has_alpha),
        has_alpha=has_alpha,
        attributes=Attributes.unknown(count),
    )


def _numbers(file: Path) -> list[list[float]]:
    """The numbers of every line that has any."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [[float(word) for word in line.split()] for line in lines if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; restore it or take its picture out") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as numbers ({error}); restore it") from None


def _pose(file: Path) -> Float[Tensor, "4 4"]:
    numbers = [value for line in _numbers(file) for value in line]
    if len(numbers) != 16:
        raise InputError(f"{file} holds {len(numbers)} numbers where a pose has 16; restore it")
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4).float()


def _relative_intrinsics(file: Path) -> Float[Tensor, "4"]:
    """fx, fy, cx, cy in units of the picture's width and height."""
    lines = _numbers(file)
    if len(lines) < 2 or len(lines[0]) not in (3, 4) or len(lines[-1]) != 2:
        raise InputError(f"{file} does not begin with 'f cx cy 0.' and end with 'height width'; restore it")
    (f, cx, cy), (h, w) = lines[0][:3], lines[-1]
    if not (f > 0 and h > 0 and w > 0 and 0 <= cx <= w and 0 <= cy <= h):
        raise InputError(
            f"{file} says f = {f:g}, cx = {cx:g}, cy = {cy:g} in {w:g} x {h:g} pixels: no camera; restore it"
        )
    return torch.tensor([f / w, f / h, cx / w, cy / h])
