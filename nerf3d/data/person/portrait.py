"""Pictures of the person with their mattes: traced once a pixel, and four times where something ends."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.data.person import paint
from nerf3d.data.person.trace import NEAR, Scene, trace

DISTANCE, HEIGHT = 3.1, -0.1
FOCAL = 2.5
"""Of the camera, in heights of the picture: that of portrait clips."""
FINE = 2
"""Rays along each side of a pixel where something ends."""
EDGE = 0.08
"""A pixel whose colour or matte differs from its neighbour's by more than this is looked at again."""
HEAD_PARTS = 5


@dataclass(frozen=True)
class Portrait:
    """A picture and the shares of its pixels that the head covers, and that head or torso cover."""

    picture: Float[Tensor, "h w 3"]
    head_matte: Float[Tensor, "h w"]
    person_matte: Float[Tensor, "h w"]


def camera(size: int) -> Cameras:
    """The one camera, which never moves: in front, at the height of the cheeks."""
    eye, target = torch.tensor([0.0, -DISTANCE, HEIGHT]), torch.tensor([0.0, 0.0, HEIGHT])
    pose = look_at(eye, target, torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.pinhole(pose[None], FOCAL * size, size, size)


def portrait(scene: Scene, camera: Cameras) -> Portrait:
    """What the first of the cameras sees."""
    height, width = camera.height, camera.width
    pixel = _pixels(camera)
    first, depth = _seen(scene, camera, pixel, None)
    picture = first.reshape(height, width, 5)
    # Nothing around a pixel is nearer than what its neighbours met, but for a margin.
    nearest = -F.max_pool2d(-depth.reshape(1, 1, height, width), 3, 1, 1)
    again = torch.nonzero(_ends(picture).reshape(-1))[:, 0]
    offset = (torch.arange(FINE) + 0.5) / FINE - 0.5
    fine = (pixel[again][:, None] + torch.cartesian_prod(offset, offset)).reshape(-1, 2)
    start = (nearest.reshape(-1)[again] - 0.04).clamp_min(NEAR).repeat_interleave(FINE**2)
    second, _ = _seen(scene, camera, fine, start)
    picture.reshape(-1, 5)[again] = second.reshape(-1, FINE**2, 5).mean(1)
    return Portrait(picture[..., :3], picture[..., 3], picture[..., 4])


def _seen(
    scene: Scene, camera: Cameras, pixel: Float[Tensor, "n 2"], start: Float[Tensor, "n"] | None
) -> tuple[Float[Tensor, "n 5"], Float[Tensor, "n"]]:
    """Colour, head matte and person matte, and the distance, through places in the picture."""
    rays = camera.rays_at(torch.zeros(len(pixel), dtype=torch.int64), pixel)
    surface = trace(scene, rays, start)
    color = _backdrop(pixel, camera)
    on = torch.nonzero(surface.part >= 0)[:, 0]
    part, look = surface.part[on], rays.direction[on]
    own = paint.own_color(scene, rays.origin[on] + surface.depth[on, None] * look, part)
    color[on] = paint.lit(own, surface.normal[on], look, surface.openness[on], paint.gloss(part))
    head = (surface.part >= 0) & (surface.part < HEAD_PARTS)
    return torch.cat([color, torch.stack([head, surface.part >= 0], -1).float()], -1), surface.depth


def _pixels(camera: Cameras) -> Float[Tensor, "n 2"]:
    y, x = torch.meshgrid(torch.arange(camera.height), torch.arange(camera.width), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2) + 0.5


def _backdrop(pixel: Float[Tensor, "n 2"], camera: Cameras) -> Float[Tensor, "n 3"]:
    """A wall with a soft light on it."""
    where = pixel / pixel.new_tensor([camera.width, camera.height]) - pixel.new_tensor([0.42, 0.38])
    share = (2.2 * where.square().sum(-1)).clamp(0, 1)[:, None]
    bright, dark = (pixel.new_tensor(color) for color in paint.BACKDROP)
    return bright + share * (dark - bright)


def _ends(picture: Float[Tensor, "h w c"]) -> Bool[Tensor, "h w"]:
    """Which pixels differ from one of their four neighbours."""
    found = torch.zeros(picture.shape[:2], dtype=torch.bool)
    across = (picture[:, 1:] - picture[:, :-1]).abs().amax(-1) > EDGE
    down = (picture[1:] - picture[:-1]).abs().amax(-1) > EDGE
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found
