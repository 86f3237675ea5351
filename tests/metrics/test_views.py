"""One front or two, on objects whose truth is known and on copies with a second face."""

import pytest
import torch

from nerf3d.data.world.captions import understand
from nerf3d.data.world.distance import union
from nerf3d.data.world.model import shape
from nerf3d.data.world.nouns import nouns
from nerf3d.errors import InputError
from nerf3d.metrics.shape import ShapeError, compare, mesh_of
from nerf3d.metrics.views import from_similarity, nearness, unlike, view_consistency

AS_IT_IS = ShapeError(0.0, 1.0, 0.0, 1.0, 0.0)
FRONT, SIDE, BACK = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
AZIMUTHS = torch.arange(8) * 45.0


def mesh(noun: str) -> tuple[torch.Tensor, torch.Tensor]:
    known = understand(f"a red {noun}")
    assert known is not None
    return mesh_of(union(*shape(known)), 48)


def turned(vertices: torch.Tensor, degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    c, s = angle.cos(), angle.sin()
    return vertices @ torch.tensor([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("noun", [noun.name for noun in nouns() if noun.has_front])
def test_the_true_object_has_one_front_and_with_its_double_two(noun: str) -> None:
    vertices, faces = mesh(noun)
    one = view_consistency(vertices, faces, vertices, faces, AS_IT_IS)
    assert (one.front, one.behind, one.janus) == (1, 0, 0)
    assert one.taken_for == ("front", "front", "side", "back", "back", "back", "side", "front")
    both = (torch.cat([vertices, turned(vertices, 180.0)]), torch.cat([faces, faces + len(vertices)]))
    two = view_consistency(*both, vertices, faces, AS_IT_IS)
    assert two.janus > 0.6


def test_which_way_it_looks_does_not_matter() -> None:
    vertices, faces = mesh("cow")
    other = 0.3 * turned(vertices, 130.0) + 2.0
    found = view_consistency(other, faces, vertices, faces, compare(other, faces, vertices, faces))
    assert found.janus == 0


def test_azimuths_are_angles() -> None:
    similarity = torch.tensor([FRONT, BACK])
    assert from_similarity(similarity, torch.tensor([-720.0, 540.0])).janus == 0
    assert from_similarity(similarity, torch.tensor([180.0, 360.0])).janus == 0  # it merely looks the other way
    with pytest.raises(InputError, match="all around"):
        from_similarity(similarity, torch.tensor([0.0, 90.0]))


def test_two_fronts_are_as_bad_as_two_backs() -> None:
    fronts = torch.tensor([FRONT, FRONT, SIDE, FRONT, FRONT, BACK, SIDE, SIDE])
    assert from_similarity(fronts, AZIMUTHS).janus == 1
    assert from_similarity(torch.tensor([BACK] * 8), AZIMUTHS).janus == 1
    half = torch.tensor([FRONT, FRONT, SIDE, FRONT, BACK, BACK, SIDE, FRONT])
    assert from_similarity(half, AZIMUTHS).janus == pytest.approx(1 / 3)


def test_nearness_is_what_is_seen_from_there() -> None:
    """A point at the east is nearest from there, and at the right where one looks from the south."""
    east = torch.tensor([[0.9, 0.0, 0.0]])
    assert [float(nearness(east, a).max()) for a in (0.0, 90.0, 180.0, 270.0)] == pytest.approx(
        [0, 0.9, 0, -0.9], abs=1e-6
    )
    seen = nearness(east, 0.0).reshape(48, 48)
    assert torch.nonzero(seen.isfinite()).tolist() == [[24, 43]]


def test_views_without_anything_are_alike() -> None:
    nothing, something = torch.full((4,), -torch.inf), torch.tensor([0.1, -torch.inf, 0.3, 0.0])
    assert unlike(nothing, nothing) == 0
    assert unlike(nothing, something) == pytest.approx(0.4)
    assert unlike(something, something + 0.1) == pytest.approx(0.1)
