"""What of a frame is head, what torso, what background; and the background without the person.

The head (hair, ears and hat with it) is the person above the line of the jaw, which is continued to both sides at the
height of the jaw's corners and turns with the face; neck, shoulders and hair that hangs lower are torso.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.data.portrait.landmarks import JAW, LEFT_EYE, RIGHT_EYE

BACKGROUND, HEAD, TORSO = 0, 1, 2
COLORS = ((255, 255, 255), (0, 0, 255), (255, 0, 0))
"""Red, green, blue of the three in pictures: those of AD-NeRF's parsing."""
PERSON = 128
"""A matte from here on is a person."""
HALO = 0.02
"""Of the picture's height: so near to a person, background is not believed."""


def layers(points: Float[Tensor, "478 3"], matte: UInt8[Tensor, "h w"]) -> UInt8[Tensor, "h w"]:
    """BACKGROUND, HEAD or TORSO for every pixel."""
    person = matte >= PERSON
    above = above_jaw(points, matte.shape[0], matte.shape[1])
    return torch.where(person, torch.where(above, HEAD, TORSO), BACKGROUND).to(torch.uint8)


def above_jaw(points: Float[Tensor, "478 3"], height: int, width: int) -> Bool[Tensor, "h w"]:
    """Whether a pixel's centre lies above the jaw's line, as seen with the eyes level."""
    across = points[LEFT_EYE[0], :2] - points[RIGHT_EYE[0], :2]
    across = across / across.norm().clamp_min(1e-6)
    down = torch.stack([-across[1], across[0]])
    jaw = points[list(JAW), :2]
    along, depth = (jaw @ across).double().numpy(), (jaw @ down).double().numpy()
    order = np.argsort(along)
    x, y = torch.arange(width) + 0.5, (torch.arange(height) + 0.5)[:, None]
    position = (x * across[0] + y * across[1]).double().numpy()
    line = np.interp(position, along[order], depth[order])
    return (x * down[0] + y * down[1]) < torch.from_numpy(line).float()


def background_plate(
    frames: Sequence[UInt8[Tensor, "h w 3"]], mattes: Sequence[UInt8[Tensor, "h w"]]
) -> tuple[UInt8[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
    """The background as the median of what some frames show of it, and which of its pixels were ever seen.

    The rest, behind the person, takes the nearest pixels' colours, blurred. Where nothing at all was seen it is grey.
    """
    from scipy import ndimage

    height = frames[0].shape[0]
    reach = max(round(HALO * height), 1)
    free = np.stack([~ndimage.binary_dilation(m.numpy() >= PERSON // 4, iterations=reach) for m in mattes])
    seen = np.any(free, axis=0)
    plate = np.full((*seen.shape, 3), 127.5, dtype=np.float32)
    stack = np.stack([frame.numpy() for frame in frames])
    for rows in np.array_split(np.arange(height), max(height // 16, 1)):  # NaNs of the whole would need much memory
        values = np.where(free[:, rows, :, None], stack[:, rows].astype(np.float32), np.nan)
        plate[rows] = np.where(seen[rows, :, None], _median(values, seen[rows]), 127.5)
    if seen.any() and not seen.all():
        rows, columns = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        filled = plate[rows, columns]
        blurred = ndimage.gaussian_filter(filled, (height / 64, height / 64, 0))
        plate = np.where(seen[..., None], plate, blurred)
    whole = torch.from_numpy(plate.round().clip(0, 255).astype(np.uint8))
    return whole, torch.from_numpy(seen)


def _median(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Over the first axis, NaNs left out; zero where there is nothing else."""
    safe = np.where(seen[None, :, :, None], values, 0.0)
    return np.nanmedian(safe, axis=0)
