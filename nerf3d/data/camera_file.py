"""Camera paths from files: what the film's cameras do, written by another program."""

import math
from pathlib import Path
from typing import Any

import torch

from nerf3d.core import Cameras
from nerf3d.data.files import read_json
from nerf3d.data.frames import read_pose
from nerf3d.data.lens import number
from nerf3d.errors import InputError


def load_camera_path(path: Path, like: Cameras) -> Cameras:
    """Cameras from a JSON file, one per frame of the film.

    Either a transforms file ("frames" with "transform_matrix", OpenGL axes as everywhere in such files; one focal length
    from "fl_x" or "camera_angle_x", and "w" and "h"), or a camera path of nerfstudio's viewer ("camera_path" with
    "camera_to_world" and "fov"). What the file leaves out is taken from `like`. A film has no lens distortion.
    """
    if not path.is_file():
        raise InputError(f"there is no camera path {path}; give a JSON file, or orbit, spiral or inputs")
    data = read_json(path)
    if isinstance(data.get("camera_path"), list) and data["camera_path"]:
        return _nerfstudio(path, data, like)
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f'{path} holds no "frames" and no "camera_path"; it needs one of them, a list of cameras')
    where = str(path)
    poses = torch.stack([read_pose(f"{path}, frame {i}", f.get("transform_matrix")) for i, f in enumerate(frames)])
    width, height = _size(path, data.get("w"), data.get("h"), like)
    focal = number(where, data, "fl_x")
    angle = number(where, data, "camera_angle_x")
    if focal is None and angle is not None:
        focal = _focal(where, "camera_angle_x", angle, width)
    if focal is None:
        focal = float(like.intrinsics[:, 0].median()) * width / like.width
    return _checked(path, Cameras.pinhole(poses, focal, width, height))


def _nerfstudio(path: Path, data: dict[str, Any], like: Cameras) -> Cameras:
    width, height = _size(path, data.get("render_width"), data.get("render_height"), like)
    poses, intrinsics = [], []
    for i, camera in enumerate(data["camera_path"]):
        flat = camera.get("camera_to_world") if isinstance(camera, dict) else None
        if not isinstance(flat, list) or len(flat) != 16:
            raise InputError(f'{path}: camera {i} has no "camera_to_world" of 16 numbers; export the path again')
        poses.append(read_pose(f"{path}, camera {i}", [flat[row : row + 4] for row in range(0, 16, 4)]))
        degrees = number(f"{path}, camera {i}", camera, "fov")
        angle = math.radians(50.0 if degrees is None else degrees)  # 50 is what that viewer begins with
        focal = _focal(f"{path}, camera {i}", "fov", angle, height)
        intrinsics.append(torch.tensor([focal, focal, width / 2, height / 2]))
    count = len(poses)
    return _checked(path, Cameras(torch.stack(poses), torch.stack(intrinsics), torch.zeros(count, 5), width, height))


def _focal(where: str, key: str, angle: float, side: int) -> float:
    """In pixels, from the angle (in radians) that a side of so many pixels spans."""
    if not 0 < angle < math.pi:
        raise InputError(
            f"{where}: {key} is {math.degrees(angle):g} degrees, and more than 0, less than 180 can be seen"
        )
    return 0.5 * side / math.tan(0.5 * angle)


def _size(path: Path, width: object, height: object, like: Cameras) -> tuple[int, int]:
    if width is None or height is None:
        return like.width, like.height
    try:
        size = int(float(str(width))), int(float(str(height)))
    except (ValueError, OverflowError):
        size = (0, 0)
    if not all(0 < side <= 16384 for side in size):
        raise InputError(f"{path}: a film cannot be {width} x {height} pixels large; correct it")
    return size


def _checked(path: Path, cameras: Cameras) -> Cameras:
    focal = cameras.intrinsics[:, :2]
    determinant = torch.linalg.det(cameras.world_from_camera[:, :, :3])
    if not bool((focal > 0).all() and focal.isfinite().all()):
        raise InputError(f"{path}: a focal length is not a positive number; correct it")
    good = (determinant - 1).abs() < 1e-2
    if not bool(good.all()):
        first = int((~good).nonzero()[0])
        raise InputError(f"{path}: the matrix of frame {first} is not a rotation and a position; correct it")
    return cameras
