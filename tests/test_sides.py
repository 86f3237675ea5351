"""What the evaluator is shown of a ball."""

import math

import pytest
import torch
import trimesh

from nerf3d.commands.sides import AMBIENT, BEHIND, CLAY, ELEVATION, HIGHER, VIEWS, around, as_clay, before_grey
from nerf3d.export.surface import Surface


@pytest.fixture(scope="module")
def ball() -> Surface:
    made = trimesh.creation.icosphere(subdivisions=4, radius=0.6)
    return Surface(torch.tensor(made.vertices).float(), torch.tensor(made.faces).long(), 1.0, 0.02)


def test_clay_is_lit_from_above_the_camera(ball: Surface) -> None:
    """In the middle the normal looks at the camera: at an angle of ELEVATION over the ground."""
    seen = as_clay(ball)
    assert seen.shape == (VIEWS, 64, 64, 3)
    to_camera = torch.tensor([0.0, -math.cos(math.radians(ELEVATION)), math.sin(math.radians(ELEVATION))])
    toward = to_camera + torch.tensor([0.0, 0.0, HIGHER])
    lit = CLAY * (AMBIENT + (1 - AMBIENT) * float(toward @ to_camera / toward.norm()))
    assert torch.allclose(seen[:, 31:33, 31:33], torch.tensor(lit), atol=0.01)
    assert float(seen[:, 22, 32].min()) > float(seen[:, 42, 32].max()) + 0.1
    assert torch.equal(seen[:, :4], torch.full((VIEWS, 4, 64, 3), BEHIND))
    assert float((seen - seen[:1]).abs().mean()) < 0.002  # a ball looks the same from everywhere


def test_eight_sides_begin_at_the_front() -> None:
    cameras = around()
    eyes = cameras.world_from_camera[:, :, 3]
    azimuth = torch.rad2deg(torch.atan2(eyes[:, 0], -eyes[:, 1])) % 360
    assert azimuth.tolist() == pytest.approx([45.0 * i for i in range(8)], abs=1e-3)


def test_before_grey() -> None:
    seen = torch.zeros(8, 128, 128, 4)
    seen[:, ::2] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert torch.allclose(before_grey(seen), torch.tensor([0.75, 0.25, 0.25]).expand(8, 64, 64, 3))
