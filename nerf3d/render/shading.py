"""Light on a field: wrappers that answer with lit colours, or with those of unpainted clay."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field, Radiance
from nerf3d.core.numerics import normalize

CORNERS = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


def smooth_normals(field: Field, x: Float[Tensor, "n 3"], width: float) -> Float[Tensor, "n 3"]:
    """Unit vectors out of what is solid, from the density's logarithm at the corners of a tetrahedron of that size.

    Where `normals.normals` shows every cell of a grid, these show the shape. Gradients flow into the density.
    """
    corners = torch.tensor(CORNERS, dtype=x.dtype, device=x.device)
    around = (x[None] + width * corners[:, None]).reshape(-1, 3)
    height = torch.log(field.density(around) + 1e-3).reshape(len(CORNERS), -1)
    return -normalize((corners[:, None] * height[..., None]).sum(0))


@dataclass(frozen=True)
class Lit:
    """The field under a distant light (DreamFusion, Poole et al. 2022, section 3.1: Lambert's law).

        color = albedo (ambient + (1 - ambient) max(0, normal . toward))

    The light moves with the eye: it comes from where one looks from, turned by `offset` (0: a lamp on the forehead).
    `clay` replaces the albedo by that grey, which leaves nothing but the shape to be seen.
    """

    field: Field
    offset: Float[Tensor, "3"]
    ambient: float
    width: float
    clay: float | None = None

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.field.density(x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        inside = self.field(x, d)
        toward = normalize(self.offset - d)
        diffuse = (smooth_normals(self.field, x, self.width) * toward).sum(-1).clamp_min(0)
        albedo = inside.color if self.clay is None else torch.full_like(inside.color, self.clay)
        return Radiance(inside.density, albedo * (self.ambient + (1 - self.ambient) * diffuse)[:, None])
