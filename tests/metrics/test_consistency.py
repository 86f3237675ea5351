import pytest
import torch
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.cameras import look_at
from nerf3d.errors import InputError
from nerf3d.metrics.consistency import reprojection_error

SIDE = 48
UP = torch.tensor([0.0, 1.0, 0.0])
EYES = torch.tensor([[-0.6, 0.2, 3.0], [0.7, -0.1, 2.6]])


def cameras(focal: float = 60.0) -> Cameras:
    """Two before the plane z = 0 that look at the origin."""
    return Cameras.pinhole(look_at(EYES, torch.zeros(3), UP), focal, SIDE, SIDE)


def texture(x: Tensor) -> Tensor:
    """Smooth, so that reading between pixels costs little, and of another color everywhere."""
    return 0.5 + 0.5 * torch.stack(
        [torch.sin(4 * x[:, 0]), torch.cos(3 * x[:, 1]), torch.sin(3 * x[:, 0] + 2 * x[:, 1])], 1
    )


def distance_to_plane(views: Cameras, index: int, height: float = 0.0) -> Tensor:
    rays = views.rays(index)
    return (height - rays.origin[:, 2]) / rays.direction[:, 2]


def seen(views: Cameras, index: int, card: float | None = None, hold: float = 2.0) -> tuple[Tensor, Tensor]:
    """Picture and depth of a textured square |x|, |y| <= hold in z = 0; before it, if asked for, a white card at that z."""
    rays = views.rays(index)
    depth = distance_to_plane(views, index)
    x = rays.at(depth)
    color = texture(x)
    depth = torch.where(x[:, :2].abs().amax(1) <= hold, depth, 0.0)
    color = torch.where(depth[:, None] > 0, color, 1.0)
    if card is not None:
        before = distance_to_plane(views, index, card)
        on = (rays.at(before)[:, :2].abs().amax(1) < 0.25) & (before > 0)
        depth, color = torch.where(on, before, depth), torch.where(on[:, None], 1.0, color)
    return color.reshape(SIDE, SIDE, 3), depth.reshape(SIDE, SIDE)


def test_a_plane_seen_by_two_cameras_is_one_plane() -> None:
    views = cameras()
    a, b = seen(views, 0), seen(views, 1)
    found = reprojection_error(*a, *b, views, 0, 1)
    assert found.color_error is not None
    assert found.color_error < 2e-3
    # What is compared is exactly what camera 1 has in its picture.
    pixel, _ = views.project(torch.ones(SIDE**2, dtype=torch.int64), views.rays(0).at(a[1].flatten()))
    within = ((pixel >= 0) & (pixel <= SIDE)).all(1).double().mean()
    assert 0.3 < found.share < 1
    assert found.share == pytest.approx(float(within), abs=1e-9)


def test_a_picture_is_consistent_with_itself() -> None:
    views = cameras()
    color, depth = seen(views, 0, hold=0.6)
    found = reprojection_error(color, depth, color, depth, views, 0, 0)
    assert found.color_error == pytest.approx(0, abs=1e-5)
    assert found.share == 1
    shifted = reprojection_error(color, depth, color + torch.tensor([0.3, 0.0, 0.0]), depth, views, 0, 0)
    assert shifted.color_error == pytest.approx(0.1, abs=1e-5)


def test_a_wrong_depth_is_seen() -> None:
    """Both views believe in a plane half a unit too near: they agree on it, and the colors show that it is not there."""
    views = cameras()
    (color_a, depth_a), (color_b, depth_b) = seen(views, 0), seen(views, 1)
    right = reprojection_error(color_a, depth_a, color_b, depth_b, views, 0, 1).color_error
    near_a, near_b = (distance_to_plane(views, i, 0.5).reshape(SIDE, SIDE) for i in (0, 1))
    wrong = reprojection_error(color_a, near_a, color_b, near_b, views, 0, 1)
    assert wrong.color_error is not None
    assert wrong.color_error > 50 * right
    # Where only one of them errs, nothing is left to compare.
    lonely = reprojection_error(color_a, near_a, color_b, depth_b, views, 0, 1)
    assert (lonely.color_error, lonely.share) == (None, 0)


