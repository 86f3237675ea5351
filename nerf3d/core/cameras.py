"""Cameras: from pixels to rays, and from world points back to pixels."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core.distortion import distort, fisheye_distort, fisheye_undistort, undistort
from nerf3d.core.numerics import normalize
from nerf3d.core.rays import Rays

Lens = Literal["pinhole", "fisheye"]


@dataclass(frozen=True)
class Cameras:
    """A batch of cameras with pictures of one size.

    `world_from_camera` holds rotations (columns: the camera's x right, y down, z forward, in the world) and centres.
    `intrinsics` are fx, fy, cx, cy in pixels. `distortion` is (k1, k2, p1, p2, k3) for a pinhole lens and
    (k1, k2, k3, k4, 0) for a fisheye.
    """

    world_from_camera: Float[Tensor, "b 3 4"]
    intrinsics: Float[Tensor, "b 4"]
    distortion: Float[Tensor, "b 5"]
    width: int
    height: int
    lens: Lens = "pinhole"

    @staticmethod
    def pinhole(world_from_camera: Float[Tensor, "b 3 4"], focal: float, width: int, height: int) -> "Cameras":
        """Undistorted cameras with one focal length in pixels that look through the middle of their pictures."""
        count = world_from_camera.shape[0]
        intrinsics = torch.tensor([focal, focal, width / 2, height / 2]).expand(count, 4)
        return Cameras(world_from_camera, intrinsics, torch.zeros(count, 5), width, height)

    def __len__(self) -> int:
        return self.world_from_camera.shape[0]

    def __getitem__(self, index) -> "Cameras":
        """Some of the cameras: a slice, a mask or a tensor of indices."""
        return Cameras(
            self.world_from_camera[index],
            self.intrinsics[index],
            self.distortion[index],
            self.width,
            self.height,
            self.lens,
        )

    @property
    def center(self) -> Float[Tensor, "b 3"]:
        return self.world_from_camera[:, :, 3]

    @property
    def forward(self) -> Float[Tensor, "b 3"]:
        return self.world_from_camera[:, :, 2]

    def scaled_to(self, width: int, height: int) -> "Cameras":
        """The same cameras with pictures of another size; the intrinsics follow."""
        x, y = width / self.width, height / self.height
        intrinsics = self.intrinsics * torch.tensor([x, y, x, y], device=self.intrinsics.device)
        return Cameras(self.world_from_camera, intrinsics, self.distortion, width, height, self.lens)

    def looks(self, index: Int64[Tensor, "n"], pixel: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Unit directions in the cameras' own axes through continuous pixel positions (x, y).

        The centre of the first pixel is (0.5, 0.5).
        """
        focal, center = self.intrinsics[index].split(2, -1)
        plane = (pixel - center) / focal
        k = self.distortion[index]
        if self.lens == "fisheye":
            plane = fisheye_undistort(plane, k[:, :4])
            angle = plane.square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
            return torch.cat([torch.sin(angle) * plane / angle, torch.cos(angle)], -1)
        plane = undistort(plane, k)
        return normalize(torch.cat([plane, torch.ones_like(plane[:, :1])], -1))

    def rays_along(self, index: Int64[Tensor, "n"], look: Float[Tensor, "n 3"]) -> Rays:
        """Rays of the cameras with that index along directions in their own axes. near = 0 and far = infinity."""
        pose = self.world_from_camera[index]
        direction = normalize((pose[:, :, :3] * look[:, None, :]).sum(-1))
        near = torch.zeros_like(direction[:, 0])
        return Rays(pose[:, :, 3], direction, near, torch.full_like(near, torch.inf))

    def rays_at(self, index: Int64[Tensor, "n"], pixel: Float[Tensor, "n 2"]) -> Rays:
        """One ray through each continuous pixel position (x, y) of the camera with that index."""
        return self.rays_along(index, self.looks(index, pixel))

    @property
    def share_a_lens(self) -> bool:
        """Whether all cameras have the same intrinsics and distortion."""
        return all(bool((t == t[:1]).all()) for t in (self.intrinsics, self.distortion))

    def rays(self, index: int) -> Rays:
        """The rays through all pixel centres of one camera, row by row: height * width of them."""
        device = self.intrinsics.device
        y, x = torch.meshgrid(
            torch.arange(self.height, device=device), torch.arange(self.width, device=device), indexing="ij"
        )
        pixel = torch.stack([x, y], -1).reshape(-1, 2) + 0.5
        which = torch.full((pixel.shape[0],), index, dtype=torch.int64, device=device)
        return self.rays_at(which, pixel)

    def project(
        self, index: Int64[Tensor, "n"], x: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n"]]:
        """Pixel positions (x, y) of world points in the camera with that index, and their z (behind it: z <= 0).

        For a fisheye lens points behind the camera may be visible, and z says nothing about that.
        """
        pose = self.world_from_camera[index]
        local = (pose[:, :, :3].transpose(1, 2) @ (x - pose[:, :, 3])[:, :, None])[..., 0]
        z = local[:, 2]
        k = self.distortion[index]
        if self.lens == "fisheye":
            radius = local[:, :2].square().sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
            plane = fisheye_distort(local[:, :2] / radius * torch.atan2(radius, z[:, None]), k[:, :4])
        else:
            plane = distort(local[:, :2] / torch.where(z.abs() < 1e-9, 1e-9, z)[:, None], k)
        focal, center = self.intrinsics[index].split(2, -1)
        return plane * focal + center, z

    def to(self, device: torch.device | str) -> "Cameras":
        return Cameras(
            self.world_from_camera.to(device),
            self.intrinsics.to(device),
            self.distortion.to(device),
            self.width,
            self.height,
            self.lens,
        )


def look_at(
    eye: Float[Tensor, "*#b 3"], target: Float[Tensor, "*#b 3"], up: Float[Tensor, "*#b 3"]
) -> Float[Tensor, "*b 3 4"]:
    """world_from_camera of a camera at `eye` that sees `target` in the middle of its picture and `up` upwards."""
    eye, target, up = torch.broadcast_tensors(eye, target, up)
    forward = normalize(target - eye)
    right = normalize(torch.linalg.cross(forward, up))
    down = torch.linalg.cross(forward, right)
    return torch.stack([right, down, forward, eye], -1)
