"""Classifier-free guidance, whose convention exists here and nowhere else.

    eps = uncond + scale * (text - uncond)                (Ho & Salimans 2022, equation 6 with 1 + w = scale)

So scale 0 ignores the prompt, 1 is the plain conditional model, and recipes that write text + s (text - uncond) mean
scale = s + 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.guidance.denoiser import Denoiser
from nerf3d.guidance.perp_neg import Against, perpendicular
from nerf3d.guidance.text import Text, join


@dataclass(frozen=True)
class Conditions:
    """What a batch of pictures should show, a prompt each; what they should not; and Perp-Neg's views, if any."""

    text: Text
    negative: Text
    against: Against | None = None


PromptsByCamera = Callable[[Cameras], Conditions]
"""Every judge asks for its prompts by the cameras that made the pictures; see prompts.py."""


@dataclass(frozen=True)
class Estimates:
    """Estimates of the noise: for the prompts, for the negative (or empty) prompts, and guided from these to those."""

    text: Float[Tensor, "b c h w"]
    negative: Float[Tensor, "b c h w"]
    guided: Float[Tensor, "b c h w"]


def guide(text: Float[Tensor, "*b"], uncond: Float[Tensor, "*b"], scale: float) -> Float[Tensor, "*b"]:
    """Classifier-free guidance.

    >>> guide(torch.tensor([3.0]), torch.tensor([1.0]), scale=7.5).item()
    16.0
    """
    return uncond + scale * (text - uncond)


def rescale(guided: Float[Tensor, "b c h w"], text: Float[Tensor, "b c h w"], phi: float) -> Float[Tensor, "b c h w"]:
    """Guided estimates brought back to the spread of those for the prompt (Lin et al. 2023, equations 15 and 16).

    phi = 0 changes nothing, phi = 1 gives every picture's estimate the standard deviation that it had unguided.
    """
    if phi == 0:
        return guided
    spread = text.flatten(1).std(1) / guided.flatten(1).std(1).clamp_min(1e-12)
    return guided * (phi * spread + 1 - phi)[:, None, None, None]


@torch.no_grad()
def estimate(
    denoiser: Denoiser,
    latents_t: Float[Tensor, "b c h w"],
    t: Int64[Tensor, "b"],
    conditions: Conditions,
    scale: float,
) -> Estimates:
    """Ask the teacher once about a whole batch: every picture with its prompt, its negative prompt and Perp-Neg's views."""
    parts = [conditions.text, conditions.negative]
    everyone = torch.arange(len(t), device=t.device)
    rows = [everyone, everyone]
    against = conditions.against
    if against is not None:
        parts.append(against.text)
        rows.append(against.row)
    row = torch.cat(rows)
    predicted = denoiser.predict(latents_t[row], t[row], join(*parts))
    text, negative, views = predicted.tensor_split([len(t), 2 * len(t)])
    if against is None:
        return Estimates(text, negative, guide(text, negative, scale))
    toward = (text - negative) + perpendicular(text - negative, views - negative[against.row], against)
    return Estimates(text, negative, guide(negative + toward, negative, scale))
