"""Looking at objects of a collection: some rays through some of its pictures, and whole pictures of a field."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Box, Cameras, Field, Rays, Sampler
from nerf3d.core.chance import here
from nerf3d.core.memory import made_bytes, samples_bytes
from nerf3d.core.spaces import Space
from nerf3d.data.collections.collection import Collection
from nerf3d.render.render import render
from nerf3d.tasks.generate.recipe import Looks


@dataclass(frozen=True)
class Glance:
    """Rays at one object, and what its pictures show there: colours over black (premultiplied) and opacity, in [0, 1]."""

    rays: Rays
    truth: Float[Tensor, "n 4"]

    def to(self, device: torch.device) -> "Glance":
        return Glance(self.rays.to(device), self.truth.to(device))


class Gallery:
    """A collection's pictures object by object, ready to be drawn from. They stay on the CPU, and so do streams for them."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        order = torch.argsort(collection.scene, stable=True)
        counts = torch.bincount(collection.scene, minlength=collection.scenes)
        self._views = order.split(counts.tolist())
        self._full = [i for i, views in enumerate(self._views) if len(views)]

    def objects(self, count: int, rng: torch.Generator) -> list[int]:
        """Random objects that have pictures, each another as far as there are enough."""
        order = torch.randperm(len(self._full), generator=rng).tolist()
        return [self._full[order[i % len(order)]] for i in range(count)]

    def views(self, scene: int, count: int, rng: torch.Generator) -> Int64[Tensor, "views"]:
        """Some of an object's pictures; all of them, where it has fewer."""
        own = self._views[scene]
        return own[torch.randperm(len(own), generator=rng)[:count]]

    def pictures(self, which: Int64[Tensor, "n"]) -> Float[Tensor, "n h w 4"]:
        """Colours over black and opacity."""
        return premultiplied(self.collection.pictures[which].float() / 255)

    def glance(self, views: Int64[Tensor, "v"], looks: Looks, rng: torch.Generator) -> Glance:
        """Rays through some views of one object: a part of them where the object is."""
        shown = self.collection.pictures[views]
        covered = torch.nonzero((shown[..., 3] > 0).flatten())[:, 0]
        inside = round(looks.on_object * looks.rays) if len(covered) else 0
        anywhere = torch.randint(shown[..., 3].numel(), (looks.rays - inside,), generator=rng)
        pick = torch.cat([covered[torch.randint(max(len(covered), 1), (inside,), generator=rng)], anywhere])
        height, width = shown.shape[1:3]
        view, place = pick // (height * width), pick % (height * width)
        pixel = torch.stack([place % width, place // width], -1) + 0.5
        rays = self.collection.cameras.rays_at(views[view], pixel)
        return Glance(rays, premultiplied(shown.reshape(-1, 4)[pick].float() / 255))


def premultiplied(straight: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Colours times opacity.

    >>> premultiplied(torch.tensor([1.0, 0.5, 0.0, 0.5]))
    tensor([0.5000, 0.2500, 0.0000, 0.5000])
    """
    return torch.cat([straight[..., :3] * straight[..., 3:], straight[..., 3:]], -1)


def on_white(picture: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3"]:
    """Colours over black with their opacity, before white.

    >>> on_white(torch.tensor([0.2, 0.0, 0.1, 0.5]))
    tensor([0.7000, 0.5000, 0.6000])
    """
    return picture[..., :3] + 1 - picture[..., 3:]


def picture(
    field: Field, cameras: Cameras, index: int, sampler: Sampler, rng: torch.Generator | None = None
) -> Float[Tensor, "h w 4"]:
    """What one camera sees of a field: colours over black and opacity. Gradients flow into the field."""
    out = render(field, cameras.rays(index), sampler, rng=rng)
    return torch.cat([out.color, out.opacity[:, None]], 1).reshape(cameras.height, cameras.width, 4)


def looks_bytes(make: Callable[[], Field], box: Space, looks: Looks) -> float:
    """What a step takes that looks at so many objects, by what one of them takes to be made and to be seen."""
    assert isinstance(box, Box)
    with torch.no_grad():
        field = make()
    return looks.objects * (made_bytes(make, box) + samples_bytes(field, box, looks.rays * looks.samples))


def difference(
    fields: Sequence[Field],
    views: Iterable[Int64[Tensor, "v"]],
    gallery: Gallery,
    looks: Looks,
    sampler: Sampler,
    rng: torch.Generator,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """How far objects are from their pictures along some rays through their `views`: in colours, over a random sky, and in
    opacity. Both are mean squares over all rays of all objects.
    """
    colors, opacities, chance = [], [], here(rng)
    for field, seen in zip(fields, views, strict=True):
        glance = gallery.glance(seen, looks, chance).to(rng.device)
        sky = torch.rand(3, generator=rng, device=rng.device)
        out = render(field, glance.rays, sampler, sky, rng)
        truth, alpha = glance.truth[:, :3] + (1 - glance.truth[:, 3:]) * sky, glance.truth[:, 3]
        colors.append((out.color - truth).square().mean())
        opacities.append((out.opacity - alpha).square().mean())
    return torch.stack(colors).mean(), torch.stack(opacities).mean()
