"""Pictures that only the evaluator needs: sculptures without colour to learn from, objects from all around to measure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from evaluator_captions import bare
from torch import Tensor
from world_pictures import Pictures, read_shards, write_shard

from nerf3d.console import tracked
from nerf3d.core import Cameras, Rays
from nerf3d.data.world.captions import COLORS, Description, Pattern, Thing
from nerf3d.data.world.examples import OVERSAMPLING, SIZE, picture, random_cameras, random_directions
from nerf3d.data.world.model import shape
from nerf3d.data.world.nouns import nouns
from nerf3d.data.world.trace import Surface, trace

SHARD = 1024
VIEWS = 8
HIGHEST = 45.0
"""Degrees: objects are measured from the horizon up to here. From straight above many of them look alike."""


@dataclass(frozen=True)
class Round:
    """One object from all around: `images` (views 64 64 3) uint8."""

    description: Description
    images: Tensor


def sculptures(folder: Path, count: int, seed: int) -> Pictures:
    """Single objects without colours before plain backgrounds, rendered shard by shard where they are not there yet.

    Their texts are the nouns alone: "a cow".
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = -(-count // SHARD)
    for i in tracked(range(shards), "rendering sculptures", shards):
        file = folder / f"{i:05}"
        if file.with_suffix(".json").is_file():
            continue
        found = list(islice(_sculptures(torch.Generator().manual_seed(1_000_003 * seed + i)), SHARD))
        images, texts, azimuth, elevation = (list(column) for column in zip(*found))
        write_shard(file, images, texts, azimuth, elevation)
    return read_shards(folder, shards)


def _sculptures(rng: torch.Generator) -> Iterator[tuple[Tensor, str, float, float]]:
    names = [noun.name for noun in nouns()]
    while True:
        name = names[int(torch.randint(len(names), (), generator=rng))]
        azimuth, elevation = random_directions(VIEWS, rng)
        for view, (surface, look) in enumerate(_seen(name, random_cameras(azimuth, elevation, rng))):
            yield _uncolored(surface, look, rng), bare(name), float(azimuth[view]), float(elevation[view])


def rounds(seed: int, dresses: int = 12) -> Iterator[tuple[list[Round], list[Round]]]:
    """Noun by noun: the object in every colour, each with a random pattern, and three sculptures of it.

    Each from eight sides, the first one near the front, at random elevations between the horizon and HIGHEST.
    """
    rng = torch.Generator().manual_seed(1_000_003 * seed)
    kinds: tuple[Pattern, ...] = get_args(Pattern)
    for noun in nouns():
        seen = []
        for _ in range(3):
            azimuth = torch.arange(VIEWS) * (360 / VIEWS) + 20 * (torch.rand((), generator=rng) - 0.5)
            elevation = HIGHEST * torch.rand(VIEWS, generator=rng)
            seen.append(list(_seen(noun.name, random_cameras(azimuth, elevation, rng))))
        colored = []
        for i, color in enumerate(list(COLORS)[:dresses]):
            pattern = kinds[int(torch.randint(len(kinds), (), generator=rng))]
            description = Description(Thing(noun.name, color, pattern))
            images = torch.stack([picture(description, surface, look, rng) for surface, look in seen[i % 3]])
            colored.append(Round(description, images))
        plain = [
            Round(Description(Thing(noun.name, "grey")), torch.stack([_uncolored(s, look, rng) for s, look in views]))
            for views in seen
        ]
        yield colored, plain


def _seen(name: str, cameras: Cameras) -> Iterator[tuple[Surface, Tensor]]:
    """What each of the cameras sees of a noun, and the directions of its rays."""
    everywhere = [cameras.rays(i) for i in range(len(cameras))]
    rays = Rays(*(torch.cat([getattr(r, f.name) for r in everywhere]) for f in fields(Rays)))
    whole = trace(shape(Description(Thing(name, "grey"))), rays)
    pixels = cameras.width * cameras.height
    for i, own in enumerate(everywhere):
        part = slice(i * pixels, (i + 1) * pixels)
        yield (
            replace(whole, part=whole.part[part], position=whole.position[part], normal=whole.normal[part]),
            own.direction,
        )


def _uncolored(surface: Surface, look: Tensor, rng: torch.Generator) -> Tensor:
    """Lambert's law on one grey, with more or less light from all sides, before another grey (64 64 3) uint8."""
    albedo, ambient, behind = torch.rand(3, generator=rng).tolist()
    albedo, ambient = 0.5 + 0.5 * albedo, 0.1 + 0.5 * ambient
    darkest, brightest = albedo * ambient, albedo
    behind = 1.0 if behind > 0.75 else 0.0 if behind < 0.15 and darkest > 0.2 else behind
    if darkest - 0.1 < behind < brightest + 0.1:  # as bright as the object: go to the farther end
        behind = 1.0 if 1 - brightest > darkest else max(darkest - 0.25, 0.0)
    above = torch.tensor([0.0, 0.0, 1.0])
    toward = F.normalize(0.8 * torch.randn(3, generator=rng) + 0.8 * above - 1.2 * look.mean(0), dim=0)
    shade = albedo * (ambient + (1 - ambient) * (surface.normal @ toward).clamp_min(0))
    side = SIZE * OVERSAMPLING
    whole = torch.where(surface.part >= 0, shade, behind).reshape(1, 1, side, side)
    small = F.avg_pool2d(whole, OVERSAMPLING)[0, 0]
    return (small * 255 + 0.5).to(torch.uint8)[:, :, None].expand(-1, -1, 3).clone()
