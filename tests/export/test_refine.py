"""A ball that begins 3 % too large and grey, against photographs of a ball in eight colours."""

from dataclasses import replace

import pytest
import tiny
import torch

from nerf3d.core import Cameras
from nerf3d.export.draw import Paint
from nerf3d.export.large_steps import turned_over
from nerf3d.export.photographs import PhotographJudge
from nerf3d.export.refine import Judge, Painted, refine
from nerf3d.metrics.intersections import cut_faces


def ball(radius: float = 1.03) -> Painted:
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    vertices, faces = torch.tensor(made.vertices).float(), torch.tensor(made.faces).long()
    return Painted(vertices, faces, Paint(torch.full((len(vertices), 3), 0.5)))


@pytest.fixture(scope="module")
def judge() -> PhotographJudge:
    views = tiny.capture(12, 1).train
    return PhotographJudge(views.images, views.cameras)


def test_it_gets_nearer_to_its_photographs(judge: PhotographJudge) -> None:
    assert isinstance(judge, Judge)
    before, shown = ball(), []
    rng = torch.Generator().manual_seed(0)
    after = refine(before, judge, 1e6, cut_faces, rng, 40, lambda done, needed: shown.append(done / needed))
    assert judge.psnr(after) > judge.psnr(before) + 6
    assert float((after.vertices.norm(dim=1) - 1).abs().mean()) < 0.01
    octant = 0.1 + 0.8 * (after.vertices > 0).float()
    inside = (after.vertices.abs() > 0.25).all(1)
    assert float((after.paint.color - octant)[inside].abs().mean()) < 0.03
    assert not bool(turned_over(before.vertices, after.vertices, before.faces).any())
    assert not bool(cut_faces(after.vertices, after.faces).any())
    assert torch.equal(after.faces, before.faces)
    assert shown == sorted(shown)
    assert len(shown) == 40
    assert shown[-1] == 1


def test_photographs_without_alpha_tell_colors_only_where_the_mesh_is(judge: PhotographJudge) -> None:
    """What is beside the mesh may look like anything."""
    views = tiny.capture(12, 1).train
    alpha = views.images[..., 3:].float() / 255
    noise = torch.randint(256, views.images[..., :3].shape, generator=torch.Generator().manual_seed(1))
    opaque = (views.images[..., :3] * alpha + noise * (1 - alpha)).round().to(torch.uint8)
    blind = PhotographJudge(opaque, views.cameras)
    before = ball(0.97)
    after = refine(before, blind, 1e6, cut_faces, torch.Generator().manual_seed(0), 20)
    assert blind.psnr(after) > blind.psnr(before) + 6
    assert float((after.vertices - before.vertices).norm(dim=1).max()) < 0.04


def test_masked_pixels_do_not_count() -> None:
    views = tiny.capture(4, 1).train
    masks = torch.zeros(views.images.shape[:3], dtype=torch.bool)
    judge = PhotographJudge(views.images, views.cameras, masks)
    before = ball()
    after = refine(before, judge, 1e6, cut_faces, torch.Generator().manual_seed(0), 2)
    assert torch.equal(after.vertices, before.vertices)
    assert torch.equal(after.paint.color, before.paint.color)
    masks[:, :, :12] = True
    half = PhotographJudge(views.images, views.cameras, masks)
    pictures = torch.zeros(4, 24, 24, 4)
    half.views(torch.Generator().manual_seed(0))
    assert float(half(pictures, 0.0)) > 0
    pictures[:, :, 12:] = 9.0
    same = half(pictures, 0.0)
    pictures[:, :, 12:] = 0.0
    assert torch.equal(half(pictures, 0.0), same)


def test_all_photographs_come_before_one_comes_again() -> None:
    views = tiny.capture(6, 1).train
    judge = PhotographJudge(views.images, views.cameras)
    rng = torch.Generator().manual_seed(0)
    seen = [camera for _ in range(4) for camera in judge.views(rng).center]
    where = [int((views.cameras.center - camera).norm(dim=1).argmin()) for camera in seen]
    assert sorted(where[:6]) == sorted(where[6:]) == list(range(6))


def test_large_photographs_are_looked_at_smaller() -> None:
    images = torch.zeros(1, 400, 1600, 4, dtype=torch.uint8)
    images[:, :200, :, :] = torch.tensor([200, 100, 50, 255])
    one = tiny.cameras(1)
    judge = PhotographJudge(images, Cameras(one.world_from_camera, one.intrinsics, one.distortion, 1600, 400))
    assert (judge.cameras.width, judge.cameras.height) == (800, 200)
    judge.views(torch.Generator())
    true = torch.zeros(1, 200, 800, 4)
    true[:, :100] = torch.tensor([200, 100, 50, 255]) / 255
    assert float(judge(true, 0.0)) < 1e-6


class Wish:
    """A judge without photographs: everything should be red, wherever one looks from."""

    def views(self, rng: torch.Generator) -> Cameras:
        return tiny.cameras(4, turn=float(torch.rand((), generator=rng)))

    def __call__(self, pictures: torch.Tensor, progress: float) -> torch.Tensor:
        red = torch.tensor([1.0, 0.0, 0.0]) * pictures[..., 3:].detach()
        return 0.5 * (pictures[..., :3] - red).square().sum()


def test_any_loss_can_judge() -> None:
    texture = torch.full((16, 16, 3), 0.5)
    mesh = ball()
    x = mesh.vertices[mesh.faces]
    uv = 0.5 + 0.4 * x[..., :2] / 1.03
    after = refine(
        replace(mesh, paint=Paint(texture, uv)), Wish(), 1e6, cut_faces, torch.Generator().manual_seed(0), 20
    )
    assert torch.allclose(after.paint.color[8, 12], torch.tensor([1.0, 0.0, 0.0]), atol=0.15)
    assert torch.equal(after.paint.color[0, 0], texture[0, 0])  # nothing shows it


def test_a_mesh_that_reaches_too_far_is_not_painted_dark() -> None:
    """At rims the colours are right as long as they are the photograph's own, and the opacity alone is wrong."""
    one = tiny.cameras(1, size=2)
    image = torch.tensor([[200, 100, 50, 255], [200, 100, 50, 51]] * 2, dtype=torch.uint8).reshape(1, 2, 2, 4)
    judge = PhotographJudge(image, one)
    judge.views(torch.Generator())
    opacity = torch.tensor([[1.0, 0.6], [0.4, 1.0]])[None, ..., None]
    color = torch.tensor([200.0, 100.0, 50.0]) / 255 * opacity
    picture = torch.cat([color, opacity], -1).requires_grad_()
    judge(picture, 0.0).backward()
    assert picture.grad is not None
    assert float(picture.grad[..., :3].abs().max()) < 0.02  # the file's rounding
    assert torch.allclose(picture.grad[..., 3], torch.tensor([[[0.0, 0.4], [-0.6, 0.8]]]), atol=1e-6)
