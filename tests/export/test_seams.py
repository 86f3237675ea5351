"""Where two charts of a texture meet, a render shows nothing of it."""

import pytest
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from nerf3d.core import Box, Cameras, Radiance
from nerf3d.core.cameras import look_at
from nerf3d.export.asset import Asset
from nerf3d.export.build import Looks, make_asset
from nerf3d.export.surface import extract_surface
from nerf3d.kernels.raster import interpolate
from nerf3d.render.mesh import Mesh, seen_by, surface_color

UP = torch.tensor([0.0, 0.0, 1.0])
EYES = torch.tensor([[2.6, 0.8, 1.2], [-1.4, 2.3, -1.1], [-1.0, -2.2, 1.6]])
PIXELS = 2  # on either side of a border


class Painted:
    """A body whose colour changes smoothly with the place, across all of its edges."""

    def __init__(self, order: float) -> None:
        self.order = order

    def density(self, x: Tensor) -> Tensor:
        """The ball |x| < 0.6 of a norm: of order 2 a ball, infinite a cube."""
        return 1000.0 * torch.relu(0.6 - torch.linalg.vector_norm(x, self.order, dim=-1)).clamp_max(1.0)

    def color(self, x: Tensor) -> Tensor:
        return 0.5 + 0.35 * torch.sin(3 * x + torch.tensor([0.0, 1.0, 2.0]))

    def __call__(self, x: Tensor, d: Tensor) -> Radiance:
        return Radiance(self.density(x), self.color(x))


def charts(asset: Asset) -> Tensor:
    """The chart of every triangle: those that share vertices of the atlas."""
    f = asset.faces
    ends = torch.cat([f[:, [0, 1]], f[:, [1, 2]]]).T.numpy()
    graph = coo_array((torch.ones(ends.shape[1]).numpy(), tuple(ends)), shape=(len(asset.vertices),) * 2)
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long()[f[:, 0]]


def errors_beside_seams_and_elsewhere(asset: Asset, field: Painted, size: int) -> tuple[Tensor, Tensor]:
    assert asset.textures is not None
    mesh = Mesh(asset.vertices, asset.faces, None, asset.uv, asset.textures.color.float() / 255)
    cameras = Cameras.pinhole(look_at(EYES, torch.zeros(3), UP), 1.7 * size, size, size)
    chart = charts(asset)
    assert int(chart.max()) >= 3  # several charts, or there is nothing to test
    beside, elsewhere = [], []
    for index in range(len(EYES)):
        fragments = seen_by(mesh, cameras, index)
        shown = fragments.face >= 0
        error = (surface_color(mesh, fragments) - field.color(interpolate(fragments, mesh.faces, mesh.vertices))).abs()
        which = torch.where(shown, chart[fragments.face.clamp_min(0)], -1).float()[None]
        window = 2 * PIXELS + 1
        high = F.max_pool2d(which, window, 1, PIXELS)[0]
        low = -F.max_pool2d(torch.where(shown, -which[0], -1e6)[None], window, 1, PIXELS)[0]
        seam = shown & (high != low)
        beside.append(error.amax(-1)[seam])
        elsewhere.append(error.amax(-1)[shown & ~seam])
    return torch.cat(beside), torch.cat(elsewhere)


@pytest.mark.parametrize("texture", [128, 256])
@pytest.mark.parametrize("order", [2.0, torch.inf])
def test_no_seam_is_seen(order: float, texture: int) -> None:
    field = Painted(order)
    surface = extract_surface(field.density, Box.cube(1.0), 40, level=10.0)
    asset, _ = make_asset(surface, field, UP, Looks(faces=400, texture=texture))
    beside, elsewhere = errors_beside_seams_and_elsewhere(asset, field, 160)
    assert len(beside) > 500
    assert float(beside.mean()) < 1.25 * float(elsewhere.mean())
    assert float(beside.max()) < 1.5 * float(elsewhere.max())
