"""What a renderer returns, as 8-bit pictures: (height, width, 3) bytes."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.files import whole_file

# From near to far, even steps: lighter is nearer, and the far end is still no black, which means that nothing is there.
DEPTH_COLORS = torch.tensor(
    [
        [255, 246, 196],
        [254, 200, 112],
        [242, 138, 76],
        [212, 82, 86],
        [160, 52, 108],
        [106, 42, 122],
        [62, 42, 112],
        [34, 36, 84],
    ],
    dtype=torch.float32,
)
OPAQUE = 0.5


def color_picture(color: Float[Tensor, "h w 3"]) -> UInt8[Tensor, "h w 3"]:
    """Colours in [0, 1], rounded to bytes; what lies outside is cut off, NaN is black."""
    return (color.detach().float().cpu().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)


def opacity_picture(opacity: Float[Tensor, "h w"]) -> UInt8[Tensor, "h w 3"]:
    """White where the ray hit matter, black where it passed."""
    return color_picture(opacity[..., None].expand(-1, -1, 3))


def depth_range(depth: Float[Tensor, "*b"], opacity: Float[Tensor, "*b"]) -> tuple[float, float]:
    """The near and far distance to paint with: the 1st and 99th percentile over the opaque pixels, of any number of
    pictures.

    (0, 1) where nothing is opaque.
    """
    seen = depth[opacity >= OPAQUE].detach().float()
    if seen.numel() == 0:
        return 0.0, 1.0
    ordered = seen.sort().values  # torch.quantile refuses more than 16 million values
    last = len(ordered) - 1
    return float(ordered[math.floor(0.01 * last)]), float(ordered[math.ceil(0.99 * last)])


def depth_picture(
    depth: Float[Tensor, "h w"], opacity: Float[Tensor, "h w"], limits: tuple[float, float] | None = None
) -> UInt8[Tensor, "h w 3"]:
    """Near is light yellow, far dark blue, nothing is black; colours fade to black with the opacity.

    `limits` are near and far in world units. Give the same ones to all frames of a film (`depth_range` of all of them),
    or it will flicker; without them they are this picture's own.
    """
    near, far = depth_range(depth, opacity) if limits is None else limits
    share = ((depth.detach().float().cpu() - near) / max(far - near, 1e-12)).nan_to_num(0.0).clamp(0, 1)
    place = share * (len(DEPTH_COLORS) - 1)
    low = place.floor().long().clamp_max(len(DEPTH_COLORS) - 2)
    color = torch.lerp(DEPTH_COLORS[low], DEPTH_COLORS[low + 1], (place - low)[..., None])
    return color_picture(color / 255 * opacity.detach().float().cpu().clamp(0, 1)[..., None])


def normal_picture(normal: Float[Tensor, "h w 3"], opacity: Float[Tensor, "h w"]) -> UInt8[Tensor, "h w 3"]:
    """World normals as (n + 1) / 2: +x reddish, +y greenish, +z bluish; fades to black with the opacity."""
    return color_picture((0.5 * normal + 0.5) * opacity.clamp(0, 1)[..., None])


def contact_sheet(pictures: Sequence[UInt8[Tensor, "_ _ 3"]], columns: int, gap: int = 4) -> UInt8[Tensor, "h w 3"]:
    """Pictures on white, row after row, each in the upper left corner of a cell as large as the largest."""
    if not pictures or columns < 1:
        raise InputError("A contact sheet needs at least one picture and one column.")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = torch.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=torch.uint8)
    for index, picture in enumerate(pictures):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture.cpu()
    return sheet


def write_picture(path: Path | str, picture: UInt8[Tensor, "h w 3"] | UInt8[Tensor, "h w 4"]) -> None:
    """Write a PNG, whole or not at all; a fourth channel is straight alpha.

    Raises InputError for another suffix or a folder that cannot be written.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path} does not end in .png, the only format that pictures are written in: rename it.")
    with whole_file(path) as temporary:
        Image.fromarray(picture.cpu().numpy()).save(temporary, format="PNG")
