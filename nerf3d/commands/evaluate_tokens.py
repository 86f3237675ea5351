"""Whether a model of tokens uses its codebook, and keeps what it was given when it completes: part of `nerf3d gen eval`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.console import tracked
from nerf3d.core import Field, Sampler
from nerf3d.data.collections.collection import Collection
from nerf3d.render.render import render
from nerf3d.scenes import Model
from nerf3d.tasks.generate.looks import Gallery, premultiplied
from nerf3d.tasks.generate.tokens import TokenObjects

COMPLETED, VIEWS = 30, 4
TOGETHER = 256
SOLID = 0.5


@dataclass(frozen=True)
class TokenFigures:
    """`used` is the share of the codebook that the collection's pictures use. `lost` is by how many decibels the half of an
    object that was given looks less like its pictures once the other half of its tokens has been drawn anew, on average.
    """

    used: float
    lost: float


def evaluate_tokens(
    model: Model, collection: Collection, held_out: Collection, rng: torch.Generator
) -> TokenFigures | None:
    """Of all of the collection's pictures, and of held-out objects whose one half is given. None without tokens."""
    maker = model.maker
    if not isinstance(maker, TokenObjects):
        return None
    return TokenFigures(used_share(maker, collection), _lost(maker, held_out, rng))


@torch.no_grad()
def used_share(maker: TokenObjects, collection: Collection) -> float:
    """The share of the codebook's entries that are found in any picture."""
    gallery, found = Gallery(collection), []
    for part in torch.arange(len(collection)).split(TOGETHER):
        found.append(maker.autoencoder.tokens(gallery.pictures(part)).unique())
    return len(torch.cat(found).unique()) / maker.autoencoder.config.codebook.entries


@torch.no_grad()
def _lost(maker: TokenObjects, held_out: Collection, rng: torch.Generator) -> float:
    gallery, losses = Gallery(held_out), []
    count = min(COMPLETED, held_out.scenes)
    for scene in tracked(range(count), "completions", count):
        views = gallery.views(scene, 1 + VIEWS, rng)
        codes = maker.read(gallery.pictures(views[:1]))
        axis, side = scene % 2, 1 if scene % 4 < 2 else -1  # halves along x and y, from both ends
        middle = maker.places[:, axis].mean()
        keep = side * (maker.places[:, axis] - middle) > 0
        before, after = (maker.fields(c)[0] for c in (codes, maker.complete(codes, keep, rng)))
        errors = [
            _errors(maker.sampler, (before, after), held_out, int(view), axis, side, float(middle))
            for view in views[1:]
        ]
        total = torch.stack(errors).sum(0)
        if float(total[2]) > 0:
            losses.append(float(10 * (total[1] / total[0]).log10()))
    return sum(losses) / max(len(losses), 1)


def _errors(
    sampler: Sampler, fields: tuple[Field, Field], pictures: Collection, view: int, axis: int, side: int, middle: float
) -> Float[Tensor, "3"]:
    """Squared errors before and after, summed over the pixels that show the half that was given, and how many these are."""
    rays = pictures.cameras.rays(view)
    truth = premultiplied(pictures.pictures[view].float() / 255).reshape(-1, 4)[:, :3]
    one, other = (render(field, rays, sampler) for field in fields)
    place = (rays.origin + one.depth[:, None] * rays.direction)[:, axis]
    given = (one.opacity > SOLID) & (side * (place - middle) > 0)
    errors = [((out.color - truth) ** 2)[given].sum() for out in (one, other)]
    return torch.stack([*errors, given.sum().float()])
