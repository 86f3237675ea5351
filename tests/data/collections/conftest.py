import pytest
import torch

from nerf3d.core import Box
from nerf3d.core.paths import standing
from nerf3d.data.collections.collection import Attributes, Collection


def made(scenes: int, views: int, size: int = 8, alpha: bool = True) -> Collection:
    """Random pictures of objects from random cameras."""
    rng = torch.Generator().manual_seed(scenes)
    count = scenes * views
    pictures = torch.randint(0, 256, (count, size, size, 4), generator=rng).to(torch.uint8)
    if not alpha:
        pictures[..., 3] = 255
    azimuth, elevation = 360 * torch.rand(count, generator=rng), 40 * torch.rand(count, generator=rng)
    cameras = standing(azimuth, elevation, torch.full((count,), 3.0), torch.full((count,), 40.0), size)
    return Collection(
        pictures=pictures,
        cameras=cameras,
        scene=torch.arange(scenes).repeat_interleave(views),
        captions=tuple(f"thing {i}" for i in range(scenes)),
        box=Box(torch.tensor([-1.0, -0.5, -0.25]), torch.tensor([0.5, 1.0, 0.75])),
        has_alpha=alpha,
        attributes=Attributes(("r", "weight"), torch.rand(scenes, 2, generator=rng)),
    )


@pytest.fixture(scope="session")
def small() -> Collection:
    """Three objects in two views each."""
    return made(3, 2)
