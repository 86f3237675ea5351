"""Super-resolution: features that a field rendered at a low resolution become a larger picture.

Chan et al., "Efficient Geometry-aware 3D Generative Adversarial Networks" (EG3D, 2022), section 3.3: two blocks of
StyleGAN2's synthesis (see `style`) with the w of the backbone's last layer throughout, and without noise, which would
flicker when the camera moves. Each block is

    x       = convolution(convolution(x, w), w)            the first doubles the size, where the block does
    picture = upsample(picture) + to_picture(x, w)

and begins with x all features and picture the first three of them, the raw picture, resized to what the network was
made for. As the raw picture goes into the sum, the network only adds what is missing in it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.models.style import StyledConvolution, ToPicture, upsample


@dataclass(frozen=True)
class SuperResolutionConfig:
    """The defaults are EG3D's for pictures of 512 x 512."""

    raw: int = 128
    """Rows and columns that the features are resized to."""
    channels: tuple[int, ...] = (256, 128)
    """Of each block."""
    doubled: tuple[bool, ...] = (True, True)
    """Whether each block doubles the size."""

    @property
    def resolution(self) -> int:
        """Rows and columns of a finished picture.

        >>> SuperResolutionConfig().resolution
        512
        """
        return self.raw * 2 ** sum(self.doubled)

    def build(self, features: int, w: int, rng: torch.Generator) -> "SuperResolution":
        """For pictures of so many features and codes of `w` numbers. Raises InputError for blocks that are half there."""
        if not self.channels or len(self.channels) != len(self.doubled) or min(*self.channels, self.raw) < 1:
            raise InputError(
                "super-resolution needs for every block its channels, at least 1, and whether it is doubled, and raw to be "
                "at least 1"
            )
        if features < 3:
            raise InputError(f"super-resolution begins with red, green and blue, and {features} channels hold less")
        return SuperResolution(self, features, w, rng)


class SuperResolution(nn.Module):
    """`enlarge(features, w)` are pictures."""

    def __init__(self, config: SuperResolutionConfig, features: int, w: int, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        sizes = list(zip((features, *config.channels), config.channels, config.doubled))
        self.first = nn.ModuleList([StyledConvolution(i, o, w, up, False, rng) for i, o, up in sizes])
        self.second = nn.ModuleList([StyledConvolution(o, o, w, False, False, rng) for _, o, _ in sizes])
        self.to_picture = nn.ModuleList([ToPicture(o, 3, w, rng) for _, o, _ in sizes])

    def forward(self, features: Float[Tensor, "b h w c"], w: Float[Tensor, "b d"]) -> Float[Tensor, "b r r 3"]:
        """Features in [0, 1], the first three of them the raw picture, to pictures about within [0, 1]."""
        x = 2 * features.permute(0, 3, 1, 2) - 1
        raw = self.config.raw
        if x.shape[2:] != (raw, raw):
            x = F.interpolate(x, size=(raw, raw), mode="bilinear", align_corners=False, antialias=True)
        picture = x[:, :3]
        for index, doubled in enumerate(self.config.doubled):
            x = self.second[index](self.first[index](x, w, None), w, None)
            picture = (upsample(picture) if doubled else picture) + self.to_picture[index](x, w)
        return 0.5 * (picture.permute(0, 2, 3, 1) + 1)
