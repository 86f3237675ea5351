import puppet
import torch

from nerf3d.data.portrait.boxes import face_boxes, lips_boxes
from nerf3d.data.portrait.layers import BACKGROUND, HEAD, TORSO, above_jaw, background_plate, layers


def test_the_head_is_the_person_above_the_jaw() -> None:
    points = puppet.landmarks(1)[0]
    matte = torch.zeros(256, 256, dtype=torch.uint8)
    matte[20:, 60:200] = 255
    parts = layers(points, matte)
    chin = points[152, :2].round().long().tolist()
    middle, jaw_side = chin[0], points[58, 1]
    assert int(parts[30, 30]) == BACKGROUND
    assert int(parts[chin[1] - 12, middle]) == HEAD
    assert int(parts[chin[1] + 12, middle]) == TORSO
    assert int(parts[int(jaw_side) - 15, 65]) == HEAD  # hair beside the face
    assert int(parts[int(jaw_side) + 15, 65]) == TORSO  # and hair upon the shoulder
    assert set(parts.unique().tolist()) == {BACKGROUND, HEAD, TORSO}


def test_the_jaw_s_line_turns_with_the_face() -> None:
    points = puppet.landmarks(1)[0]
    quarter = torch.stack([points[:, 1], 256 - points[:, 0], points[:, 2]], -1)  # turned by 90 degrees
    straight, turned = above_jaw(points, 256, 256), above_jaw(quarter, 256, 256)
    assert float((straight == torch.rot90(turned, -1)).float().mean()) > 0.995


def test_the_plate_is_the_median_of_what_is_seen() -> None:
    """A person who steps aside uncovers the wall; a lamp that flickers once does not show; the rest is filled."""
    wall = torch.full((64, 64, 3), 100, dtype=torch.uint8)
    wall[:, 40:] = torch.tensor([200, 50, 50], dtype=torch.uint8)
    frames, mattes = [], []
    for k in range(9):
        matte = torch.zeros(64, 64, dtype=torch.uint8)
        matte[20:, 10 + k : 40 + k] = 255
        frame = wall.clone()
        frame[matte > 0] = 7
        if k == 4:
            frame[:10] = 255
        frames.append(frame)
        mattes.append(matte)
    plate, seen = background_plate(frames, mattes)
    assert bool((plate[seen] == wall[seen]).all())
    assert bool(seen[:18].all())
    assert not bool(seen[40, 30])
    assert bool((plate[~seen] <= 200).all())
    assert bool((plate[~seen] > 40).all())  # nothing of the person


def test_a_plate_where_nothing_was_seen_is_grey() -> None:
    plate, seen = background_plate(
        [torch.zeros(8, 8, 3, dtype=torch.uint8)], [torch.full((8, 8), 255, dtype=torch.uint8)]
    )
    assert not bool(seen.any())
    assert bool((plate.float() - 128).abs().max() <= 1)


def test_boxes_are_around_what_they_say_and_in_the_picture() -> None:
    points = puppet.landmarks(3)
    face, lips = face_boxes(points, 256), lips_boxes(points, 256)
    for k in range(3):
        x, y, width, height = face[k].tolist()
        low, high = points[k, :, :2].amin(0), points[k, :, :2].amax(0)
        assert x < float(low[0])
        assert x + width > float(high[0])
        assert y + height > float(high[1])
        assert width >= 1.4 * float(high[0] - low[0])  # AD-NeRF's half of its width, half as much again
        x, y, width, height = lips[k].tolist()
        assert x <= float(points[k, 61, 0])
        assert float(points[k, 291, 0]) <= x + width
        assert abs(width - height) <= 1
    corner = points - points[:, :1] + torch.tensor([255.0, 2.0, 0.0])
    for box in (*face_boxes(corner, 256), *lips_boxes(corner, 256)):
        x, y, width, height = box.tolist()
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= 256
        assert min(width, height) >= 1
