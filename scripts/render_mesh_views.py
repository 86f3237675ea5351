#!/usr/bin/env python
"""Photographs of a known object: a mesh, seen from all around, as a NeRF-synthetic folder whose true shape is known.

    python scripts/render_mesh_views.py spot.obj runs/spot_views --texture spot_texture.png

The object is laid to the origin (its y upwards becomes z), its farthest point at a distance of 1.25, with cameras 4 units
away as in NeRF-synthetic. `truth.ply` in the folder is the mesh in that frame, for comparisons.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import trimesh
from PIL import Image
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize

REACH, DISTANCE, ANGLE = 1.25, 4.0, 0.6911112  # the angle is NeRF-synthetic's field of view
FINER = 3  # samples along each side of a pixel
LIGHT = (0.5, -0.6, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mesh", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--texture", type=Path, help="a picture for the mesh's UV; without it, stripes in space")
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--test", type=int, default=25)
    parser.add_argument("--size", type=int, default=200, help="pixels a side")
    parser.add_argument("--light", type=float, default=0.35, help="the share of the light that comes from one side")
    arguments = parser.parse_args()
    mesh = load(arguments.mesh)
    arguments.out.mkdir(parents=True, exist_ok=True)
    mesh.export(arguments.out / "truth.ply")
    texture = None
    if arguments.texture is not None:
        pixels = np.asarray(Image.open(arguments.texture).convert("RGB"))
        texture = torch.from_numpy(pixels.copy()).float().permute(2, 0, 1)[None] / 255
    for part, count, turn in (("train", arguments.train, 0.0), ("val", 5, 0.5), ("test", arguments.test, 1.0)):
        views = cameras(count, turn, arguments.size)
        (arguments.out / part).mkdir(exist_ok=True)
        frames = []
        for index in range(count):
            picture = render(mesh, texture, views, index, arguments.light)
            Image.fromarray(picture.numpy()).save(arguments.out / part / f"r_{index}.png")
            pose = views.world_from_camera[index].double() * torch.tensor([1.0, -1.0, -1.0, 1.0])  # OpenGL's axes
            matrix = [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
            frames.append({"file_path": f"./{part}/r_{index}", "transform_matrix": matrix})
        document = {"camera_angle_x": ANGLE, "frames": frames}
        (arguments.out / f"transforms_{part}.json").write_text(json.dumps(document, indent=1))
    print(f"{arguments.train} + {arguments.test} views of {len(mesh.faces)} triangles in {arguments.out}")


def load(path: Path) -> trimesh.Trimesh:
    mesh = trimesh.load(path, force="mesh", process=False)
    corners = np.asarray(mesh.vertices)
    corners = corners - 0.5 * (corners.min(0) + corners.max(0))
    corners = corners * (REACH / np.linalg.norm(corners, axis=1).max())
    mesh.vertices = corners[:, [0, 2, 1]] * [1.0, -1.0, 1.0]
    return mesh


def cameras(count: int, turn: float, size: int) -> Cameras:
    """On a spiral over nearly all of a sphere, evenly."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z = 0.95 * (1 - 2 * i / count)
    angle = math.pi * (3 - math.sqrt(5)) * i + turn
    flat = (1 - z * z).sqrt()
    eye = DISTANCE * torch.stack([flat * angle.cos(), flat * angle.sin(), z], -1).float()
    poses = look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.pinhole(poses, 0.5 * size / math.tan(0.5 * ANGLE), size, size)


