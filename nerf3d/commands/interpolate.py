"""`nerf3d gen interpolate`: a film that goes from one object to the next, through those between them."""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.commands.sample_generator import check_truncation, read_seeds
from nerf3d.commands.turntable import circle
from nerf3d.console import say, tracked
from nerf3d.errors import InputError
from nerf3d.export.film import write_film
from nerf3d.export.pictures import color_picture
from nerf3d.render.picture import render_picture
from nerf3d.runs import open_run
from nerf3d.scenes import load_model

FPS, SIZE = 24.0, 192
PATIENT = 120.0
"""Frames that one round of the camera takes."""


def interpolate(
    run: Path | str,
    seeds: str = "1,2,3",
    out: Path | str | None = None,
    frames: int = 48,
    truncation: float = 1.0,
    kind: str | None = None,
) -> Path:
    """Film the way from each seed's object to the next one's, and back to the first, `frames` frames for each, while the
    camera goes around. `out` is an .mp4 (None: media/interpolation.mp4 in the run). Raises InputError.
    """
    numbers = read_seeds(seeds)
    if len(numbers) < 2:
        raise InputError(f"there is nothing between one object and itself; give two seeds or more, not {seeds!r}")
    if not 1 <= frames <= 10_000:
        raise InputError(f"{frames} frames from one object to the next cannot be; give 1 to 10000")
    check_truncation(truncation)
    opened = open_run(Path(run))
    target = Path(out) if out is not None else opened.media / "interpolation.mp4"
    if target.suffix.lower() != ".mp4":
        raise InputError(f"{target} is no .mp4 file; rename it")
    model = load_model(opened)
    codes = torch.cat([model.makes.draw(1, torch.Generator().manual_seed(n), truncation, kind) for n in numbers])
    count = frames * len(numbers)

    def film() -> Iterator[Tensor]:
        around = circle(model.scene(model.makes.fields(codes[:1])[0]), round(PATIENT), SIZE)
        for i in tracked(range(count), "film", count):
            field = model.makes.fields(between(codes, i / frames)[None])[0]
            yield color_picture(render_picture(model.scene(field), around, i % len(around)).color)

    write_film(target, film(), FPS)
    say(f"{count} frames through the objects of seeds {', '.join(map(str, numbers))}, in {target}")
    return target


def between(codes: Float[Tensor, "n *code"], at: float) -> Float[Tensor, "*code"]:
    """A closed path through the codes, straight from one to the next, slow where it arrives and where it leaves.

    >>> between(torch.tensor([[0.0], [8.0]]), 0.5), between(torch.tensor([[0.0], [8.0]]), 1.25)
    (tensor([4.]), tensor([6.7500]))
    """
    first = int(at) % len(codes)
    t = at - int(at)
    return torch.lerp(codes[first], codes[(first + 1) % len(codes)], t * t * (3 - 2 * t))
