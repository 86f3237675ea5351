"""Whether two pictures show one object: what one view sees at a place has to look the same from the other (reprojection).

A generator that paints every view anew gives fine single pictures, and fails here. Appearance that truly depends on the view
(gloss, a light that moves with the camera) counts as error as well: compare with the same figure of true objects.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from nerf3d.core import Cameras
from nerf3d.errors import InputError


@dataclass(frozen=True)
class Reprojection:
    """`color_error` is the mean absolute difference over the pixels compared and their channels; None where there are none.

    `share` is how many of the first view's pixels with a depth were compared: the others are hidden in the second view,
    outside of it, or the two depths contradict each other. A low share says as much as a large error.
    """

    color_error: float | None
    share: float


@torch.no_grad()
def reprojection_error(
    color_a: Float[Tensor, "h w 3"],
    depth_a: Float[Tensor, "h w"],
    color_b: Float[Tensor, "h w 3"],
    depth_b: Float[Tensor, "h w"],
    cameras: Cameras,
    i: int,
    j: int,
    tolerance: float = 0.02,
) -> Reprojection:
    """Lift every pixel of camera i's picture to its depth, see where camera j has it, and compare the colors there.

    Depths are distances along the rays, in world units, and 0 (or not finite) where there is nothing; set them to 0 where
    the opacity is small. The second picture is read between its pixels (bilinear). A point counts as seen where the second
    depth differs from the point's distance to camera j by at most `tolerance` of that distance.

    Raises InputError for pictures of another size than the cameras', cameras that do not exist, and where camera i sees
    nothing.

    >>> pose = torch.eye(3, 4)[None]  # two cameras in the origin: a pixel is found where it was
    >>> cameras = Cameras.pinhole(pose.repeat(2, 1, 1), 8.0, 8, 8)
    >>> grey, far = torch.full((8, 8, 3), 0.5), torch.full((8, 8), 2.0)
    >>> reprojection_error(grey, far, grey + 0.25, far, cameras, 0, 1)
    Reprojection(color_error=0.25, share=1.0)
    """
    if color_a.shape[:2] != (cameras.height, cameras.width):
        size = f"{color_a.shape[1]} x {color_a.shape[0]}"
        raise InputError(
            f"The pictures are {size} and the cameras' {cameras.width} x {cameras.height}: scale the cameras to fit."
        )
    if not (0 <= i < len(cameras) and 0 <= j < len(cameras)):
        raise InputError(f"Views {i} and {j} are asked for, and there are {len(cameras)} cameras, from 0.")
    known = _known(depth_a).flatten()
    if not bool(known.any()):
        raise InputError(
            f"View {i} has no depth anywhere, so there is nothing to compare: choose a view with an object."
        )
    rays = cameras.rays(i)[known]
    x = rays.at(depth_a.flatten()[known].to(rays.direction.dtype))
    pixel, z = cameras.project(torch.full((len(x),), j, dtype=torch.int64, device=x.device), x)
    place = pixel / torch.tensor([cameras.width, cameras.height], dtype=pixel.dtype, device=pixel.device)
    within = ((place >= 0) & (place <= 1)).all(1) & ((z > 0) | (cameras.lens == "fisheye"))
    there = torch.where(_known(depth_b), depth_b, 0.0)  # beside nothing the mixture is too near, and left out
    read = _between(torch.cat([color_b, there[..., None]], -1).to(place.dtype), place[within])
    distance = (x[within] - cameras.center[j]).norm(dim=-1)
    seen = (read[:, 3] - distance).abs() <= tolerance * distance
    if not bool(seen.any()):
        return Reprojection(None, 0.0)
    difference = (read[:, :3] - color_a.flatten(0, 1)[known][within])[seen].abs()
    return Reprojection(float(difference.double().mean()), int(seen.sum()) / int(known.sum()))


def _known(depth: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    return depth.isfinite() & (depth > 0)


def _between(picture: Float[Tensor, "h w c"], place: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """The picture at places (x, y) in [0, 1] from border to border; beyond the outermost pixels' centres it is constant."""
    grid = 2 * place[None, :, None] - 1
    read = F.grid_sample(picture.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False)
    return read[0, :, :, 0].T
