"""Lessons in shape for the prior's text encoder: from a caption with a compass word, how the object's surface lies there.

In pictures of random colours before random backgrounds, where the camera stands decides hardly a hundredth of the variance,
and a prior did not read it after 2000 steps without these lessons, and after 500 with them. The surface's directions alone
are the same for all colours and known exactly; what the caption's vectors then know, the UNet finds there.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from nerf3d.core.paths import standing
from nerf3d.data.world.captions import COLORS, COMPASS, HEIGHTS, Description, Pattern, Thing
from nerf3d.data.world.model import shape
from nerf3d.data.world.nouns import nouns
from nerf3d.data.world.trace import trace

SIDE = 16
CHANNELS = 5
"""Of a surface: its normal in the camera's frame, whether there is one, and whether it is the accent's."""
SHADES: tuple[Pattern, ...] = ("plain", "plain", "plain", "striped", "checkered", "shiny")
FRONTS = 3
"""How many times as often objects with a front are asked for: nothing else looks different from each side."""
MIDDLE = dict(zip(HEIGHTS, (-3.0, 15.0, 31.0, 50.0, 72.0), strict=True))


@dataclass(frozen=True)
class Lessons:
    """`maps` (nouns, compass, heights, CHANNELS SIDE SIDE) are what there is to know; `mean` is their mean."""

    maps: Tensor
    mean: Tensor
    weight: Tensor
    scale: float

    def draw(self, count: int, rng: torch.Generator) -> tuple[list[str], Tensor]:
        """So many captions, and what each of them looks like without its colours."""
        names, colors = [n.name for n in nouns()], list(COLORS)
        noun = torch.multinomial(self.weight, count, replacement=True, generator=rng).tolist()
        point = torch.randint(len(COMPASS), (count,), generator=rng).tolist()
        height = torch.randint(len(HEIGHTS), (count,), generator=rng).tolist()
        color = torch.randint(len(COLORS), (count,), generator=rng).tolist()
        shade = torch.randint(len(SHADES), (count,), generator=rng).tolist()
        captions = [
            f"{Description(Thing(names[n], colors[c], SHADES[s]))}, from {COMPASS[p]}, {list(HEIGHTS)[h]}"
            for n, p, h, c, s in zip(noun, point, height, color, shade, strict=True)
        ]
        return captions, (self.maps[noun, point, height] - self.mean).flatten(1) / self.scale


def lessons(file: Path) -> Lessons:
    """Trace what is to be known, some two minutes, or read it from where that was kept."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        maps = torch.stack([_around(n.name) for n in track(nouns(), "tracing shapes")])
        save_file({"maps": maps.half()}, file)
    maps = load_file(file)["maps"].float()
    mean = maps.mean((0, 1, 2))
    weight = torch.tensor([float(FRONTS if n.has_front else 1) for n in nouns()])
    return Lessons(maps, mean, weight, float((maps - mean).square().mean().sqrt()))


def make_reader(width: int) -> nn.Linear:
    """What reads the lesson's answer off the caption's vector. Linear: whatever it can read, the UNet can."""
    return nn.Linear(width, CHANNELS * SIDE * SIDE)


def asked(
    lessons: Lessons,
    encoder: CLIPTextModel,
    reader: nn.Module,
    tokenizer: CLIPTokenizer,
    count: int,
    rng: torch.Generator,
) -> Tensor:
    """The mean squared error of the answers, as a share of all there is to know."""
    captions, truth = lessons.draw(count, rng)
    words = tokenizer(captions, padding="longest", return_tensors="pt").input_ids
    return F.mse_loss(reader(encoder(words).pooler_output).float(), truth)


def _around(noun: str) -> Tensor:
    """(compass, heights, CHANNELS, SIDE, SIDE) of one object."""
    azimuth = torch.arange(len(COMPASS)).repeat_interleave(len(HEIGHTS)) * (360 / len(COMPASS))
    elevation = torch.tensor(list(MIDDLE.values())).repeat(len(COMPASS))
    many = len(azimuth)
    cameras = standing(azimuth, elevation, torch.full((many,), 2.7), torch.full((many,), 42.0), 2 * SIDE)
    parts = shape(Description(Thing(noun, "grey")))
    seen = []
    for i in range(many):
        surface = trace(parts, cameras.rays(i))
        normal = surface.normal @ cameras.world_from_camera[i, :3, :3]
        there = (surface.part >= 0).float()
        flat = torch.cat([normal, there[:, None], (surface.part == 1).float()[:, None]], 1)
        seen.append(F.avg_pool2d(flat.T.reshape(1, CHANNELS, 2 * SIDE, 2 * SIDE), 2)[0])
    return torch.stack(seen).reshape(len(COMPASS), len(HEIGHTS), CHANNELS, SIDE, SIDE)
