"""TensoRF's vector-matrix field: a volume written as a sum of planes times lines.

Chen et al., "TensoRF: Tensorial Radiance Fields" (2022), the VM decomposition. With M a plane, v a line and r running
over the ranks, the volume at (x, y, z) is

    sum_r  M_r^XY(x, y) v_r^Z(z)  +  M_r^XZ(x, z) v_r^Y(y)  +  M_r^YZ(y, z) v_r^X(x)

The density is the sum; for the colour the products stay apart, go through a basis matrix and a small network.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.core import Radiance
from nerf3d.core.spaces import Space
from nerf3d.fields.common import Region, linear
from nerf3d.fields.encodings import frequency
from nerf3d.fields.interpolate import bilinear_lookup, linear_lookup

PLANES = ((0, 1), (0, 2), (1, 2))
LINES = (2, 1, 0)


@dataclass(frozen=True)
class VectorMatrix:
    """The paper's VM-192: ranks 16 (density) and 48 (colour) for each of the three planes."""

    resolution: int = 128
    """Grid points along each axis at the start ..."""
    final_resolution: int = 300
    """... and after the last `upsample`."""
    density_rank: int = 16
    color_rank: int = 48
    color_features: int = 27
    width: int = 128
    octaves: int = 2
    """Of the frequency encoding of the colour features and of the direction, alike."""
    density_shift: float = -10.0
    density_scale: float = 25.0
    """density = scale softplus(raw + shift): nearly empty at the start, and steep (TensoRF's `distance_scale`)."""

    def build(self, space: Space, rng: torch.Generator) -> "VectorMatrixField":
        return VectorMatrixField(self, space, rng)

    def resolutions(self, count: int) -> tuple[int, ...]:
        """The resolutions after each of `count` upsamplings: equal steps in the logarithm, ending at the final one.

        >>> VectorMatrix().resolutions(5)
        (152, 180, 213, 253, 300)
        """
        ratio = self.final_resolution / self.resolution
        return tuple(round(self.resolution * ratio ** ((k + 1) / count)) for k in range(count))


class VectorMatrixField(nn.Module):
    """Planes (3 h w c) in the order XY, XZ, YZ and lines (3 w c) in the order Z, Y, X, over the space's unit cube."""

    def __init__(self, config: VectorMatrix, space: Space, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.region = Region(space)
        size = config.resolution

        def grid(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.1 * torch.randn(*shape, generator=rng))

        self.density_planes = grid(3, size, size, config.density_rank)
        self.density_lines = grid(3, size, config.density_rank)
        self.color_planes = grid(3, size, size, config.color_rank)
        self.color_lines = grid(3, size, config.color_rank)
        self.basis = linear(3 * config.color_rank, config.color_features, rng, bias=False)
        inputs = (config.color_features + 3) * (2 * config.octaves + 1)
        self.color_network = nn.Sequential(
            linear(inputs, config.width, rng),
            nn.ReLU(),
            linear(config.width, config.width, rng),
            nn.ReLU(),
            linear(config.width, 3, rng),
        )
        self.register_load_state_dict_pre_hook(_resize_to_fit)

    @property
    def resolution(self) -> int:
        return self.density_lines.shape[1]

    def networks(self) -> list[nn.Parameter]:
        """What learns more slowly than planes and lines."""
        return [*self.basis.parameters(), *self.color_network.parameters()]

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self._density(x, *_coordinates(self.region.to_unit(x)))

    def forward(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        across, along = _coordinates(self.region.to_unit(x))
        products = bilinear_lookup(self.color_planes, across) * linear_lookup(self.color_lines, along)
        features = self.basis(products.transpose(0, 1).flatten(1))
        encoded = frequency(torch.cat([features, d], -1), self.config.octaves)
        return Radiance(self._density(x, across, along), torch.sigmoid(self.color_network(encoded)))

    def _density(
        self, x: Float[Tensor, "n 3"], across: Float[Tensor, "k n 2"], along: Float[Tensor, "k n"]
    ) -> Float[Tensor, "n"]:
        planes = bilinear_lookup(self.density_planes, across)
        raw = (planes * linear_lookup(self.density_lines, along)).sum((0, 2))
        return self.region.density(self.config.density_scale * F.softplus(raw + self.config.density_shift), x)

    @torch.no_grad()
    def upsample(self, resolution: int) -> None:
        """Put the same function on another grid; exact where the new grid points include the old ones.

        The grids become new parameters, so an optimiser has to be given them. (Autograd remembers the shape of an old
        parameter for as long as a loss that was computed from it lives: resizing it in place would break the next step.)
        """

        def finer_planes(planes: Tensor) -> nn.Parameter:
            first = planes.permute(0, 3, 1, 2)
            finer = F.interpolate(first, size=(resolution, resolution), mode="bilinear", align_corners=True)
            return nn.Parameter(finer.permute(0, 2, 3, 1).contiguous())

        def finer_lines(lines: Tensor) -> nn.Parameter:
            finer = F.interpolate(lines.transpose(1, 2), size=resolution, mode="linear", align_corners=True)
            return nn.Parameter(finer.transpose(1, 2).contiguous())

        self.density_planes = finer_planes(self.density_planes)
        self.density_lines = finer_lines(self.density_lines)
        self.color_planes = finer_planes(self.color_planes)
        self.color_lines = finer_lines(self.color_lines)

    def l1(self) -> Float[Tensor, ""]:
        """The mean absolute value of the density's planes and lines: few of them should be needed."""
        return self.density_planes.abs().mean() + self.density_lines.abs().mean()

    def tv(self) -> Float[Tensor, ""]:
        """Total variation of all planes: the mean square difference between neighbouring grid points."""
        total = self.density_planes.new_zeros(())
        for planes in (self.density_planes, self.color_planes):
            total = total + planes.diff(dim=1).square().mean() + planes.diff(dim=2).square().mean()
        return total


def _coordinates(u: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "k n 2"], Float[Tensor, "k n"]]:
    """Where the points lie on each plane, and along each line."""
    return torch.stack([u[:, plane] for plane in PLANES]), torch.stack([u[:, line] for line in LINES])


def _resize_to_fit(field: nn.Module, state: dict, prefix: str, *_) -> None:
    """Before a state is loaded, give the grids its resolution: the field may have been upsampled when it was saved.

    The parameters stay the same objects, so that an optimiser that was made before the loading still holds them.
    """
    for name in ("density_planes", "density_lines", "color_planes", "color_lines"):
        saved, grid = state.get(prefix + name), getattr(field, name)
        if saved is not None and saved.shape[-1] == grid.shape[-1] and saved.shape != grid.shape:
            grid.data = grid.new_empty(saved.shape)
