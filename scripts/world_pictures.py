"""Captioned pictures of the built-in world on disk, in shards that can be rendered in any order and in several processes."""

import json
import os
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from nerf3d.data.world.captions import view_compass, view_words
from nerf3d.data.world.examples import examples

SHARD = 2048


@dataclass(frozen=True)
class Pictures:
    """`images` (n 64 64 3) uint8, what they show in words, and from where (degrees)."""

    images: Tensor
    texts: list[str]
    azimuth: Tensor
    elevation: Tensor

    def caption(self, index: int, rng: torch.Generator) -> str:
        """The text of one picture, most of the time with where it was taken from, in one of two ways of saying so."""
        way = float(torch.rand((), generator=rng))
        where = (float(self.azimuth[index]), float(self.elevation[index]))
        if way < 0.8:
            return f"{self.texts[index]}, {view_compass(*where)}"
        return f"{self.texts[index]}, {view_words(*where)}" if way < 0.92 else self.texts[index]


def pictures(folder: Path, count: int, seed: int, processes: int, unseen: bool = False) -> Pictures:
    """Render what is missing of `count` pictures (whole shards) and load them all."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-count // SHARD))
    missing = [(folder, seed, i, unseen) for i in shards if not (folder / f"{i:05}.json").is_file()]
    if missing:
        with get_context("spawn").Pool(processes) as pool:
            for _ in track(pool.imap_unordered(_render, missing), "rendering the world", len(missing)):
                pass
    return read_shards(folder, len(shards))


def read_shards(folder: Path, count: int) -> Pictures:
    """The first so many shards of a folder."""
    images, texts, azimuth, elevation = [], [], [], []
    for i in range(count):
        images.append(load_file(folder / f"{i:05}.safetensors")["images"])
        said = json.loads((folder / f"{i:05}.json").read_text())
        texts += said["texts"]
        azimuth += said["azimuth"]
        elevation += said["elevation"]
    return Pictures(torch.cat(images), texts, torch.tensor(azimuth), torch.tensor(elevation))


def write_shard(
    file: Path, images: list[Tensor], texts: list[str], azimuth: list[float], elevation: list[float]
) -> None:
    """Pictures as FILE.safetensors and then what they show as FILE.json: with this the shard is there, and whole."""
    save_file({"images": torch.stack(images)}, f"{file}.tmp")
    os.replace(f"{file}.tmp", f"{file}.safetensors")
    Path(f"{file}.tmp").write_text(json.dumps({"texts": texts, "azimuth": azimuth, "elevation": elevation}))
    os.replace(f"{file}.tmp", f"{file}.json")


def _render(job: tuple[Path, int, int, bool]) -> None:
    folder, seed, index, unseen = job
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(1_000_003 * seed + index)
    found = list(islice(examples(rng, unseen=unseen), SHARD))
    texts = [str(e.description) for e in found]
    azimuth, elevation = [e.azimuth for e in found], [e.elevation for e in found]
    write_shard(folder / f"{index:05}", [e.picture for e in found], texts, azimuth, elevation)
