import puppet
import pytest
import torch

from nerf3d.data.portrait.expression import blinks, eye_aspect_ratio, eye_openness, mouth


def test_the_mouth_is_measured_in_distances_of_the_eyes() -> None:
    """Opening is what the puppet does, by 9 cm; in double size and turned in the picture it stays."""
    points = puppet.landmarks(50)
    opening, width = mouth(points).unbind(-1)
    truth = torch.tensor([puppet.gape(k) for k in range(50)]) / 0.09
    assert float((opening - truth).abs().max()) < 0.02
    torch.testing.assert_close(width, torch.full((50,), 0.05 / 0.09), atol=0.03, rtol=0)
    turned = 2 * points[..., [1, 0, 2]]
    torch.testing.assert_close(mouth(turned), mouth(points))


def test_blinks_are_where_the_lids_meet() -> None:
    eye = eye_openness(eye_aspect_ratio(puppet.landmarks(120, noise=0.2)))
    assert torch.nonzero(blinks(eye))[:, 0].tolist() == [k for k in range(120) if puppet.openness(k) < 0.5]
    assert float(eye.median()) > 0.9


def test_openness_is_between_shut_and_usual() -> None:
    assert eye_openness(torch.tensor([0.3, 0.3, 0.3, 0.05, 0.6])).tolist() == pytest.approx([1, 1, 1, 0, 1])
