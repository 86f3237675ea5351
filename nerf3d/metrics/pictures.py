"""How near a picture comes to a photograph: PSNR, SSIM, and LPIPS where its weights are at hand.

All take pictures (height, width, channels) with values in [0, 1], in the same encoding (sRGB in all published tables),
over the same background. State both with the figure: one checkpoint gives 36 dB over black and 30 over white.
"""

import importlib.util
import math
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.errors import InputError

WINDOW = 11  # pixels

# What torchvision would download: the backbone of each kind. `lpips` brings only the small layers on top along.
BACKBONES = {"vgg": "vgg16-397923af.pth", "alex": "alexnet-owt-7be5be79.pth"}


def psnr(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"], mask: Bool[Tensor, "h w"] | None = None) -> float:
    """Peak signal-to-noise ratio in dB: -10 log10 of the mean squared error, over the pixels where the mask is True.

    Infinity for identical pictures: JSON has no such number, so whoever writes it there must say what stands for it.
    A constant difference of 0.1 gives 20 dB. Raises InputError for a mask without any pixel.
    """
    if mask is not None:
        if not bool(mask.any()):
            raise InputError("The mask leaves no pixel to compare.")
        a, b = a[mask], b[mask]
    error = float((a.double() - b.double()).square().mean())
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(a: Float[Tensor, "h w c"], b: Float[Tensor, "h w c"]) -> float:
    """Structural similarity, 1 for identical pictures (Wang et al. 2004): the mean over channels and whole windows.

    An 11 x 11 Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, data range 1, as in the paper. A picture with less
    than 11 pixels on a side is continued by its mirror image until one window fits.
    """
    from skimage.metrics import structural_similarity

    x, y = (_at_least_a_window(p.detach().double().cpu().numpy()) for p in (a, b))
    return float(
        structural_similarity(
            x, y, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _at_least_a_window(picture: np.ndarray) -> np.ndarray:
    missing = [max(0, WINDOW - side) for side in picture.shape[:2]]
    return np.pad(picture, [*((m // 2, m - m // 2) for m in missing), (0, 0)], mode="symmetric")


def lpips_available(net: str = "vgg") -> tuple[bool, str]:
    """Whether LPIPS can be computed without any download, and a sentence that says why or why not.

    Looks for the packages and for the backbone's weights in torch's hub folder (TORCH_HOME); loads nothing.
    """
    if net not in BACKBONES:
        raise InputError(f"LPIPS has no backbone {net!r}: choose one of {', '.join(BACKBONES)}.")
    missing = [name for name in ("lpips", "torchvision", "tqdm") if importlib.util.find_spec(name) is None]
    if missing:
        return False, f"LPIPS needs the Python packages {' and '.join(missing)}: `nerf3d doctor` says how to install."
    weights = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONES[net]
    if not weights.is_file():
        return False, (
            f"LPIPS needs the weights {weights}, and nothing is downloaded unasked: fetch "
            f"https://download.pytorch.org/models/{BACKBONES[net]} and put it there."
        )
    return True, f"LPIPS is computed with the {net} backbone from {weights}."


def lpips(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], net: str = "vgg") -> float | None:
    """Learned perceptual distance (Zhang et al. 2018, version 0.1), 0 for identical pictures; None where it is not
    available.

    The published tables of radiance fields use the VGG backbone.
    """
    if not lpips_available(net)[0]:
        return None
    with torch.no_grad():
        return float(perceptual(a.detach().float().cpu(), b.detach().float().cpu(), net))


def perceptual(a: Float[Tensor, "h w 3"], b: Float[Tensor, "h w 3"], net: str = "vgg") -> Float[Tensor, ""]:
    """The same with a gradient, on the CPU; only where it is available."""
    x, y = (2 * p.permute(2, 0, 1)[None] - 1 for p in (a, b))
    return _judge(net)(x, y).reshape(())


@cache
def _judge(net: str) -> torch.nn.Module:
    """The network; only after `lpips_available`, because torchvision downloads what it does not find."""
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by an outdated name
        return LPIPS(net=net, verbose=False).eval().requires_grad_(False)
