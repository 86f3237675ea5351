"""What moves at the borders of a mesh's picture, against pictures with a thousand points a pixel."""

import pytest
import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.export.draw import Paint, draw
from nerf3d.kernels.contours import edges_of, with_contours

UP = torch.tensor([0.0, 0.0, 1.0])
SIZE = 16
TRIANGLE = (torch.tensor([[-1.0, 0.0, -1.0], [1.2, 0.3, -0.8], [0.1, -0.5, 1.3]]), torch.tensor([[0, 1, 2]]))
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
CUBE = (
    torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]),
    torch.tensor([[a, b, c] for a, b, c, _ in SIDES] + [[a, c, d] for a, _, c, d in SIDES]),
)
WALL = torch.tensor([[-9.0, 3.0, -9.0], [9.0, 3.0, -9.0], [9.0, 3.0, 9.0], [-9.0, 3.0, 9.0]])
BEFORE_A_WALL = (torch.cat([CUBE[0], WALL]), torch.cat([CUBE[1], torch.tensor([[8, 9, 10], [8, 10, 11]])]))


def camera(size: int = SIZE) -> Cameras:
    return Cameras.pinhole(look_at(torch.tensor([2.0, -5.0, 1.5]), torch.zeros(3), UP)[None], 1.25 * size, size, size)


def test_edges() -> None:
    edges = edges_of(CUBE[1])
    assert len(edges.ends) == 18
    assert bool((edges.opposite[:, 0] != edges.opposite[:, 1]).all())
    alone = edges_of(TRIANGLE[1])
    assert torch.equal(alone.ends, torch.tensor([[0, 1], [0, 2], [1, 2]]))
    assert torch.equal(alone.opposite, torch.tensor([[2, 2], [1, 1], [0, 0]]))


@pytest.mark.parametrize("mesh", [TRIANGLE, CUBE, BEFORE_A_WALL], ids=["triangle", "cube", "cube before a wall"])
@pytest.mark.parametrize("channels", [slice(0, 3), slice(3, 4)], ids=["color", "coverage"])
def test_gradients_are_those_of_a_picture_with_many_points(mesh: tuple, channels: slice) -> None:
    vertices, faces = mesh
    rng = torch.Generator().manual_seed(0)
    paint = Paint(torch.rand(len(vertices), 3, generator=rng))
    weight = torch.zeros(SIZE, SIZE, 4)  # smooth, so that single points do not matter
    down, right = torch.meshgrid(torch.linspace(0, 1, SIZE), torch.linspace(0, 1, SIZE), indexing="ij")
    weight[..., channels] = torch.stack([down, right - down, down * right, right], -1)[..., channels]
    edges = edges_of(faces)

    def total(x: torch.Tensor, oversampling: int) -> torch.Tensor:
        return (draw(x, faces, edges, paint, camera(), 0, oversampling) * weight).sum()

    found = torch.autograd.functional.jacobian(lambda x: total(x, 12), vertices)
    true = torch.zeros(8 if len(vertices) > 8 else len(vertices), 3)
    for which in range(true.numel()):
        step = torch.zeros_like(vertices)
        step.view(-1)[which] = 0.06
        with torch.no_grad():
            true.view(-1)[which] = (total(vertices + step, 24) - total(vertices - step, 24)) / 0.12
    found = found[: len(true)]
    if mesh is BEFORE_A_WALL and channels == slice(3, 4):
        assert float(found.abs().max()) < 1e-4  # all is covered, wherever the cube is
        assert float(true.abs().max()) < 1e-4
    else:
        assert float((found - true).norm() / true.norm()) < 0.05


def test_what_is_hidden_does_not_move_the_picture() -> None:
    """A small square behind a large one, which alone has gradients."""
    square = torch.tensor([[0.0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
    large, small = square * 8 + torch.tensor([2.0, 2, 0]), square * 4 + torch.tensor([4.0, 4, 0])
    place = torch.cat([large, small + torch.tensor([0.0, 0, 1])]).requires_grad_()
    depth = torch.full((12, 12), torch.inf)
    depth[2:10, 2:10] = 9.0
    quads = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    with_contours((depth < 10).float()[..., None], depth, place, edges_of(quads)).sum().backward()
    assert place.grad is not None
    assert torch.equal(place.grad[4:], torch.zeros(4, 3))
    assert torch.allclose(place.grad[:4, :2].abs(), torch.full((4, 2), 4.0))  # half of eight pixels


def test_the_picture_itself_stays_the_same() -> None:
    picture = torch.rand(12, 12, 3, generator=torch.Generator().manual_seed(0))
    place = torch.tensor([[2.0, 2, 1], [9, 3, 1], [4, 30, 1], [-5, 3, -1.0]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    assert torch.equal(with_contours(picture, torch.full((12, 12), 0.5), place, edges_of(faces)), picture)
