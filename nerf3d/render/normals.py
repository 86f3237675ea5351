"""Surface normals as a picture: a field wrapper whose colors are directions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.core import Field, Radiance
from nerf3d.core.numerics import normalize


def normals(field: Field, x: Float[Tensor, "n 3"], create_graph: bool = False) -> Float[Tensor, "n 3"]:
    """Unit vectors against the gradient of the density: out of what is solid (Ref-NeRF, equation 3).

    With `create_graph` the normals can be trained through.
    """
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        density = field.density(x)
        (gradient,) = torch.autograd.grad(density.sum(), x, create_graph=create_graph)
    return -normalize(gradient)


@dataclass(frozen=True)
class Normals:
    """The field whose color at a point is the normal there, in [-1, 1]^3; rendered, it gives the mean normal of a ray."""

    field: Field

    def density(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        return self.field.density(x)

    def __call__(self, x: Float[Tensor, "n 3"], d: Float[Tensor, "n 3"]) -> Radiance:
        return Radiance(self.field.density(x).detach(), normals(self.field, x).detach())
