"""Faces, blinks and boxes whose figures are known."""

import math

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.metrics.pictures import psnr
from nerf3d.metrics.portrait import (
    blink_recall,
    box_mask,
    head_box,
    jitter,
    landmark_distance,
    masked_psnr,
    pasted,
)

NAN = float("nan")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_landmark_distance_equals_the_slow_reference() -> None:
    a, b = 50 + 5 * noise(6, 9, 3), 50 + 5 * noise(6, 9, 3, seed=1)
    chosen = [8, 2, 5, 0]
    total = 0.0
    for t in range(6):
        p, q = a[t, chosen, :2].double(), b[t, chosen, :2].double()
        for i in range(4):
            dx, dy = ((p[i] - p.mean(0)) - (q[i] - q.mean(0))).tolist()
            total += math.hypot(dx, dy)
    assert landmark_distance(a, b, chosen) == pytest.approx(total / 24, rel=1e-9)


def test_where_the_head_is_does_not_count_nor_depth_nor_the_rest_of_the_face() -> None:
    a = 50 + 5 * noise(6, 9, 3)
    b = a + 30 * noise(6, 1, 3, seed=1)  # the head elsewhere in each frame
    b[..., 2] = 0.0
    b[:, 4:] += 10 * noise(6, 5, 3, seed=2)
    assert landmark_distance(a, b, [0, 1, 2, 3]) == pytest.approx(0, abs=1e-4)
    assert landmark_distance(a, b, [0, 1, 2, 3, 4]) > 1


def test_a_mouth_open_by_d_more_is_half_of_d_away() -> None:
    shut = torch.tensor([[10.0, 20.0], [10.0, 20.0]]).repeat(4, 1, 1)
    opened = shut + torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert landmark_distance(opened, shut, [0, 1]) == pytest.approx(1.5)


def test_frames_without_a_face_are_left_out() -> None:
    a, b = noise(5, 4, 3), noise(5, 4, 3, seed=1)
    expected = landmark_distance(a[[1, 2, 4]], b[[1, 2, 4]], range(4))
    a[0], b[3] = NAN, NAN
    assert landmark_distance(a, b, range(4)) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="both films"):
        landmark_distance(a[:1], b[:1], range(4))


def test_a_head_that_stands_or_moves_evenly_has_no_jitter() -> None:
    face = 100 * noise(1, 7, 3)
    assert jitter(face.expand(10, 7, 3), range(7)) == 0.0
    drift = torch.arange(10.0)[:, None, None] * torch.tensor([0.5, -0.25, 0.0])
    assert jitter(face.double() + drift, range(7)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("deviation", [0.1, 0.5, 2.0])
def test_the_jitter_of_independent_noise_is_its_deviation(deviation: float) -> None:
    face = 100 * noise(1, 40, 3) + deviation * noise(500, 40, 3, seed=1)
    assert jitter(face, range(40)) == pytest.approx(deviation, rel=0.02)
    second = face[:, :, :2].double().diff(dim=0).diff(dim=0)
    assert float(second.var()) == pytest.approx(6 * deviation**2, rel=0.04)


def test_the_jitter_of_a_nodding_head_is_small() -> None:
    nods = torch.zeros(250, 3, 2, dtype=torch.float64)
    nods[..., 1] = 10 * torch.sin(2 * math.pi * torch.arange(250) / 25)[:, None]
    assert jitter(nods, range(3)) == pytest.approx(8 * 10 / 25**2, rel=0.02)


def test_jitter_looks_at_the_chosen_points_in_frames_whose_neighbours_are_there() -> None:
    steady = torch.zeros(9, 3, 3)
    steady[:, 2] = noise(9, 3)
    steady[:, :, 2] = noise(9, 3)  # depth
    steady[4] = NAN
    steady[5:] += 20.0  # found again somewhere else
    assert jitter(steady, [0, 1]) == 0.0
    assert jitter(steady, [0, 1, 2]) > 0
    with pytest.raises(InputError, match="three frames in a row"):
        jitter(steady[3:6], [0, 1])
    with pytest.raises(InputError, match="three frames in a row"):
        jitter(steady[:2], [0, 1])


def shut(*runs: tuple[int, int]) -> torch.Tensor:
    """Forty frames, with the eyes shut from the first to the last of every run."""
    frames = torch.zeros(40, dtype=torch.bool)
    for first, last in runs:
        frames[first : last + 1] = True
    return frames


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        (shut((5, 8)), shut((5, 8)), (1.0, 1.0)),
        (shut((0, 1), (38, 39)), shut((0, 0), (39, 39)), (1.0, 1.0)),  # at both ends of the film
        (shut((12, 12)), shut((5, 9)), (1.0, 1.0)),  # three frames late
        (shut((13, 13)), shut((5, 9)), (0.0, 0.0)),
        (shut((2, 2)), shut((5, 9)), (1.0, 1.0)),  # and early
        (shut((1, 1)), shut((5, 9)), (0.0, 0.0)),
        (shut((6, 7)), shut((5, 9), (20, 22), (30, 31)), (1 / 3, 1.0)),
        (shut((6, 7), (14, 15), (20, 20), (36, 37)), shut((5, 9), (20, 22)), (1.0, 0.5)),
        (shut(), shut((5, 9)), (0.0, None)),
        (shut((5, 9)), shut(), (None, 0.0)),
        (shut(), shut(), (None, None)),
    ],
)
def test_blinks_are_found_within_three_frames(
    found: torch.Tensor, true: torch.Tensor, expected: tuple[float | None, float | None]
) -> None:
    assert blink_recall(found, true) == expected
    assert blink_recall(true, found) == expected[::-1]  # what is recall one way is precision the other


