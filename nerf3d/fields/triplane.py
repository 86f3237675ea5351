"""Three planes of features in a box and a small network that reads them: EG3D's tri-plane.

Chan et al., "Efficient Geometry-aware 3D Generative Adversarial Networks" (EG3D, 2022), section 3.2. With P_XY, P_XZ, P_YZ
the planes, each looked up bilinearly, and sizes as in the appendix and the released code:

    f(x, y, z) = (P_XY(x, y) + P_XZ(x, z) + P_YZ(y, z)) / 3
    [s, c]     = W_2 softplus(g (W_1 f + b_1) + h) + b_2
    density    = softplus(s - 1)          per reference length of the box, 0 outside of it
    color      = sigmoid(c)               the first three channels are the color, the others features for an upsampler

Colors are a surface's own: they do not depend on the direction from which it is seen.

EG3D has no g and h: they are 1 and 0 unless the network is made for a style, of which they are linear functions (FiLM, Perez
et al. 2018). What holds for a whole object, as its colour does, then need not be written into every place of the planes.

What else differs: the paper sums the three lookups and its code takes their mean, as here; its code repeats XZ transposed in
the place of YZ; and it widens the sigmoid by 0.001 to each side (from mip-NeRF, so that black and white are reached by
finite numbers), which here would leave the range [0, 1] that every field keeps to.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.common import Region, linear
from nerf3d.fields.interpolate import bilinear_lookup

PLANES = ((0, 1), (0, 2), (1, 2))
"""XY, XZ, YZ: the first coordinate runs along a plane's columns, the second along its rows."""
DENSITY_SHIFT = -1.0
"""Added to the raw density: thin fog at the start, which neither hides everything nor lets everything through."""


def triplane_lookup(planes: Float[Tensor, "3 h w c"], u: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
    """The mean of what the planes XY, XZ, YZ hold at points of the unit cube; twice differentiable.

    The first and the last row and column lie on the cube's faces (grid_sample's align_corners=True).

    >>> planes = torch.zeros(3, 2, 2, 1)
    >>> planes[2, 1, :] = 30.0  # the plane YZ grows from 0 to 30 along its rows, which is along z
    >>> triplane_lookup(planes, torch.tensor([[0.9, 0.3, 0.5], [0.0, 0.0, 1.0]]))
    tensor([[ 5.],
            [10.]])
    """
    return bilinear_lookup(planes, torch.stack([u[:, plane] for plane in PLANES])).mean(0)


class TriPlaneDecoder(nn.Module):
    """The network that all scenes share. `decoder(planes)` is the field of one of them."""

    def __init__(
        self, space: Space, features: int, width: int, channels: int, rng: torch.Generator, style: int = 0
    ) -> None:
        """Reads `features` numbers per point through a hidden layer of `width`, which a style of so many numbers bends (0:
        none does); answers with `channels` >= 3.
        """
        super().__init__()
        if channels < 3:
            raise InputError(f"a tri-plane's colors need at least 3 channels (red, green, blue), not {channels}")
        self.features = features
        self.region = Region(space)
        self.hidden_layer = linear(features, width, rng)
        self.last_layer = linear(width, 1 + channels, rng)
        self.style_layer = linear(style, 2 * width, rng) if style else None

    def forward(self, planes: Float[Tensor, "3 c h w"], style: Float[Tensor, "s"] | None = None) -> "TriPlane":
        """The field that these planes are. Raises InputError if they, or the style, hold another number of features."""
        if planes.shape[1] != self.features:
            raise InputError(
                f"the planes hold {planes.shape[1]} features, but this decoder reads {self.features}; give it planes "
                "of the generator that it was trained with"
            )
        wanted = self.style_layer.in_features if self.style_layer is not None else 0
        if wanted != (0 if style is None else len(style)):
            raise InputError(f"this decoder reads a style of {wanted} numbers; give it that of its own model")
        bend = self.style_layer(style) if self.style_layer is not None and style is not None else None
        # The lookup reads a grid point's features in one piece: put them last, once for all points.
        return TriPlane(self, planes.permute(0, 2, 3, 1).contiguous(), bend)

    def decode(self, features: Float[Tensor, "n c"], bend: Float[Tensor, "two_width"] | None) -> Float[Tensor, "n o"]:
        """Raw density in the first column, raw colors and features in the others; `bend` holds g - 1 and h."""
        hidden = self.hidden_layer(features)
        if bend is not None:
            gain, shift = bend.chunk(2)
            hidden = hidden * (1 + gain) + shift
        return self.last_layer(F.softplus(hidden))

    def density(self, raw: Float[Tensor, "n o"], x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.region.density(F.softplus(raw[:, 0] + DENSITY_SHIFT), x)


@dataclass(frozen=True)
class TriPlane:
    """A `core.Field`: one scene, its planes in the order XY, XZ, YZ with the features last, and how its style bends the
    decoder.
    """

    decoder: TriPlaneDecoder
    planes: Float[Tensor, "3 h w c"]
    bend: Float[Tensor, "two_width"] | None = None

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.decoder.density(self._raw(x), x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        raw = self._raw(x)
        return Radiance(self.decoder.density(raw, x), torch.sigmoid(raw[:, 1:]))

    def _raw(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n o"]:
        return self.decoder.decode(triplane_lookup(self.planes, self.decoder.region.to_unit(x)), self.bend)
