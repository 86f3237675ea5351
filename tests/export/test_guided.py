"""A mesh against a guidance that knows what it wants."""

from dataclasses import dataclass, field

import pytest
import torch
from tiny import cameras
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.export.draw import Paint
from nerf3d.export.guided import SIZE, GuidedJudge
from nerf3d.export.refine import Judge, Painted, refine
from nerf3d.metrics.intersections import cut_faces

RED = torch.tensor([0.9, 0.1, 0.1])


@dataclass
class Wants:
    """One colour wherever the picture is not grey, said as loudly as you like."""

    loudness: float = 1.0
    met: list[tuple[Tensor, float]] = field(default_factory=list)

    def __call__(
        self, images: Tensor, views: Cameras, progress: float, rng: torch.Generator | None
    ) -> dict[str, Tensor]:
        self.met.append((images.detach(), progress))
        return {"guidance": self.loudness * (images - RED).square().sum()}


def begun(wants: Wants) -> GuidedJudge:
    def look(progress: float, rng: torch.Generator) -> Cameras:
        return cameras(40)[torch.randperm(40, generator=rng)[:4].tolist()]

    return GuidedJudge(wants, look, torch.Generator().manual_seed(0))


def ball() -> Painted:
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = torch.tensor(made.vertices).float(), torch.tensor(made.faces).long()
    return Painted(vertices, faces, Paint(torch.full((len(vertices), 3), 0.5)))


@pytest.mark.parametrize("loudness", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_a_wish_is_as_large_as_an_error(loudness: float, progress: float) -> None:
    wants = Wants(loudness)
    judge = begun(wants)
    assert isinstance(judge, Judge)
    views = judge.views(torch.Generator().manual_seed(1))
    pictures = torch.zeros(4, views.height, views.width, 4)
    pictures[:, 5:15, 5:15] = torch.tensor([0.2, 0.4, 0.6, 1.0])
    pictures.requires_grad_()
    judge(pictures, progress).backward()
    assert pictures.grad is not None
    inside = pictures.grad[:, 5:15, 5:15, :3]
    assert float(inside.square().mean().sqrt()) == pytest.approx(SIZE(progress), rel=1e-4)
    wish = torch.tensor([0.2, 0.4, 0.6]) - RED
    assert torch.allclose(inside / inside.norm(dim=-1, keepdim=True), (wish / wish.norm()).expand_as(inside), atol=1e-4)
    (seen, told) = wants.met[0]
    assert told == 0.5 + 0.5 * progress
    greys = seen[:, 0, 0]
    assert torch.equal(greys, greys[:, :1].expand(4, 3))
    assert len(greys[:, 0].unique()) == 4


def test_the_mesh_takes_on_what_is_wished() -> None:
    before, wants = ball(), Wants()
    after = refine(before, begun(wants), 1e6, cut_faces, torch.Generator().manual_seed(0), 60)
    assert float((after.paint.color - RED).abs().mean()) < 0.1
    assert [told for _, told in wants.met] == pytest.approx([0.5 + 0.5 * i / 60 for i in range(60)])


def test_nothing_to_see_is_nothing_to_wish() -> None:
    judge = begun(Wants())
    views = judge.views(torch.Generator())
    pictures = torch.zeros(4, views.height, views.width, 4, requires_grad=True)
    judge(pictures, 0.0).backward()
    assert pictures.grad is not None
    assert not bool(pictures.grad.any())
