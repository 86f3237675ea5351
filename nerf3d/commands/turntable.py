"""The film around an object that was made of a prompt: the field's colours beside the mesh's normals."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.console import tracked
from nerf3d.core import Cameras, Scene
from nerf3d.core.paths import orbit_around
from nerf3d.export.asset import Asset
from nerf3d.export.film import write_film
from nerf3d.export.pictures import color_picture
from nerf3d.render.mesh import Mesh, moved, render_mesh
from nerf3d.render.picture import render_picture

FRAMES, FPS, SIZE = 60, 20.0, 192


def write_turntable(path: Path, scene: Scene, asset: Asset, size: int = SIZE) -> None:
    """One round in three seconds, in pictures of `size`. Normals are painted as (n + 1) / 2 of the scene's axes; those of
    the density itself are noisier, and took twice as long as the colours.
    """
    around = circle(scene, FRAMES, size)
    shape = in_world(asset)

    def frames() -> Iterator[Tensor]:
        for i in tracked(range(FRAMES), "turntable", FRAMES):
            seen, normals = render_picture(scene, around, i), render_mesh(shape, around, i, torch.zeros(3))
            yield torch.cat([color_picture(seen.color), color_picture(normals.color)], 1)

    write_film(path, frames(), FPS)


def circle(scene: Scene, frames: int, size: int) -> Cameras:
    """Cameras around a scene, evenly spaced, with square pictures."""
    small = scene.cameras.scaled_to(size, size)
    poses = orbit_around(small, scene.up, frames)
    return Cameras(poses, small.intrinsics[:1].expand(frames, 4), torch.zeros(frames, 5), size, size)


def in_world(asset: Asset) -> Mesh:
    """An exported mesh back in its scene, coloured by its normals there."""
    asset_from_world = torch.tensor(json.loads(asset.facts["asset_from_world"]), dtype=torch.float64)
    back = torch.linalg.inv(asset_from_world)[:3].float()
    turn = back[:, :3] / back[:, :3].det().abs() ** (1 / 3)
    mesh = Mesh(asset.vertices, asset.faces, colors=0.5 * (asset.normals @ turn.T) + 0.5)
    return moved(mesh, back)
