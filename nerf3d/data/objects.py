"""Where an object in front of nothing lies: the box that its field fills."""

import torch

from nerf3d.core import Box, Cameras, Rays
from nerf3d.core.paths import focus_point

HALF = 1.5
"""Half the side of the cube about the origin that is customary for NeRF-synthetic, whose cameras are 4 units away."""


def object_box(cameras: Cameras) -> tuple[Box, tuple[str, ...]]:
    """The customary cube where the cameras suit it, else one about the point that they look at; and notes on that.

    They suit it if their median distance from the origin is 2 to 8 units, if all are outside of the cube, and if all
    optical axes meet it. The other cube keeps the customary proportion: its half side is 3/8 (1.5 / 4) of the median
    distance.
    """
    box = Box.cube(HALF)
    center = cameras.center
    distance = float(center.norm(dim=-1).median())
    start = torch.zeros(len(cameras))
    enter, leave = box.clip(Rays(center, cameras.forward, start, torch.full_like(start, torch.inf)))
    if 2.0 <= distance <= 8.0 and not bool(box.contains(center).any()) and bool((enter < leave).all()):
        return box, ()
    target = focus_point(cameras)
    half = HALF / 4 * float((center - target).norm(dim=-1).median())
    x, y, z = target.tolist()
    note = (
        f"the cameras do not stand about the origin as in NeRF-synthetic, so the object is taken to be in the cube of "
        f"half side {half:.3g} about ({x:.3g}, {y:.3g}, {z:.3g}), where they look"
    )
    return Box.cube(half, (x, y, z)), (note,)
