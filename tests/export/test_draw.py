import torch

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.export.draw import Paint, draw, read
from nerf3d.kernels.contours import edges_of
from nerf3d.render.mesh import Mesh, render_mesh

SQUARE = torch.tensor([[-1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
UV = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])


def camera(size: int) -> Cameras:
    pose = look_at(torch.tensor([1.0, -4.0, 0.5]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.pinhole(pose[None], float(size), size, size)


def test_it_is_the_picture_that_others_make() -> None:
    texture = torch.rand(9, 9, 3, generator=torch.Generator().manual_seed(0))
    background = torch.tensor([0.2, 0.5, 0.9])
    true = render_mesh(Mesh(SQUARE, FACES, None, UV, texture), camera(20), 0, background, oversampling=3)
    found = draw(SQUARE, FACES, edges_of(FACES), Paint(texture, UV[FACES]), camera(20), 0, 3)
    assert torch.allclose(found[..., 3], true.opacity, atol=1e-6)
    assert torch.allclose(found[..., :3] + (1 - found[..., 3:]) * background, true.color, atol=1e-5)


def test_gradients_of_colors_are_exact() -> None:
    """The picture is linear in them, so a step of one is as good as a small one."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.rand(12, 12, 4, generator=rng)
    for paint in (Paint(torch.rand(5, 5, 3, generator=rng), UV[FACES]), Paint(torch.rand(4, 3, generator=rng))):

        def total(color: torch.Tensor, uv: torch.Tensor | None = paint.uv) -> torch.Tensor:
            return (draw(SQUARE, FACES, edges_of(FACES), Paint(color, uv), camera(12), 0) * weight).double().sum()

        gradient = torch.autograd.functional.jacobian(total, paint.color)
        assert float(gradient.abs().max()) > 0.1
        for place in range(0, paint.color.numel(), 7):
            one = torch.zeros_like(paint.color)
            one.view(-1)[place] = 1.0
            change = float(total(paint.color + one) - total(paint.color))
            assert abs(change - float((gradient * one).sum())) < 1e-4


def test_moving_all_points_by_one_is_moving_the_picture() -> None:
    texture = torch.rand(9, 9, 3, generator=torch.Generator().manual_seed(0))
    paint, edges = Paint(texture, UV[FACES]), edges_of(FACES)
    here = draw(SQUARE, FACES, edges, paint, camera(20), 0, 1)
    there = draw(SQUARE, FACES, edges, paint, camera(20), 0, 1, shift=(1.0, 0.0))
    assert torch.allclose(here[:, 1:], there[:, :-1], atol=1e-4)


def test_reading_a_texture_the_right_way_up() -> None:
    texture = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    uv = torch.tensor([[[0.25, 0.75], [0.75, 0.75], [0.25, 0.25]]])  # the middles of 1, 2 and 3
    found = read(Paint(texture, uv), torch.tensor([[0, 1, 2]]), torch.zeros(4, dtype=torch.int64), torch.eye(4, 3))
    assert torch.allclose(found[:3, 0], torch.tensor([1.0, 2.0, 3.0]))
