"""How near a film of a talking head comes to the true one: its landmarks, its blinks, and parts of its pictures.

Landmarks are (frames, points, 2 or 3): x to the right and y down, in pixels; z is not looked at. NaN where no face was
found. Pixels are those of the film that is measured, so figures of films of different sizes do not compare, nor do those of
landmarks that another detector found. Boxes are x, y, width, height. `metrics.lips` compares the mouth with the sound.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.pictures import psnr

Box = tuple[int, int, int, int]
"""x, y, width, height in whole pixels."""
NEAR = 3
"""Frames by which a blink may miss the true one."""


def landmark_distance(
    a: Float[Tensor, "n points axes"], b: Float[Tensor, "n points axes"], indices: Sequence[int]
) -> float:
    """LMD (Chen et al., 2018, "Lip movements generation at a glance"): the mean distance of some landmarks, in pixels.

    From every frame's landmarks `indices` (the mouth's) their own mean is taken off first, so that only their shape counts:
    where the head is does not, how large it is does. The mean is over landmarks, then over frames in which both were found.
    0 is perfect. Raises InputError where there is no such frame.

    >>> a = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]])  # a mouth open by 2 pixels, and by 4 somewhere else
    >>> landmark_distance(a, torch.tensor([[[9.0, 5.0], [9.0, 9.0]]]), [0, 1])
    1.0
    """
    x, y = _chosen(a, indices), _chosen(b, indices)
    apart = ((x - x.mean(1, keepdim=True)) - (y - y.mean(1, keepdim=True))).norm(dim=-1).mean(1)
    seen = apart.isfinite()
    if not bool(seen.any()):
        raise InputError("There is no frame in which a face was found in both films, so landmarks cannot be compared.")
    return float(apart[seen].mean())


def jitter(points: Float[Tensor, "n points axes"], indices: Sequence[int]) -> float:
    """How much some landmarks (of the rigid head) tremble: the deviation, in pixels, of noise that would shake them so.

        jitter^2 = mean of (p(t-1) - 2 p(t) + p(t+1))^2 / 6    over frames t, landmarks, x and y

    This is the estimate of noise around a smooth curve by Gasser, Sroka and Jennen-Steinmetz (1986, "Residual variance and
    residual pattern in nonlinear regression"): steady motion has no second difference, and that of independent noise of
    deviation s has the variance 6 s^2, so that the jitter is s, at any frame rate. 0 for a head that stands still or moves
    evenly. True motion shows but little: a head that nods by A pixels either way at f Hz has about 8 A (f / fps)^2, which is
    0.13 pixels for 10 at 1 Hz and 25 frames a second. Compare with the true film of the same poses.

    Frames count whose neighbours were found too. Raises InputError where there are none.

    >>> still, there_and_back = torch.zeros(4, 1, 2), torch.tensor([0.0, 3, 0, 3]).reshape(4, 1, 1).expand(4, 1, 2)
    >>> jitter(still, [0]), round(jitter(there_and_back, [0]), 3)  # second differences of 6: 6 / sqrt(6)
    (0.0, 2.449)
    """
    p = _chosen(points, indices)
    second = p[:-2] - 2 * p[1:-1] + p[2:]
    second = second[second.isfinite().all(-1).all(-1)]
    if len(second) == 0:
        raise InputError("No face was found in three frames in a row, so its jitter cannot be measured.")
    return math.sqrt(float(second.square().mean()) / 6)


def blink_recall(found: Bool[Tensor, "n"], true: Bool[Tensor, "n"]) -> tuple[float | None, float | None]:
    """Recall and precision of blinks: the share of the true ones that the film has, and of the film's that are true.

    Both say for each frame whether the eyes are more shut than open. A blink is a run of such frames; two blinks are the
    same if they overlap once either is lengthened by 3 frames on both sides. None where there is no blink to be right about.
    Eyes that never open are one long blink, the same as all: look at the precision and at the film.

    >>> true = torch.tensor([0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0]).bool()
    >>> blink_recall(torch.tensor([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).bool(), true)
    (0.5, 1.0)
    """
    ours, theirs = _runs(found), _runs(true)
    same = [[a <= d + NEAR and c <= b + NEAR for a, b in ours] for c, d in theirs]
    recall = sum(any(row) for row in same) / len(theirs) if theirs else None
    precision = sum(any(column) for column in zip(*same, strict=True)) / len(ours) if ours else None
    return recall, precision


def head_box(landmarks: tuple[float, float, float, float], height: int, width: int) -> Box:
    """The box of a whole head from that of its landmarks, in a picture of `height` x `width`.

    It is half as high again, all of that above, where landmarks end before the hair begins; as wide as they are. Then whole
    pixels outwards, then cut off at the picture's borders. Raises InputError where nothing of it is in the picture.

    >>> head_box((100.0, 120.0, 80.0, 100.0), 256, 256)
    (100, 70, 80, 150)
    """
    x, y, w, h = landmarks
    if not all(map(math.isfinite, landmarks)):
        raise InputError(f"The landmarks' box is {landmarks}: leave out frames in which no face was found.")
    left, right = max(math.floor(x), 0), min(math.ceil(x + w), width)
    top, bottom = max(math.floor(y - h / 2), 0), min(math.ceil(y + h), height)
    if left >= right or top >= bottom:
        raise InputError(f"The landmarks' box {landmarks} lies outside of the picture of {width} x {height} pixels.")
    return left, top, right - left, bottom - top


def box_mask(box: Box, height: int, width: int) -> Bool[Tensor, "h w"]:
    """True inside of a box, as far as it lies in the picture of `height` x `width`."""
    x, y, w, h = box
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
    return mask


def masked_psnr(
    picture: Float[Tensor, "h w c"], truth: Float[Tensor, "h w c"], where: Box | Bool[Tensor, "h w"]
) -> float:
    """PSNR in dB over the pixels of a box or of a mask alone: see `metrics.pictures.psnr`.

    Raises InputError where there is none. For the SSIM of a box, which needs whole windows, cut both pictures out.
    """
    return psnr(picture, truth, _mask(where, truth))


def pasted(
    picture: Float[Tensor, "h w c"], truth: Float[Tensor, "h w c"], inside: Box | Bool[Tensor, "h w"]
) -> Float[Tensor, "h w c"]:
    """The picture inside of a box or mask, the truth elsewhere: what most published tables of heads are computed on.

    A head that covers the share q of the picture then has a PSNR of -10 log10(q) dB more than it has by itself.
    """
    return torch.where(_mask(inside, truth)[..., None], picture, truth)


def _mask(where: Box | Tensor, picture: Tensor) -> Tensor:
    mask = where if isinstance(where, Tensor) else box_mask(where, picture.shape[0], picture.shape[1])
    return mask.to(picture.device)


def _chosen(points: Tensor, indices: Sequence[int]) -> Tensor:
    return points[:, list(indices), :2].double()


def _runs(shut: Bool[Tensor, "n"]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edge = torch.nn.functional.pad(shut.int(), (1, 1)).diff()
    return list(zip((edge == 1).nonzero()[:, 0].tolist(), ((edge == -1).nonzero()[:, 0] - 1).tolist(), strict=True))
