"""An autoencoder of objects by tokens: one picture in, one token for each part of the box, and from them a radiance field.

The box is cut into cells, each with its own latent vector, which is exchanged for an entry of a codebook (`codebook`). It is
AutoSDF's arrangement (Mittal et al., 2022: a token for each cell of a grid, decoded jointly), so that half of the tokens is
half of the object; but what is encoded is a picture, and what comes out are three planes. With v_xyz the latents:

    style  = (v_111, v_211, ...)                                  what holds for the whole object, such as its colour
    map    = A_XY (v_xy1, v_xy2, ...) + A_XZ (v_x1z, ...) + A_YZ (v_1yz, ...)   each cell where it lies, at 4 x 4
    planes = StyleGAN2's layers upon a constant and the map, bent by the style, which also bends the planes' reader

Without the style in every layer a decoder gives grey objects (see `object_autoencoder`), and with a style that is but the
sum of the latents, eight numbers, dull ones: after four minutes cars were a decibel farther from their pictures.

What is quantised is by how much the encoder's answer for a cell differs from its usual answer there, a running mean. So all
cells share the codebook (without that each keeps some entries for itself), and the decoder is given the usual answer, too.
The differences are small at first, and nothing scales them: the usual object is learnt before what objects differ in.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.core.spaces import Space
from nerf3d.errors import InputError
from nerf3d.fields.triplane import TriPlane, TriPlaneDecoder
from nerf3d.models.codebook import CodebookConfig, Nearest, Quantised
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.models.style import COARSEST, EqualizedLinear, Synthesis

KEEP_USUAL = 0.9
"""Of the usual answers, in a step; if they lagged behind, the codebook would have to hold by how much."""


@dataclass(frozen=True)
class VQAutoencoderConfig:
    """The defaults: pictures of 32 x 32, 32 tokens, planes of 32 x 32 with 16 features each."""

    encoder_channels: tuple[int, ...] = (128, 128, 64, 32)
    """Of the features at 4 x 4, 8 x 8 and so on: as many as the pictures' resolution takes."""
    grid: tuple[int, int, int] = (4, 4, 2)
    """Cells of the box along x, y and z: a token each."""
    latent: int = 8
    """Numbers in a token's vector."""
    codebook: CodebookConfig = Nearest()
    channels: tuple[int, ...] = (128, 96, 64, 32)
    """Of a plane at 4 x 4, 8 x 8 and so on: as many as its resolution takes."""
    plane_features: int = 16
    decoder_width: int = 32

    @property
    def tokens(self) -> int:
        """How many an object has.

        >>> VQAutoencoderConfig().tokens
        32
        """
        return math.prod(self.grid)

    def build(self, box: Space, rng: torch.Generator) -> "VQAutoencoder":
        """For objects inside of `box`. Raises InputError for a network without cells, layers or channels."""
        widths = (*self.channels, self.latent, self.plane_features, self.decoder_width)
        if not self.channels or min(*widths, *self.grid) < 1:
            raise InputError(
                "an autoencoder needs every number of cells, channels, features and its widths to be at least 1"
            )
        return VQAutoencoder(self, box, rng)


