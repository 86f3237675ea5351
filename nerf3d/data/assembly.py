"""From posed pictures to a Capture: the last step of the loaders that have one list of pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.paths import mean_up
from nerf3d.data.capture import Capture, Photographs
from nerf3d.data.pictures import has_alpha, load_masks, load_pictures
from nerf3d.data.split import hold_out, sizes
from nerf3d.errors import InputError


def assemble(
    names: Sequence[str],
    pictures: Sequence[Path],
    cameras: Cameras,
    masks: Sequence[Path | None] | None = None,
    points: Float[Tensor, "p 3"] | None = None,
    notes: Sequence[str] = (),
) -> Capture:
    """Hold out every eighth picture by name, load the pictures (and masks) of both halves, and find the way up.

    The three lists and the cameras go together, picture by picture; `cameras` have the size of the pictures.
    Raises InputError for fewer than three pictures and for what cannot be read.
    """
    if len(names) < 3:
        raise InputError(f"only {len(names)} of the pictures can be used ({', '.join(names)}); at least 3 are needed")
    alpha = has_alpha(pictures)

    def photographs(index: list[int]) -> Photographs:
        return Photographs(
            images=load_pictures([pictures[i] for i in index], alpha),
            cameras=cameras[torch.tensor(index, dtype=torch.int64)],
            names=tuple(names[i] for i in index),
            masks=None if masks is None else load_masks([masks[i] for i in index], cameras.height, cameras.width),
        )

    train, test = hold_out(names)
    split = sizes(len(train), len(test))
    return Capture(photographs(train), photographs(test), mean_up(cameras), points=points, notes=(*notes, split))
