import sys

import pytest
import torch

from nerf3d.core import Box
from nerf3d.export import unwrap as module
from nerf3d.export.surface import extract_surface
from nerf3d.export.unwrap import in_squares, unwrap
from nerf3d.kernels.raster import rasterize

BALL = extract_surface(lambda x: torch.relu(0.6 - x.norm(dim=-1)) * 400, Box.cube(1.0), 12, level=5.0)
SIZE = 256


def overlap(uv: torch.Tensor, faces: torch.Tensor, size: int) -> int:
    """Texels that more than one triangle covers with their inside."""
    place = torch.cat([uv * size, torch.ones(len(uv), 1)], 1)
    middle = place[faces].mean(1, keepdim=True)
    shrunk = (middle + 0.98 * (place[faces] - middle)).reshape(-1, 3)
    apart = torch.arange(len(shrunk)).reshape(-1, 3)
    one_by_one = sum((rasterize(shrunk, f[None], size, size).face >= 0).long() for f in apart)
    return int((one_by_one > 1).sum())


@pytest.mark.parametrize("way", ["xatlas", "squares"])
def test_every_triangle_has_its_own_place(way: str) -> None:
    atlas = unwrap(BALL.vertices, BALL.faces, SIZE) if way == "xatlas" else in_squares(BALL.faces, SIZE)
    assert atlas.simple == (way == "squares")
    assert torch.equal(atlas.vertex[atlas.faces], BALL.faces)
    assert 0 <= float(atlas.uv.min()) < float(atlas.uv.max()) <= 1
    a, b, c = atlas.uv[atlas.faces].double().unbind(1)
    area = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs()
    assert float(area.min()) > 0
    assert float(area.sum()) > 0.3
    assert overlap(atlas.uv, atlas.faces, SIZE) == 0


def test_an_unwrapper_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", sys.executable)
    atlas = unwrap(BALL.vertices, BALL.faces, SIZE, seconds=0.01)
    assert atlas.simple
    assert torch.equal(atlas.vertex[atlas.faces], BALL.faces)
