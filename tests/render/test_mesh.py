import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.render.mesh import Mesh, moved, render_mesh

UP = torch.tensor([0.0, 0.0, 1.0])
SQUARE = torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UV = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def camera(size: int = 40, distance: float = 4.0) -> Cameras:
    """In front of the square, which fills the middle half of the picture."""
    pose = look_at(torch.tensor([0.0, -distance, 0.0]), torch.zeros(3), UP)
    return Cameras.pinhole(pose[None], size * distance / 4, size, size)


def test_a_texture_is_the_right_way_up() -> None:
    picture = torch.rand(5, 5, 3, generator=torch.Generator().manual_seed(0))
    seen = render_mesh(Mesh(SQUARE, FACES, None, UV, picture), camera(20), 0, torch.ones(3), oversampling=4)
    assert torch.allclose(seen.opacity[5:15, 5:15], torch.ones(10, 10))
    assert float(seen.opacity.sum()) == pytest.approx(100)
    assert torch.equal(seen.color[:5], torch.ones(5, 20, 3))
    for row in range(5):
        for column in range(5):  # each pixel of the texture covers two by two of the picture; its middle is its own
            block = seen.color[5 + 2 * row : 7 + 2 * row, 5 + 2 * column : 7 + 2 * column].mean((0, 1))
            around = picture[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].reshape(-1, 3)
            assert bool(((block >= around.amin(0) - 1e-4) & (block <= around.amax(0) + 1e-4)).all())
            assert (
                float((block - picture[row, column]).abs().mean())
                < float((block - picture[4 - row, column]).abs().mean()) + 0.2
            )


def test_colours_at_corners_and_depth_along_the_rays() -> None:
    colors = (SQUARE + 1) / 2
    seen = render_mesh(Mesh(SQUARE, FACES, colors), camera(), 0, torch.zeros(3), oversampling=2)
    rays = camera().rays(0)
    distance = 4 / rays.direction[:, 1]
    place = (rays.origin + distance[:, None] * rays.direction).reshape(40, 40, 3)
    shown = seen.opacity == 1
    assert torch.allclose(seen.color[shown], (place[shown] + 1) / 2, atol=1e-3)
    assert torch.allclose(seen.depth[shown], distance.reshape(40, 40)[shown], rtol=2e-3)
    assert float(seen.depth[~shown & (seen.opacity == 0)].abs().sum()) == 0


def test_edges_are_smooth() -> None:
    turned = Mesh(SQUARE @ torch.tensor([[0.96, 0.0, 0.28], [0.0, 1.0, 0.0], [-0.28, 0.0, 0.96]]), FACES)
    seen = render_mesh(turned, camera(), 0, torch.zeros(3), oversampling=4)
    partly = (seen.opacity > 0) & (seen.opacity < 1)
    assert 40 < int(partly.sum()) < 160
    assert float(seen.opacity.sum()) == pytest.approx(400, rel=0.01)


def test_moved() -> None:
    pose = torch.tensor([[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]])
    assert torch.equal(moved(Mesh(SQUARE, FACES), pose).vertices[1], torch.tensor([1.0, 3.0, 2.0]))
