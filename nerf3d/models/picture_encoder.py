"""A picture of an object, from wherever, becomes the object's code: the semantic encoder of a diffusion autoencoder.

Preechakul et al., "Diffusion Autoencoders" (2022), whose code comes from a picture and moves along straight lines when an
attribute changes. Here the decoder is not a diffusion but a radiance field, so that the code has to hold the object and
not the view. The network is the critic's own: residual blocks down to 4 x 4, one layer, and then the code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.models.critic import CriticBlock, EqualizedConvolution
from nerf3d.models.style import COARSEST, EqualizedLinear, activate


@dataclass(frozen=True)
class PictureEncoderConfig:
    """The defaults read pictures of 32 x 32."""

    channels: tuple[int, ...] = (128, 128, 64, 32)
    """Of the features at 4 x 4, 8 x 8 and so on: as many as the pictures' resolution takes."""
    picture_channels: int = 4
    """Colours over black (premultiplied) and opacity."""
    code: int = 128

    @property
    def resolution(self) -> int:
        """Rows and columns of a picture.

        >>> PictureEncoderConfig().resolution
        32
        """
        return COARSEST * 2 ** (len(self.channels) - 1)

    def build(self, rng: torch.Generator) -> "PictureEncoder":
        """Raises InputError for a network without layers or channels."""
        if not self.channels or min(*self.channels, self.picture_channels, self.code) < 1:
            raise InputError("a picture's encoder needs every number of channels and the code to be at least 1")
        return PictureEncoder(self, rng)


class PictureEncoder(nn.Module):
    """`encoder(pictures)` are codes."""

    def __init__(self, config: PictureEncoderConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        down = config.channels[::-1]
        self.from_picture = EqualizedConvolution(config.picture_channels, down[0], 1, rng)
        self.blocks = nn.ModuleList([CriticBlock(i, o, rng) for i, o in zip(down, down[1:])])
        self.hidden_layer = EqualizedLinear(config.channels[0] * COARSEST**2, config.channels[0], rng)
        self.last_layer = EqualizedLinear(config.channels[0], config.code, rng)

    def forward(self, pictures: Float[Tensor, "b h w c"]) -> Float[Tensor, "b code"]:
        """Pictures in [0, 1]. Raises InputError for those of another size or number of channels."""
        side = self.config.resolution
        if pictures.shape[1:] != (side, side, self.config.picture_channels):
            height, width, channels = pictures.shape[1:]
            raise InputError(
                f"the pictures are {height} x {width} with {channels} channels, but this encoder reads {side} x {side} "
                f"with {self.config.picture_channels}; resize them to that"
            )
        x = activate(self.from_picture(2 * pictures.permute(0, 3, 1, 2) - 1))
        for block in self.blocks:
            x = block(x)
        return self.last_layer(activate(self.hidden_layer(x.flatten(1))))
