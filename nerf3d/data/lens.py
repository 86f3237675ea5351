"""What a transforms file says about the lens: focal length, principal point, distortion.

Numbers are found in a frame first, then in the file's outermost object, so that a file may state them once or for
every frame. They may be written as strings. Lengths are in pixels of a picture of `w` x `h`, angles in radians.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nerf3d.core.cameras import Lens
from nerf3d.errors import InputError

PINHOLE = {"PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE"}
FISHEYE = {"OPENCV_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"}


@dataclass(frozen=True)
class Optics:
    """One picture's fx, fy, cx, cy in its own pixels, its distortion as `Cameras` has it, and the kind of lens."""

    intrinsics: tuple[float, float, float, float]
    distortion: tuple[float, float, float, float, float]
    lens: Lens


def number(where: str, table: Mapping[str, Any], key: str) -> float | None:
    """A finite number, also one that is written as a string; None where the key is absent or null."""
    value = table.get(key)
    if value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {key!r} is {value!r}, which is not a number; correct it") from None
    if not math.isfinite(result):
        raise InputError(f"{where}: {key!r} is {result}, which is not finite; correct it")
    return result


def read_optics(where: str, document: Mapping[str, Any], frame: Mapping[str, Any], width: int, height: int) -> Optics:
    """The optics of a picture of width x height pixels; `where` names file and frame in errors.

    Where the file speaks of another size (`w`, `h`) of the same shape, its numbers are scaled to the picture's.

    >>> optics = read_optics("a.json", {"fl_x": 100, "w": 80, "h": 60}, {}, 40, 30)
    >>> optics.intrinsics
    (50.0, 50.0, 20.0, 15.0)
    """
    both = {**document, **{key: value for key, value in frame.items() if value is not None}}
    w, h = number(where, both, "w") or float(width), number(where, both, "h") or float(height)
    across, down = width / w, height / h
    if w < 0 or h < 0 or abs(across * h - height) > max(1.0, 0.01 * height):
        raise InputError(
            f"{where}: the intrinsics are for pictures of {w:g} x {h:g} pixels but the picture is {width} x {height}, "
            "another shape; use the pictures that the poses were made from, or those resized without cropping"
        )
    fx, fy = _focal_lengths(where, frame, w, h) or _focal_lengths(where, document, w, h) or (None, None)
    if fx is None or fy is None:
        raise InputError(f"{where} gives no focal length; add fl_x (in pixels) or camera_angle_x (in radians)")
    cx, cy = number(where, both, "cx"), number(where, both, "cy")
    lens = _lens(where, both)
    last = ("k3", "k4") if lens == "fisheye" else ("p1", "p2", "k3")
    k = [number(where, both, key) or 0.0 for key in ("k1", "k2", *last)]
    if lens == "pinhole" and any(number(where, both, key) for key in ("k4", "k5", "k6")):
        raise InputError(f"{where} has a lens with k4 to k6, which is not supported; undistort the pictures first")
    return Optics(
        intrinsics=(
            fx * across,
            fy * down,
            width / 2 if cx is None else cx * across,
            height / 2 if cy is None else cy * down,
        ),
        distortion=(k[0], k[1], k[2], k[3], 0.0 if lens == "fisheye" else k[4]),
        lens=lens,
    )


def _focal_lengths(where: str, table: Mapping[str, Any], w: float, h: float) -> tuple[float, float] | None:
    """(fx, fy): fl_x and fl_y, else by camera_angle_x and _y; one axis stands for both. None if nothing is said."""

    def one(axis: str, size: float) -> float | None:
        length, angle = number(where, table, f"fl_{axis}"), number(where, table, f"camera_angle_{axis}")
        if length is None and angle is not None:
            if not 0 < angle < math.pi:
                raise InputError(f"{where}: camera_angle_{axis} is {angle:g}; an angle of view lies between 0 and pi")
            length = 0.5 * size / math.tan(0.5 * angle)
        if length is not None and length <= 0:
            raise InputError(f"{where}: fl_{axis} is {length:g}; a focal length is above 0 (in pixels)")
        return length

    x, y = one("x", w), one("y", h)
    if x is None and y is None:
        return None
    return (x if x is not None else y, y if y is not None else x)  # type: ignore[return-value]


def _lens(where: str, table: Mapping[str, Any]) -> Lens:
    model = str(table.get("camera_model") or "OPENCV").upper()
    if str(table.get("is_fisheye", False)).lower() in ("true", "1") or model in FISHEYE:
        return "fisheye"
    if model in PINHOLE:
        return "pinhole"
    raise InputError(
        f"{where}: the camera model {model} is not supported; undistort the pictures, or use one of "
        f"{', '.join(sorted(PINHOLE | FISHEYE))}"
    )