def test_the_tolerance_is_a_share_of_the_distance() -> None:
    views = cameras()
    (color_a, depth_a), (color_b, depth_b) = seen(views, 0), seen(views, 1)
    share = reprojection_error(color_a, depth_a, color_b, depth_b, views, 0, 1).share
    for scale in (0.01, 1.0, 100.0):
        pose = torch.cat([views.world_from_camera[..., :3], scale * views.world_from_camera[..., 3:]], -1)
        world = Cameras(pose, views.intrinsics, views.distortion, SIDE, SIDE)
        for wrong, expected in ((1.01, share), (1.03, 0.0)):
            found = reprojection_error(color_a, scale * depth_a, color_b, scale * wrong * depth_b, world, 0, 1)
            assert found.share == pytest.approx(expected, abs=2e-3)


def test_what_is_hidden_is_not_compared() -> None:
    views = cameras()
    (color_a, depth_a), (color_b, depth_b) = seen(views, 0, card=0.8), seen(views, 1, card=0.8)
    found = reprojection_error(color_a, depth_a, color_b, depth_b, views, 0, 1)
    assert found.color_error is not None
    assert found.color_error < 4e-3
    rays = views.rays(0)
    x = rays.at(depth_a.flatten())
    t = (0.8 - x[:, 2:]) / (views.center[1] - x)[:, 2:]  # from the point towards camera 1, to the height of the card
    through = (x + t * (views.center[1] - x))[:, :2].abs().amax(1) < 0.25
    pixel, _ = views.project(torch.ones(SIDE**2, dtype=torch.int64), x)
    visible = ((pixel >= 0) & (pixel <= SIDE)).all(1) & (~through | (x[:, 2] > 0.4))
    hidden = float((through & (x[:, 2] < 0.4)).double().mean())
    assert hidden > 0.02
    assert found.share == pytest.approx(float(visible.double().mean()), abs=0.03)  # the card's border is mixed
    careless = reprojection_error(color_a, depth_a, color_b, depth_b, views, 0, 1, tolerance=10.0)
    assert careless.share > found.share
    assert careless.color_error is not None
    assert careless.color_error > 5 * found.color_error


@pytest.mark.parametrize("nothing", [0.0, float("inf"), float("nan")])
def test_where_there_is_nothing_there_is_nothing_to_compare(nothing: float) -> None:
    views = cameras()
    (color_a, depth_a), (color_b, depth_b) = seen(views, 0, hold=0.5), seen(views, 1, hold=0.5)
    depth_a, depth_b = (torch.where(d > 0, d, nothing) for d in (depth_a, depth_b))
    found = reprojection_error(color_a, depth_a, color_b, depth_b, views, 0, 1)
    assert found.color_error is not None
    assert found.color_error < 2e-3  # the background would give more
    assert 0.8 < found.share < 1  # all but the square's border


def test_a_camera_that_looks_away_sees_nothing() -> None:
    views = cameras()
    color, depth = seen(views, 0)
    away = views.world_from_camera.clone()
    away[1] = look_at(EYES[0], 2 * EYES[0], UP)  # turned around: the points are behind it, mirrored into its picture
    turned = Cameras.pinhole(away, 60.0, SIDE, SIDE)
    found = reprojection_error(color, depth, color, depth, turned, 0, 1, tolerance=10.0)
    assert (found.color_error, found.share) == (None, 0)


def test_a_fisheye_lens() -> None:
    plain = cameras(30.0)
    views = Cameras(plain.world_from_camera, plain.intrinsics, plain.distortion, SIDE, SIDE, "fisheye")
    found = reprojection_error(*seen(views, 0), *seen(views, 1), views, 0, 1)
    assert found.color_error is not None
    assert found.color_error < 5e-3
    assert found.share > 0.5


def test_bad_input() -> None:
    views = cameras()
    color, depth = seen(views, 0)
    with pytest.raises(InputError, match="no depth"):
        reprojection_error(color, 0 * depth, color, depth, views, 0, 1)
    with pytest.raises(InputError, match="2 cameras"):
        reprojection_error(color, depth, color, depth, views, 0, 2)
    with pytest.raises(InputError, match=r"48 x 47 .* 48 x 48"):
        reprojection_error(color[1:], depth[1:], color[1:], depth[1:], views, 0, 1)
