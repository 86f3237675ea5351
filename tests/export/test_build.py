"""Baked textures against fields whose colours are known everywhere."""

import math

import pytest
import torch

from nerf3d.core import Box, Cameras, Radiance
from nerf3d.core.cameras import look_at
from nerf3d.core.numerics import normalize
from nerf3d.errors import InputError
from nerf3d.export import bake
from nerf3d.export.build import Looks, make_asset
from nerf3d.export.surface import extract_surface
from nerf3d.kernels.raster import interpolate
from nerf3d.render.mesh import Mesh, render_mesh
from nerf3d.render.render import render
from nerf3d.render.stratified import Stratified

UP = torch.tensor([0.0, 0.0, 1.0])
BOX = Box.cube(1.0)


class Painted:
    """A ball of radius 0.7 whose colour changes smoothly with the place; `shine` adds some for the direction."""

    def __init__(self, shine: float = 0.0) -> None:
        self.shine = shine

    def density(self, x: torch.Tensor) -> torch.Tensor:
        return 400 * torch.relu(0.7 - x.norm(dim=-1))

    def __call__(self, x: torch.Tensor, d: torch.Tensor) -> Radiance:
        color = 0.5 + 0.3 * torch.sin(4 * x) + self.shine * d
        return Radiance(self.density(x), color)


@pytest.fixture(scope="module")
def surface():
    return extract_surface(Painted().density, BOX, 48, level=10.0)


def test_a_textured_asset_looks_like_its_field(surface) -> None:
    asset, notes = make_asset(surface, Painted(), UP, Looks(faces=600, texture=128))
    assert notes == []
    assert 500 < len(asset.faces) <= 700
    assert asset.textures is not None
    assert asset.textures.normal is not None
    mesh = Mesh(asset.vertices, asset.faces, None, asset.uv, asset.textures.color.float() / 255)
    for eye in (torch.tensor([2.5, 0.5, 0.6]), torch.tensor([-1.0, -2.2, 1.0])):
        cameras = Cameras.pinhole(look_at(eye, torch.zeros(3), UP)[None], 60.0, 48, 48)
        seen = render_mesh(mesh, cameras, 0, torch.zeros(3))
        truth = render(Painted(), cameras.rays(0), Stratified(BOX, 128)).color.reshape(48, 48, 3)
        inside = seen.opacity == 1
        inside[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        assert float(inside.float().mean()) > 0.1
        error = (seen.color - truth)[inside]
        assert -10 * math.log10(float(error.square().mean())) > 32
        assert float(error.abs().max()) < 0.12  # nor does any seam stand out


def test_a_shiny_field_gives_its_mean_over_directions(surface) -> None:
    plain, _ = make_asset(surface, Painted(), UP, Looks(faces=None, texture=64))
    shiny, _ = make_asset(surface, Painted(0.1), UP, Looks(faces=None, texture=64))
    assert plain.textures is not None
    assert shiny.textures is not None
    assert plain.textures.normal is None  # nothing was lost that it could bring back
    fragments = bake.texels(plain.uv, plain.faces, 64)
    painted = fragments.face >= 0
    normal = normalize(interpolate(fragments, plain.faces, plain.normals)[painted])
    change = (shiny.textures.color[painted].float() - plain.textures.color[painted].float()) / 255
    share = (1 + 4 * math.cos(bake.TILT) ** 2) / (1 + 4 * math.cos(bake.TILT))
    along = (change * normal).sum(-1)
    assert float(along.mean()) == pytest.approx(-0.1 * share, rel=0.1)
    assert float((change - along[:, None] * normal).norm(dim=-1).mean()) < 0.015


def test_without_a_texture_colours_are_at_the_vertices(surface) -> None:
    asset, _ = make_asset(surface, Painted(), UP, Looks(faces=600, texture=0))
    assert asset.textures is None
    assert asset.colors is not None
    truth = 0.5 + 0.3 * torch.sin(4 * asset.vertices)
    assert float((asset.colors.float() / 255 - truth).abs().mean()) < 0.03


def test_the_normal_map_brings_back_what_decimation_took(surface) -> None:
    asset, _ = make_asset(surface, Painted(), UP, Looks(faces=80, texture=128))
    assert asset.textures is not None
    assert asset.textures.normal is not None
    from nerf3d.export.tangents import tangents

    fragments = bake.texels(asset.uv, asset.faces, 128)
    painted = fragments.face >= 0
    position, smooth, tangent = (
        bake.at_texels(fragments, asset.faces, a)
        for a in (asset.vertices, asset.normals, tangents(asset.vertices, asset.faces, asset.normals, asset.uv))
    )
    z = normalize(smooth)
    x = normalize(tangent[:, :3] - (tangent[:, :3] * z).sum(-1, keepdim=True) * z)
    y = torch.linalg.cross(z, x) * tangent[:, 3:].sign()
    local = asset.textures.normal[painted].float() / 127.5 - 1
    mapped = normalize(local[:, :1] * x + local[:, 1:2] * y + local[:, 2:] * z)
    truth = normalize(position)
    assert float((mapped * truth).sum(-1).clamp(-1, 1).acos().mean()) < math.radians(2)
    assert float((z * truth).sum(-1).clamp(-1, 1).acos().mean()) > math.radians(2.5)


def test_spread_fills_all_with_the_nearest_colour() -> None:
    picture = torch.zeros(4, 6, 3, dtype=torch.uint8)
    painted = torch.zeros(4, 6, dtype=torch.bool)
    picture[1, 1], picture[2, 4] = 50, 200
    painted[1, 1] = painted[2, 4] = True
    filled = bake.spread(picture, painted)
    assert (filled[:, :2] == 50).all()
    assert (filled[:, 4:] == 200).all()
    assert torch.equal(bake.spread(picture, painted & False), picture)


def test_textures_of_impossible_sizes(surface) -> None:
    for size in (7, 10**6, -1):
        with pytest.raises(InputError, match=f"a texture of {size} pixels"):
            make_asset(surface, Painted(), UP, Looks(texture=size))
