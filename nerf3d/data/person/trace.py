"""What a ray meets: the compiled shape (`shape_numba`) in tensors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Rays
from nerf3d.data.person.anatomy import Expression, features

NEAR = 1.9
"""Nothing of the person is nearer to the camera than this."""


@dataclass(frozen=True)
class Scene:
    """A person in a pose. world_from_head and world_from_torso are rotations and origins."""

    face: Expression
    world_from_head: Float[Tensor, "3 4"]
    world_from_torso: Float[Tensor, "3 4"]


@dataclass(frozen=True)
class Surface:
    """What each ray meets first: its part (-1 for nothing; see `shape_numba`), distance (9 for nothing), unit normal, and
    how free of neighbours the place is, 0..1.
    """

    part: Int64[Tensor, "n"]
    depth: Float[Tensor, "n"]
    normal: Float[Tensor, "n 3"]
    openness: Float[Tensor, "n"]


def trace(scene: Scene, rays: Rays, start: Float[Tensor, "n"] | None = None) -> Surface:
    """Rays of one camera, all from one origin; `start` are distances before which there is nothing."""
    from nerf3d.data.person import shape_numba

    count = len(rays)
    begin = torch.full((count,), NEAR) if start is None else start.float()
    part = torch.empty(count, dtype=torch.int64)
    depth, normal, openness = torch.empty(count), torch.zeros(count, 3), torch.ones(count)
    shape_numba.trace(
        rays.origin[0].double().numpy(),
        rays.direction.float().contiguous().numpy(),
        begin.contiguous().numpy(),
        features(scene.face),
        scene.world_from_head.double().contiguous().numpy(),
        scene.world_from_torso.double().contiguous().numpy(),
        *(tensor.numpy() for tensor in (part, depth, normal, openness)),
    )
    return Surface(part, depth, normal, openness)


def marks(face: Expression, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """How far points in the head's frame are from the lips, from the slit between the lids, and from the mouth's opening;
    negative inside.
    """
    from nerf3d.data.person import shape_numba

    found = torch.empty(len(points), 3)
    shape_numba.marks(points.float().contiguous().numpy(), features(face), found.numpy())
    return found


def local(x: Float[Tensor, "n 3"], pose: Float[Tensor, "3 4"]) -> Float[Tensor, "n 3"]:
    """Points of the world in the frame whose world_from_frame is `pose`."""
    return (x - pose[:, 3]) @ pose[:, :3]


def placed(x: Float[Tensor, "n 3"], pose: Float[Tensor, "3 4"]) -> Float[Tensor, "n 3"]:
    """And back."""
    return x @ pose[:, :3].T + pose[:, 3]
