"""How real and made pictures are shown to a critic: where in each picture one looks, and what is compared of it.

A sight has three parts. `grids` are the points of the pictures that a step looks at, in units of the pictures' size;
`made` is what the critic sees of fields that were rendered there, `real` what it sees of the collection's pictures.

    Whole     whole pictures that grow during the run: small ones are enlarged to what the critic judges (what pi-GAN does
              with critics that grow)
    Raised    finished pictures beside the raw ones that they were made from (EG3D's dual discrimination)
    Patches   random squares of the pictures (GRAF)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.core import Cameras, Field, Sampler
from nerf3d.core.schedules import Schedule
from nerf3d.errors import InputError
from nerf3d.models.critic import dual
from nerf3d.models.graf import even_grid, look_up, patch_grids
from nerf3d.models.super_resolution import SuperResolution
from nerf3d.render.render import render
from nerf3d.tasks.generate.looks import premultiplied
from nerf3d.tasks.generate.recipe import EG3D, GRAF, Background, PiGAN

Parts = tuple[Tensor, ...]
"""Pictures that are judged together, (b h w c) each: one alone, or a finished and a raw one."""
WIDTHS = 3
"""How many standard deviations of a bell are summed up to each side."""


@runtime_checkable
class Sight(Protocol):
    def grids(self, progress: float, count: int, rng: torch.Generator) -> Float[Tensor, "b k l 2"]: ...

    def real(self, pictures: Float[Tensor, "b h w c"], grids: Float[Tensor, "b k l 2"]) -> Parts: ...

    def made(
        self, seen: Float[Tensor, "b k l c"], codes: Float[Tensor, "b *code"], upsampler: SuperResolution | None
    ) -> Parts: ...


@dataclass(frozen=True)
class Whole:
    """Whole pictures of `sizes`, each next one from its share of the run on; the critic judges `side` rows and columns."""

    side: int
    sizes: tuple[int, ...]
    grow_at: tuple[float, ...]

    def grids(self, progress: float, count: int, rng: torch.Generator) -> Float[Tensor, "b k l 2"]:
        size = self.sizes[sum(progress >= at for at in self.grow_at)]
        return even_grid(size, size).to(rng.device).expand(count, -1, -1, -1)

    def real(self, pictures: Float[Tensor, "b h w c"], grids: Float[Tensor, "b k l 2"]) -> Parts:
        return (blurred(pictures, self.side // grids.shape[1]),)

    def made(
        self, seen: Float[Tensor, "b k l c"], codes: Float[Tensor, "b *code"], upsampler: SuperResolution | None
    ) -> Parts:
        return (resized(seen, self.side),)


@dataclass(frozen=True)
class Raised:
    """Raw pictures of so many rows and columns, and what super-resolution makes of them."""

    raw: Schedule

    def grids(self, progress: float, count: int, rng: torch.Generator) -> Float[Tensor, "b k l 2"]:
        size = round(self.raw(progress))
        return even_grid(size, size).to(rng.device).expand(count, -1, -1, -1)

    def real(self, pictures: Float[Tensor, "b h w c"], grids: Float[Tensor, "b k l 2"]) -> Parts:
        return pictures, resized(pictures, grids.shape[1])

    def made(
        self, seen: Float[Tensor, "b k l c"], codes: Float[Tensor, "b *code"], upsampler: SuperResolution | None
    ) -> Parts:
        assert upsampler is not None
        return upsampler(seen, codes[:, -1]), seen[..., :3]


@dataclass(frozen=True)
class Patches:
    """Squares with `side` points along each side, whose share of the picture is at least `smallest`."""

    side: int
    smallest: Schedule

    def grids(self, progress: float, count: int, rng: torch.Generator) -> Float[Tensor, "b k l 2"]:
        return patch_grids(count, self.side, self.smallest(progress), rng)

    def real(self, pictures: Float[Tensor, "b h w c"], grids: Float[Tensor, "b k l 2"]) -> Parts:
        return (look_up(pictures, grids),)

    def made(
        self, seen: Float[Tensor, "b k l c"], codes: Float[Tensor, "b *code"], upsampler: SuperResolution | None
    ) -> Parts:
        return (seen,)


def sight_of(recipe: EG3D | PiGAN | GRAF) -> Sight:
    """How a recipe looks at things. Raises InputError for sizes that do not fit together."""
    side = recipe.critic.resolution
    if isinstance(recipe, GRAF):
        return Patches(side, recipe.smallest)
    if isinstance(recipe, PiGAN):
        sizes = recipe.sizes
        if len(recipe.grow_at) != len(sizes) - 1 or any(size < 1 or side % size for size in sizes):
            raise InputError(
                f"sizes {list(sizes)} and grow_at {list(recipe.grow_at)} do not fit a critic of {side} x {side}: every "
                "size must divide that, and each but the first needs the share of the run at which it begins"
            )
        return Whole(side, sizes, recipe.grow_at)
    if recipe.super_resolution is None:
        return Whole(side, (max(side // 2, 1), side), (recipe.sharp,))
    if recipe.super_resolution.resolution != side or recipe.background == "alpha":
        enlarged = recipe.super_resolution.resolution
        raise InputError(
            f"super-resolution makes opaque pictures of {enlarged} x {enlarged}, and this critic judges {side} x {side} "
            f"with the background {recipe.background!r}; make the sizes equal, and the background white or black"
        )
    return Raised(recipe.raw)


def shown(pictures: UInt8[Tensor, "b h w 4"], background: Background) -> Float[Tensor, "b h w c"]:
    """A collection's pictures as they are compared: before white or black, or before black beside their opacity.

    >>> shown(torch.tensor([255, 0, 0, 51], dtype=torch.uint8)[None, None, None], "white")
    tensor([[[[1.0000, 0.8000, 0.8000]]]])
    """
    alone = premultiplied(pictures.float() / 255)
    if background == "alpha":
        return alone
    return alone[..., :3] + float(background == "white") * (1 - alone[..., 3:])


def seen(
    fields: Sequence[Field],
    cameras: Cameras,
    grids: Float[Tensor, "b k l 2"],
    sampler: Sampler,
    background: Background,
    rng: torch.Generator | None,
) -> Float[Tensor, "b k l c"]:
    """Fields, each from its own camera, at points of the pictures; gradients flow into them. Channels are as in `shown`."""
    pixels = (grids * grids.new_tensor([cameras.width, cameras.height])).flatten(1, 2)
    found = []
    for index, field in enumerate(fields):
        which = torch.full((pixels.shape[1],), index, device=pixels.device)
        out = render(field, cameras.rays_at(which, pixels[index]), sampler, float(background == "white"), rng)
        found.append(torch.cat([out.color, out.opacity[:, None]], 1) if background == "alpha" else out.color)
    return torch.stack(found).unflatten(1, grids.shape[1:3])


def together(parts: Parts, blur: float = 0.0) -> Float[Tensor, "b h w c"]:
    """What the critic sees of some parts, through a bell of so many pixels."""
    return softened(dual(*parts) if len(parts) == 2 else parts[0], blur)


def softened(pictures: Float[Tensor, "b h w c"], deviation: float) -> Float[Tensor, "b h w c"]:
    """Pictures folded with a bell of this standard deviation, in pixels; the border goes on outside.

    >>> softened(torch.eye(3)[1].reshape(1, 1, 3, 1), 1.0).flatten()
    tensor([0.2420, 0.3991, 0.2420])
    """
    reach = int(WIDTHS * deviation)
    if reach == 0:
        return pictures
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pictures.device) / deviation).square())
    bell = (bell / bell.sum()).to(pictures)
    planes = pictures.permute(0, 3, 1, 2)
    single = planes.reshape(-1, 1, *planes.shape[2:])
    wide = F.pad(single, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(F.conv2d(wide, bell[None, None, None, :]), bell[None, None, :, None])
    return across.reshape(planes.shape).permute(0, 2, 3, 1)


def blurred(pictures: Float[Tensor, "b h w c"], factor: int) -> Float[Tensor, "b h w c"]:
    """Pictures averaged over squares of `factor` pixels and enlarged again."""
    if factor == 1:
        return pictures
    small = F.avg_pool2d(pictures.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    return resized(small, pictures.shape[1])


def resized(pictures: Float[Tensor, "b h w c"], side: int) -> Float[Tensor, "b side side c"]:
    """Square pictures of another size, bilinearly; smaller ones are means of what they show."""
    if pictures.shape[1] == side:
        return pictures
    smaller = side < pictures.shape[1]
    planes = F.interpolate(
        pictures.permute(0, 3, 1, 2), size=(side, side), mode="bilinear", align_corners=False, antialias=smaller
    )
    return planes.permute(0, 2, 3, 1)
