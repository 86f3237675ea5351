"""The torso: a picture that the head's pose moves, in front of the background and behind the head.

RAD-NeRF (Tang et al., 2022, section 3.3), in two dimensions, since next to nothing of a torso is ever seen from its side.
With the pixel p and the pose q, both frequency-encoded, and features g of a grid over the picture,

    moved = p - s + deformation network([enc(p), enc(q)])
    rgba  = sigmoid(color network([g(moved), enc(q)]))        color premultiplied by alpha

q is the head's pose (6 numbers) and s, where the torso stands (2): the paper's torso follows the head alone, and is off by a
pixel of 256 where a person moves the shoulders. s is how far it is from its usual place, where the frame is -1 to 1.

A picture is small enough for grids that are stored whole, level by level: nothing is hashed and nothing collides.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.fields.common import network
from nerf3d.fields.encodings import frequency
from nerf3d.fields.interpolate import bilinear_lookup
from nerf3d.kernels.mlp import mlp
from nerf3d.models.folding import fold_constant

POSE, PLACE = 8, 2
"""Numbers of q, of which the last are s."""
SPREADS = 3.0
"""How many standard deviations of the training poses the pose's encoding covers; a pose beyond is taken as its border."""
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class TorsoConfig:
    """The grid's levels, from `coarsest` to `finest` points a side, `features` each; octaves, widths, hidden layers.

    The grid covers pixels from -`reach` to `reach`, where the frame is -1 to 1, so that what a motion brings into the
    frame has a place.
    """

    levels: int = 6
    features: int = 4
    coarsest: int = 16
    finest: int = 256
    reach: float = 1.25
    pixel_octaves: int = 6
    pose_octaves: int = 2
    width: int = 32
    hidden_layers: int = 2

    def build(self, poses: Float[Tensor, "frames 8"], rng: torch.Generator) -> "Torso":
        """A torso for poses like these, those of the training frames: the head's in any units, and where the torso stands.

        Raises InputError if there are none or if they are not finite.
        """
        if len(poses) == 0 or not bool(torch.isfinite(poses).all()):
            raise InputError("the torso needs the head's pose in every training frame; leave out frames without one")
        return Torso(self, poses, rng)


class Torso(nn.Module):
    """`torso(pose)` is a picture: pixels (x to the right, y down, the frame -1 to 1) to premultiplied rgba in [0, 1]."""

    pose_mean: Tensor
    pose_spread: Tensor

    def __init__(self, config: TorsoConfig, poses: Float[Tensor, "frames 8"], rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("pose_mean", poses.mean(0))
        self.register_buffer("pose_spread", poses.std(0, correction=0).clamp_min(LEAST_SPREAD))
        growth = (config.finest / config.coarsest) ** (1 / max(config.levels - 1, 1))
        sides = [round(config.coarsest * growth**level) for level in range(config.levels)]
        grids = [torch.empty(1, side, side, config.features) for side in sides]
        self.grids = nn.ParameterList([nn.Parameter(g.uniform_(-1e-4, 1e-4, generator=rng)) for g in grids])
        pixel, pose = 2 * (2 * config.pixel_octaves + 1), POSE * (2 * config.pose_octaves + 1)
        hidden = [config.width] * config.hidden_layers
        self.deformation_network = network([pixel + pose, *hidden, 2], rng)
        with torch.no_grad():
            self.deformation_network[-1].mul_(0.01)  # at first the picture stays in its place
        self.color_network = network([config.levels * config.features + pose, *hidden, 4], rng)

    def networks(self) -> list[nn.Parameter]:
        """What learns more slowly than the grid."""
        return [*self.deformation_network, *self.color_network]

    def forward(self, pose: Float[Tensor, "8"]) -> "TorsoPicture":
        return TorsoPicture(self, pose)

    def encode_pose(self, pose: Float[Tensor, "8"]) -> Float[Tensor, "e"]:
        """Deviations from the mean pose, cut at three standard deviations, which are 1, and their frequencies."""
        deviation = (pose - self.pose_mean) / (SPREADS * self.pose_spread)
        return frequency(deviation.clamp(-1, 1), self.config.pose_octaves)

    def move(self, pixels: Float[Tensor, "n 2"], pose: Float[Tensor, "8"]) -> Float[Tensor, "n 2"]:
        """The place in the picture at rest that is seen at these pixels."""
        encoded = frequency(pixels, self.config.pixel_octaves)
        return pixels - pose[-PLACE:] + _conditioned(encoded, self.encode_pose(pose), self.deformation_network)

    def paint(self, places: Float[Tensor, "n 2"], pose: Float[Tensor, "8"]) -> Float[Tensor, "n 4"]:
        """Premultiplied rgba at places of the picture at rest, as the pose tints it."""
        unit = 0.5 + 0.5 * places / self.config.reach
        features = torch.cat([bilinear_lookup(grid, unit[None])[0] for grid in self.grids], -1)
        rgba = torch.sigmoid(_conditioned(features, self.encode_pose(pose), self.color_network))
        color, alpha = rgba.split([3, 1], -1)
        return torch.cat([color * alpha, alpha], -1)


@dataclass(frozen=True)
class TorsoPicture:
    """A torso at one moment: a picture that can be asked at any pixel, within the frame and beyond it."""

    torso: Torso
    pose: Float[Tensor, "8"]

    def __call__(self, pixels: Float[Tensor, "n 2"]) -> Float[Tensor, "n 4"]:
        return self.torso.paint(self.torso.move(pixels, self.pose), self.pose)


def over(front: Float[Tensor, "n 4"], behind: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """A premultiplied picture in front of another: c + (1 - alpha) b (Porter and Duff 1984, table 1).

    >>> over(torch.tensor([[0.5, 0.0, 0.0, 0.5]]), torch.tensor([[0.0, 1.0, 0.0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    return front[:, :3] + (1 - front[:, 3:]) * behind


def _conditioned(
    x: Float[Tensor, "n i"], constant: Float[Tensor, "c"], layers: nn.ParameterList
) -> Float[Tensor, "n o"]:
    """The network at [x, constant]."""
    first, *rest = layers
    inputs = torch.cat([x.t(), x.new_ones(1, len(x))]).t()
    return mlp(inputs, [fold_constant(first, constant), *rest])
