"""A generative radiance field: a random code becomes three planes, and the planes are a field.

EG3D (Chan et al., 2022, section 3.2): StyleGAN2's mapping network and backbone, whose picture of 3 C channels is taken as
three planes of C, and a light decoder (see `fields.triplane`).

    w     = mapping(z, condition)        one code for all layers; or one per layer ("w+"), as inversion finds them
    scene = generator(w)                 a `core.Field`

The condition holds the camera's pose, the class or the caption's embedding, one behind the other. Told the pose from which
it will be seen, a generator can keep apart how a collection was photographed and what its objects look like (smiles that
face the camera); told always the right one, it turns the scene with the camera. Hence `swap_poses` in training, and one
fixed pose when the scene is looked at from several sides (section 3.4).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane, TriPlaneDecoder
from nerf3d.models.style import COARSEST, MappingNetwork, Synthesis


@dataclass(frozen=True)
class TriPlaneGeneratorConfig:
    """The defaults are EG3D's for FFHQ: planes of 256 x 256 with 32 features each."""

    z: int = 512
    w: int = 512
    mapping_layers: int = 2
    mapping_rate: float = 0.01
    """How fast the mapping network learns, as a share of the others' speed."""
    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128)
    """Of the backbone at 4 x 4, 8 x 8 and so on: as many as the planes' resolution takes."""
    plane_features: int = 32
    decoder_width: int = 64
    styled_decoder: bool = False
    """Whether the code also bends the network that reads the planes. EG3D's does not; small ones keep their colours so."""
    color_channels: int = 32
    """What the field answers beside the density: 3 are colors, the others features for an upsampler."""
    pose: int = 25
    """Numbers in the pose that the generator is told, 0 for none; EG3D: a 4 x 4 camera-to-world and 3 x 3 intrinsics."""
    label: int = 0
    """Numbers in the class (one of them 1) or in the caption's embedding; 0 for none."""
    noise: bool = True
    """Whether the backbone learns how much noise it wants; where no rng is given there is none."""

    @property
    def plane_resolution(self) -> int:
        """Rows and columns of a plane.

        >>> TriPlaneGeneratorConfig().plane_resolution
        256
        """
        return COARSEST * 2 ** (len(self.channels) - 1)

    def build(self, box: Space, rng: torch.Generator) -> "TriPlaneGenerator":
        """A generator of scenes inside of `box`. Raises InputError for a network without layers or channels."""
        positive = (self.z, self.w, self.mapping_layers, self.plane_features, self.decoder_width, *self.channels)
        if not self.channels or min(positive) < 1 or min(self.pose, self.label) < 0:
            raise InputError(
                "a generator needs z, w, mapping_layers, plane_features, decoder_width and every number of channels to "
                "be at least 1, and pose and label not to be negative"
            )
        return TriPlaneGenerator(self, box, rng)


class TriPlaneGenerator(nn.Module):
    """`generator(w)` is a field. `mapping(z, condition)` makes w, `mapping.truncate` draws it towards the usual."""

    def __init__(self, config: TriPlaneGeneratorConfig, box: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        condition = config.pose + config.label
        self.mapping = MappingNetwork(config.z, condition, config.w, config.mapping_layers, rng, config.mapping_rate)
        self.synthesis = Synthesis(config.channels, 3 * config.plane_features, config.w, config.noise, rng)
        style = config.w if config.styled_decoder else 0
        self.decoder = TriPlaneDecoder(
            box, config.plane_features, config.decoder_width, config.color_channels, rng, style=style
        )

    @property
    def layers(self) -> int:
        """How many codes a scene's w+ has."""
        return self.synthesis.layers

    def forward(
        self, w: Float[Tensor, "w"] | Float[Tensor, "layers w"], rng: torch.Generator | None = None
    ) -> TriPlane:
        """The scene of one code, or of one code per layer."""
        return self.fields(w[None], rng)[0]

    def fields(
        self, w: Float[Tensor, "b w"] | Float[Tensor, "b layers w"], rng: torch.Generator | None = None
    ) -> list[TriPlane]:
        """The scenes of many codes at once; what bends the decoder, where anything does, is the last layer's code."""
        styles = (w if w.dim() == 2 else w[:, -1]) if self.config.styled_decoder else [None] * len(w)
        return [self.decoder(each, style) for each, style in zip(self.planes(w, rng), styles, strict=True)]

    def planes(
        self, w: Float[Tensor, "b w"] | Float[Tensor, "b layers w"], rng: torch.Generator | None = None
    ) -> Float[Tensor, "b 3 c r r"]:
        """The planes XY, XZ, YZ of many scenes at once; `decoder(planes[i])` is the field of one.

        `rng` draws the backbone's noise. Raises InputError for codes of another model.
        """
        codes = w[:, None].expand(-1, self.layers, -1) if w.dim() == 2 else w
        if codes.shape[1:] != (self.layers, self.config.w):
            raise InputError(
                f"a scene's codes are {codes.shape[1]} x {codes.shape[2]} numbers, but this generator takes "
                f"{self.layers} x {self.config.w}; use codes that were made with this model"
            )
        return self.synthesis(codes, rng).unflatten(1, (3, -1))


def swap_poses(
    poses: Float[Tensor, "b p"], probability: float, rng: torch.Generator | None = None
) -> Float[Tensor, "b p"]:
    """The poses that a generator is told: each, with some probability, is another one's of the batch.

    EG3D lets the probability fall from 1 to 0.5 over the first million pictures. Without `rng` nothing is swapped.

    >>> swap_poses(torch.tensor([[1.0], [2.0], [3.0]]), 1.0, torch.Generator())
    tensor([[3.],
            [1.],
            [2.]])
    """
    if rng is None:
        return poses
    swapped = torch.rand(len(poses), generator=rng, device=rng.device).to(poses.device) < probability
    return torch.where(swapped[:, None], poses.roll(1, 0), poses)