class VQAutoencoder(nn.Module):
    """`learn(pictures)` while training; `tokens(pictures)`, `latents(tokens)` and `field(latents)` ever after.

    Tokens come in the order of their cells, x fastest, then y, then z.
    """

    usual: Tensor

    def __init__(self, config: VQAutoencoderConfig, box: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.encoder = PictureEncoderConfig(config.encoder_channels, code=config.tokens * config.latent).build(rng)
        self.register_buffer("usual", torch.zeros(config.tokens, config.latent))
        self.codebook = config.codebook.build(config.latent, rng)
        self.maps = CellMaps(config.grid, config.latent, config.channels[0], rng)
        features, style = config.plane_features, config.tokens * config.latent
        self.synthesis = Synthesis(config.channels, 3 * features, style, False, rng)
        self.decoder = TriPlaneDecoder(box, features, config.decoder_width, 3, rng, style=style)

    @property
    def places(self) -> Float[Tensor, "tokens 3"]:
        """Where in the world the middle of each token's cell is."""
        axes = [(torch.arange(n) + 0.5) / n for n in self.config.grid]
        z, y, x = torch.meshgrid(*reversed(axes), indexing="ij")
        middle = torch.stack([x, y, z], -1).reshape(-1, 3)
        return self.decoder.region.space.from_unit(middle.to(self.decoder.region.low))

    def learn(self, pictures: Float[Tensor, "n h w 4"], progress: float, rng: torch.Generator) -> Quantised:
        """Latents and tokens of pictures, while the codebook and the usual answers follow them."""
        said = self.said(pictures)
        with torch.no_grad():
            began = bool(self.usual.any())
            self.usual.copy_(self.usual.lerp(said.mean(0), 1 - KEEP_USUAL) if began else said.mean(0))
        found = self.codebook.learn(said - self.usual, progress, rng)
        return replace(found, values=self.usual + found.values)

    def tokens(self, pictures: Float[Tensor, "n h w 4"]) -> Int64[Tensor, "n tokens"]:
        """What the encoder reads in pictures, as entries of the codebook."""
        return self.nearest(self.said(pictures))

    def latents(self, tokens: Int64[Tensor, "n tokens"]) -> Float[Tensor, "n tokens d"]:
        """The vectors that tokens stand for in their cells."""
        return self.usual + self.codebook(tokens)

    def nearest(self, latents: Float[Tensor, "n tokens d"]) -> Int64[Tensor, "n tokens"]:
        """The tokens whose vectors are the nearest to these; to those of tokens, the tokens."""
        return self.codebook.tokens(latents - self.usual)

    def said(self, pictures: Float[Tensor, "n h w 4"]) -> Float[Tensor, "n tokens d"]:
        """What the encoder reads, before it is exchanged for entries of the codebook.

        In single precision: running means follow it, and entries are told apart by small differences.
        """
        return self.encoder(pictures).float().unflatten(1, (self.config.tokens, -1))

    def field(self, latents: Float[Tensor, "tokens d"]) -> TriPlane:
        """The object of one set of latents."""
        return self.fields(latents[None])[0]

    def fields(self, latents: Float[Tensor, "n tokens d"]) -> list[TriPlane]:
        """The objects of many at once. Raises InputError for latents of another model."""
        if latents.shape[1:] != (self.config.tokens, self.config.latent):
            raise InputError(
                f"an object's code is {latents.shape[1]} x {latents.shape[2]} numbers, but this model takes "
                f"{self.config.tokens} x {self.config.latent}; use codes that were made with this model"
            )
        style = latents.flatten(1)
        same = style[:, None].expand(-1, self.synthesis.layers, -1)
        planes = self.synthesis(same, added=self.maps(latents)).unflatten(1, (3, -1))
        return [self.decoder(each, bend) for each, bend in zip(planes, style, strict=True)]


class CellMaps(nn.Module):
    """What cells of a box say about the coarsest features of three planes, each where it lies."""

    def __init__(self, grid: tuple[int, int, int], latent: int, channels: int, rng: torch.Generator) -> None:
        """For cells along x, y and z with so many numbers each."""
        super().__init__()
        self.grid = grid
        across = (grid[2], grid[1], grid[0])  # the cells that the planes XY, XZ and YZ see behind one another
        self.flatten = nn.ModuleList([EqualizedLinear(n * latent, channels, rng) for n in across])

    def forward(self, latents: Float[Tensor, "b t d"]) -> Float[Tensor, "b c 4 4"]:
        """The planes' maps as one, since one network makes all planes."""
        return self.maps(latents).sum(1) / math.sqrt(3)

    def maps(self, latents: Float[Tensor, "b t d"]) -> Float[Tensor, "b 3 c 4 4"]:
        """What each plane sees of the cells: those behind one another make one place of it, by a linear layer."""
        cells = latents.unflatten(1, self.grid[::-1])  # b z y x d
        # XY has y for rows and x for columns, XZ has z and x, YZ has z and y (see `fields.triplane`).
        seen = [cells.permute(0, 2, 3, 1, 4), cells.permute(0, 1, 3, 2, 4), cells]
        maps = [layer(each.flatten(3)).permute(0, 3, 1, 2) for layer, each in zip(self.flatten, seen, strict=True)]
        size = (COARSEST, COARSEST)
        return torch.stack([F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps], 1)