def render(mesh: trimesh.Trimesh, texture: Tensor | None, views: Cameras, index: int, light: float) -> Tensor:
    """(h w 4) uint8 with straight alpha: the mean over FINER^2 samples a pixel."""
    fine = views.scaled_to(FINER * views.width, FINER * views.height)
    vertices = torch.from_numpy(np.asarray(mesh.vertices)).float()
    faces = torch.from_numpy(np.asarray(mesh.faces)).long()
    seen = visible(vertices, faces, fine, index)
    hit = (seen >= 0).nonzero()[:, 0]
    rays = fine.rays(index)[hit]
    corner = vertices[faces[seen[hit]]]
    share = barycentric(corner, rays.origin, rays.direction)

    def blend(values: Tensor) -> Tensor:
        return (share[:, :, None] * values[faces[seen[hit]]]).sum(1)

    uv = getattr(mesh.visual, "uv", None)
    if texture is not None and uv is not None:
        place = blend(torch.from_numpy(np.asarray(uv)).float()) * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
        color = F.grid_sample(texture, place[None, None], align_corners=False)[0, :, 0].t()
    else:
        color = 0.6 + 0.3 * torch.sin(9.0 * blend(vertices))
    normal = normalize(blend(torch.from_numpy(np.asarray(mesh.vertex_normals).copy()).float()))
    toward = normalize(torch.tensor(LIGHT))
    color = color * (1 - light + light * (normal @ toward).clamp_min(0))[:, None]
    whole = torch.zeros(len(seen), 4)
    whole[hit] = torch.cat([color, torch.ones_like(color[:, :1])], -1)
    size = views.height
    mean = whole.reshape(size, FINER, size, FINER, 4).mean((1, 3))
    straight = torch.cat([mean[..., :3] / mean[..., 3:].clamp_min(1e-6), mean[..., 3:]], -1)
    return (255 * straight.clamp(0, 1)).round().to(torch.uint8)


def visible(vertices: Tensor, faces: Tensor, views: Cameras, index: int) -> Tensor:
    """The nearest face in each pixel's centre, row by row; -1 where there is none. A depth buffer over all at once."""
    which = torch.full((len(vertices),), index, dtype=torch.int64)
    pixel, z = views.project(which, vertices)
    corner, inverse = pixel[faces].double(), (1 / z)[faces].double()
    a, b, c = corner.unbind(1)
    area = cross(b - a, c - a)
    low, high = corner.amin(1).floor().long(), corner.amax(1).ceil().long()
    side = (high - low).amax(-1)
    buffer = torch.zeros(views.height * views.width, dtype=torch.float64)
    candidates = []
    reach, least = 4, -1
    while least < int(side.max()):  # triangles of like size together, each with a square of pixels
        some = ((side > least) & (side <= reach) & (area.abs() > 1e-12)).nonzero()[:, 0]
        least, reach = reach, 2 * reach
        step = torch.arange(least)
        for part in some.split(max(2**22 // least**2, 1)):
            x = (low[part, 0, None, None] + step[None, None, :]).expand(-1, least, -1)
            y = (low[part, 1, None, None] + step[None, :, None]).expand(-1, -1, least)
            p = torch.stack([x, y], -1) + 0.5
            one, two = (
                cross(end[part][:, None, None] - p, other[part][:, None, None] - p) / area[part][:, None, None]
                for end, other in ((b, c), (c, a))
            )
            three = 1 - one - two
            inside = (one >= 0) & (two >= 0) & (three >= 0)
            inside &= (x >= 0) & (y >= 0) & (x < views.width) & (y < views.height)
            value = (torch.stack([one, two, three], -1) * inverse[part][:, None, None]).sum(-1)
            at, f, v = (y * views.width + x)[inside], part[:, None, None].expand_as(x)[inside], value[inside]
            buffer.scatter_reduce_(0, at, v, "amax")
            candidates.append((at, f, v))
    found = torch.full_like(buffer, -1, dtype=torch.int64)
    for at, f, v in candidates:
        nearest = v == buffer[at]
        found[at[nearest]] = f[nearest]
    return found


def cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def barycentric(corner: Tensor, origin: Tensor, direction: Tensor) -> Tensor:
    """What each corner counts where a ray meets its triangle's plane (Möller and Trumbore 1997)."""
    a, b, c = corner.double().unbind(1)
    d, from_a = direction.double(), origin.double() - a
    p, q = torch.linalg.cross(d, c - a), torch.linalg.cross(from_a, b - a)
    scale = ((b - a) * p).sum(-1)
    u, v = (from_a * p).sum(-1) / scale, (d * q).sum(-1) / scale
    return torch.stack([1 - u - v, u, v], -1).clamp(0, 1).float()


if __name__ == "__main__":
    main()
