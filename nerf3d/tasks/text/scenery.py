"""What a text-to-3D run makes: a field that begins as a ball, its sampler and its sky. No teacher is needed to see it."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Box, Scene
from nerf3d.core.paths import standing
from nerf3d.fields.blob import BlobField
from nerf3d.fields.common import linear
from nerf3d.fields.encodings import frequency
from nerf3d.tasks.text.recipe import Text
from nerf3d.tasks.text.views import BALL

HALF = 1.0
"""Half the side of the box in which objects grow; z is up and their front looks along -y."""
WATCH_SIZE = 256


class Scenery(nn.Module):
    def __init__(self, recipe: Text, rng: torch.Generator, device: torch.device | None = None) -> None:
        """`device` is where the space lies; modules follow it by `to`."""
        super().__init__()
        cube = Box.cube(HALF)
        space = Box(cube.low.to(device), cube.high.to(device))
        self.box = space
        self.field = BlobField(recipe.field.build(space, rng), recipe.blob)
        self.sampler = recipe.sampler.build(space)
        self.sky = Sky(rng) if recipe.background == "learned" else None

    def scene(self) -> Scene:
        """The object before white, with cameras from all around at an angle of 15 degrees."""
        azimuth = torch.arange(0, 360, 45.0)
        fov = torch.full_like(azimuth, 40.0)
        distance = torch.full_like(azimuth, 1.15 * BALL) / torch.sin(torch.deg2rad(fov / 2))
        device = self.box.low.device
        cameras = standing(azimuth, torch.full_like(azimuth, 15.0), distance, fov, WATCH_SIZE).to(device)
        up = torch.tensor([0.0, 0.0, 1.0], device=device)
        return Scene(self.field, self.sampler, torch.ones(3, device=device), cameras, self.box, up)


class Sky(nn.Module):
    """A background that learns: colours that depend on the direction alone (a small network on 4 octaves)."""

    def __init__(self, rng: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(linear(27, 32, rng), nn.ReLU(), linear(32, 3, rng))

    def forward(self, d: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return torch.sigmoid(self.layers(frequency(d, 4)))


def with_resolution(scene: Scene, size: int) -> Scene:
    return replace(scene, cameras=scene.cameras.scaled_to(size, size))
