"""The literature's figures for generated pictures, where Inception's weights are at hand: part of `nerf3d gen eval`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.metrics import sets
from nerf3d.metrics.inception import Inception

Pictures = Float[Tensor, "n h w 3"]


@dataclass(frozen=True)
class InceptionFigures:
    """FID, KID and IS of as many pictures as were drawn, which is far fewer than the 50,000 of published figures: `floor` is
    the FID of real pictures from as many real ones, `score_real` the IS of those.
    """

    weights: str
    fid: float
    floor: float
    kid: float
    score: float
    score_real: float


@torch.no_grad()
def inception_figures(weights: Path, drawn: Pictures, real: Pictures, other: Pictures) -> InceptionFigures:
    """Of drawn pictures against `other` real ones. Raises InputError for a file that holds no such weights."""
    network = Inception.open(weights)
    seen, truth, truth2 = (network.see(pictures) for pictures in (drawn, real, other))
    return InceptionFigures(
        weights.name,
        fid=sets.frechet_distance(seen.features, truth2.features),
        floor=sets.frechet_distance(truth.features, truth2.features),
        kid=sets.kernel_distance(seen.features, truth2.features),
        score=sets.inception_score(seen.classes),
        score_real=sets.inception_score(truth.classes),
    )