def test_the_head_s_box_is_larger_on_top_and_ends_with_the_picture() -> None:
    assert head_box((100.0, 120.0, 80.0, 100.0), 256, 256) == (100, 70, 80, 150)
    assert head_box((100.5, 120.5, 80.0, 100.0), 256, 256) == (100, 70, 81, 151)  # whole pixels outwards
    assert head_box((10.0, 20.0, 90.0, 120.0), 130, 95) == (10, 0, 85, 130)
    for outside in ((300.0, 20.0, 8.0, 8.0), (20.0, -90.0, 30.0, 40.0), (NAN, 1.0, 2.0, 3.0)):
        with pytest.raises(InputError, match="landmarks' box"):
            head_box(outside, 256, 256)


def test_the_mask_of_a_box_is_what_lies_in_the_picture() -> None:
    mask = box_mask((2, 1, 3, 4), 10, 8)
    assert int(mask.sum()) == 12
    assert bool(mask[1:5, 2:5].all())
    assert int(box_mask((-2, -1, 3, 4), 10, 8).sum()) == 3
    assert int(box_mask((6, 8, 9, 9), 10, 8).sum()) == 4
    assert int(box_mask((-9, 0, 3, 4), 10, 8).sum()) == 0


def test_parts_of_a_picture_are_measured_alone() -> None:
    truth = torch.rand(10, 8, 3, generator=torch.Generator().manual_seed(0))
    box = (2, 1, 3, 4)
    picture = truth + 0.5
    picture[1:5, 2:5] = truth[1:5, 2:5] + 0.1
    assert masked_psnr(picture, truth, box) == pytest.approx(20, abs=1e-4)
    assert masked_psnr(picture, truth, box_mask(box, 10, 8)) == masked_psnr(picture, truth, box)
    assert masked_psnr(picture, truth, ~box_mask(box, 10, 8)) == pytest.approx(20 - 20 * math.log10(5), abs=1e-4)
    with pytest.raises(InputError, match="no pixel"):
        masked_psnr(picture, truth, (0, 0, 0, 0))


def test_the_truth_pasted_around_a_head_raises_psnr_by_its_share() -> None:
    truth, picture = torch.rand(2, 10, 8, 3, generator=torch.Generator().manual_seed(0))
    box = (2, 1, 3, 4)
    whole = pasted(picture, truth, box)
    assert torch.equal(whole[1:5, 2:5], picture[1:5, 2:5])
    outside = ~box_mask(box, 10, 8)
    assert torch.equal(whole[outside], truth[outside])
    assert torch.equal(pasted(picture, truth, ~outside), whole)
    gain = psnr(whole, truth) - masked_psnr(picture, truth, box)
    assert gain == pytest.approx(-10 * math.log10(12 / 80), abs=1e-9)
    assert psnr(pasted(picture, truth, (0, 0, 0, 0)), truth) == math.inf
