"""What an avatar's pictures and codes should be like, beside their colours."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.core import Rays, Rendering
from nerf3d.models.head import TalkingHead
from nerf3d.render.distortion import distortion

BLINKS = 0.1
UNUSUAL = 3.0
"""Deviations from the mean beyond which a mouth is not looked at any more often."""
NOISE, LOUDER = 0.5, 0.3
"""Without these a code's guess of the mouth correlates 0.47 with the truth on a real clip after 1500 steps; with, 0.58."""
ATTENDED = 4096
"""Samples that are asked in a step how much of the sound they hear."""


def standardised(values: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Each column with mean 0 and deviation 1 over the rows that hold numbers; NaN stays NaN."""
    known = ~values.isnan()
    count = known.sum(0).clamp_min(1)
    mean = values.nan_to_num(0.0).sum(0) / count
    off = torch.where(known, values - mean, 0.0)
    return (values - mean) / (off.square().sum(0) / count).sqrt().clamp_min(1e-6)


def mouth(guess: Float[Tensor, "*n"], truth: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """The mean squared error of what is known; 0 where nothing is.

    >>> mouth(torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
    tensor(4.)
    """
    known = ~truth.isnan()
    return torch.where(known, guess - truth.nan_to_num(0.0), 0.0).square().sum() / known.sum().clamp_min(1)


def often(eye: Float[Tensor, "n"], mouth: Float[Tensor, "n c"]) -> Float[Tensor, "n"]:
    """How often each frame is looked at. A mouth that is two deviations from its mean, in opening or in width, is looked
    at three times as often as one at its mean: such mouths are rare. So are blinks: those together make up a tenth of all
    looks, or more where they already do.

    `mouth` is standardised. NaN is taken for the mean.

    >>> often(torch.tensor([1.0] * 18 + [0.2]), torch.zeros(19, 2))[-2:]
    tensor([1., 2.])
    >>> often(torch.ones(3), torch.tensor([[0.0], [2.0], [-1.0]]))
    tensor([1., 3., 2.])
    """
    looks = 1 + mouth.nan_to_num(0.0).abs().amax(-1).clamp_max(UNUSUAL)
    shut = eye < 0.5
    blinking = float(looks[shut].sum())
    more = BLINKS / (1 - BLINKS) * float(looks[~shut].sum()) / max(blinking, 1e-9)
    return torch.where(shut, max(more, 1.0) * looks, looks)


def disturbed(
    sound: Float[Tensor, "n neighbours 16 c"], spread: Float[Tensor, "c"], rng: torch.Generator
) -> Float[Tensor, "n neighbours 16 c"]:
    """Sound with noise, and louder or softer as a whole, in units of each channel's standard deviation."""
    noise = torch.randn(sound.shape, generator=rng, device=rng.device)
    louder = torch.randn(len(sound), 1, 1, 1, generator=rng, device=rng.device)
    return sound + (NOISE * noise + LOUDER * louder) * spread


def edges(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> Float[Tensor, ""]:
    """The mean absolute error of the differences between neighbours: blur costs where colours alone hardly see it."""
    off = picture - truth
    return off.diff(dim=0).abs().mean() + off.diff(dim=1).abs().mean()


def compact(out: Rendering, longest: float) -> Float[Tensor, ""]:
    """The distortion loss over distances in units of `longest` (Mip-NeRF 360, equation 15).

    A head seen from the front alone may as well be fog as deep as itself: slow to look at, and blurred when it turns.
    """
    samples = out.samples
    ends = (samples.start / longest, samples.end / longest)
    return distortion(*ends, out.weights, samples.ray, samples.offsets).mean()


def ambient(head: TalkingHead, rays: Rays, out: Rendering, elsewhere: Bool[Tensor, "rays"]) -> Float[Tensor, ""]:
    """How much of the sound arrives, on average, where it has nothing to move, as RAD-NeRF and ER-NeRF keep it small."""
    there = torch.nonzero(elsewhere[out.samples.ray])[:, 0]
    if len(there) == 0:
        return out.color.new_zeros(())
    some = there[:: max(len(there) // ATTENDED, 1)]
    return head.attention(out.samples.positions(rays)[some]).sound.abs().mean()
