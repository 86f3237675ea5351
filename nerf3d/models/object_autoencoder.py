"""An autoencoder of objects: one picture in, a code, and from the code a radiance field out.

The encoder is `picture_encoder`'s, the decoder EG3D's backbone and tri-planes with the code in the place of w: it bends
every layer of the backbone and the network that reads the planes. A convolutional decoder that takes the code at its
beginning only forgets it on the way: shapes come out well, and all of them are grey.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane, TriPlaneDecoder
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.models.style import COARSEST, Synthesis


@dataclass(frozen=True)
class ObjectAutoencoderConfig:
    """The defaults: pictures of 32 x 32, planes of 32 x 32 with 16 features each."""

    encoder: PictureEncoderConfig = PictureEncoderConfig()
    channels: tuple[int, ...] = (128, 96, 64, 32)
    """Of the backbone at 4 x 4, 8 x 8 and so on: as many as the planes' resolution takes."""
    plane_features: int = 16
    decoder_width: int = 32

    @property
    def plane_resolution(self) -> int:
        """Rows and columns of a plane.

        >>> ObjectAutoencoderConfig().plane_resolution
        32
        """
        return COARSEST * 2 ** (len(self.channels) - 1)

    def build(self, box: Space, rng: torch.Generator) -> "ObjectAutoencoder":
        """For objects inside of `box`. Raises InputError for a network without layers or channels."""
        if not self.channels or min(*self.channels, self.plane_features, self.decoder_width) < 1:
            raise InputError("an autoencoder needs every number of channels, features and its width to be at least 1")
        return ObjectAutoencoder(self, box, rng)


class ObjectAutoencoder(nn.Module):
    """`encoder(pictures)` are codes, `field(code)` is an object."""

    def __init__(self, config: ObjectAutoencoderConfig, box: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        code = config.encoder.code
        self.encoder = config.encoder.build(rng)
        self.synthesis = Synthesis(config.channels, 3 * config.plane_features, code, False, rng, from_code=True)
        self.decoder = TriPlaneDecoder(box, config.plane_features, config.decoder_width, 3, rng, style=code)

    def field(self, code: Float[Tensor, "code"]) -> TriPlane:
        """The object of one code."""
        return self.fields(code[None])[0]

    def fields(self, codes: Float[Tensor, "b code"]) -> list[TriPlane]:
        """The objects of many at once. Raises InputError for codes of another model."""
        if codes.shape[1] != self.config.encoder.code:
            raise InputError(
                f"a code is {codes.shape[1]} numbers, but this model takes {self.config.encoder.code}; use codes that were "
                "made with this model"
            )
        planes = self.synthesis(codes[:, None].expand(-1, self.synthesis.layers, -1)).unflatten(1, (3, -1))
        return [self.decoder(each, code) for each, code in zip(planes, codes, strict=True)]
