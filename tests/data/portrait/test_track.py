import puppet
import pytest
import torch
from torch import Tensor

from nerf3d.data.portrait.track import SAMPLES, Track, bridge, follow, square_around_face
from nerf3d.errors import InputError


def track(count: int, **odd: object) -> Track:
    kept: list[int] = []
    pictures = (torch.from_numpy(frame) for frame in puppet.frames(count))
    result = follow(pictures, puppet.Seer(**odd), lambda index, frame, matte: kept.append(index))  # type: ignore[arg-type]
    assert kept == list(range(count))
    return result


def test_a_face_is_followed() -> None:
    seen = track(150)
    assert bool(seen.known.all())
    assert not bool(seen.bridged.any())
    torch.testing.assert_close(seen.points, puppet.landmarks(2**puppet.BITS // 2, 0.3)[:150])
    assert SAMPLES / 2 <= len(seen.samples) <= SAMPLES
    numbers = [puppet.number(frame) for frame, _ in seen.samples]
    assert len({b - a for a, b in zip(numbers, numbers[1:])}) == 1
    assert numbers[-1] > 140


def test_short_gaps_are_bridged_and_long_ones_dropped() -> None:
    seen = track(60, faceless={0, 10, 11, 30, 31, 32, 33, 34, 35, 59})
    assert torch.nonzero(seen.bridged)[:, 0].tolist() == [10, 11]
    assert torch.nonzero(~seen.known)[:, 0].tolist() == [0, 30, 31, 32, 33, 34, 35, 59]
    expected = seen.points[9] + (seen.points[12] - seen.points[9]) / 3
    torch.testing.assert_close(seen.points[10], expected)


def test_bridges_lie_between() -> None:
    points = torch.full((8, 478, 3), torch.nan)
    points[1], points[7] = 0.0, 6.0
    whole, bridged = bridge(points)
    assert whole[1:, 0, 0].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6])
    assert bridged.tolist() == [False, False, True, True, True, True, True, False]


def test_no_face_two_faces_and_a_face_that_leaves_are_refused() -> None:
    with pytest.raises(InputError, match="no face was found in any of the 20 frames"):
        track(20, faceless=range(20))
    with pytest.raises(InputError, match="only 9 of 20 frames"):
        track(20, faceless=range(9, 20))
    with pytest.raises(InputError, match=r"26 frames show more than one face, the first of them 0\.4 s"):
        track(200, crowded=range(10, 200))  # said at once, not after the whole film
    with pytest.raises(InputError, match="3 frames show more than one face"):
        track(30, crowded={4, 5, 6})


def test_a_second_face_for_a_moment_does_not_catch_the_eye() -> None:
    seen = track(110, crowded={50, 51})
    torch.testing.assert_close(seen.points[49:53], puppet.landmarks(2**puppet.BITS // 2, 0.3)[49:53])


def test_the_square_is_around_the_face() -> None:
    seer = puppet.Seer()
    square = square_around_face((torch.from_numpy(f) for f in puppet.frames(5)), seer)
    assert square is not None
    assert square.side == 256  # all of it: the face is not small

    def wide(frame: Tensor) -> Tensor:
        return torch.nn.functional.pad(frame, (0, 0, 900, 600, 300, 200))

    class Far(puppet.Seer):
        """Sees the puppet in a larger picture."""

        def __call__(self, frame: Tensor) -> puppet.Sight:
            sight = super().__call__(frame[300:556, 900:1156].contiguous())
            return puppet.Sight(tuple(f + torch.tensor([900.0, 300.0, 0.0]) for f in sight.faces), frame[..., 0])

    far = square_around_face((wide(torch.from_numpy(f)) for f in puppet.frames(5)), Far())
    assert far is not None
    face = puppet.landmarks(3)[2, :, :2] + torch.tensor([900.0, 300.0])
    tall = float(face[:, 1].max() - face[:, 1].min())
    assert far.side == pytest.approx(2.8 * tall, rel=0.05)
    assert far.x + far.side / 2 == pytest.approx(float(face[:, 0].mean()), abs=0.15 * tall)
    assert 0 <= far.x <= 1756 - far.side
    with pytest.raises(InputError, match="more than one face most of the time"):
        square_around_face((torch.from_numpy(f) for f in puppet.frames(5)), puppet.Seer(crowded={0, 1, 2}))
    assert square_around_face([torch.zeros(64, 64, 3, dtype=torch.uint8)], puppet.Seer(faceless={0})) is None
