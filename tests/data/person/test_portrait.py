"""What the pictures show agrees with what is said to be true of them."""

import functools

import torch

from nerf3d.core import Cameras
from nerf3d.data.person import paint, shape_numba
from nerf3d.data.person.anatomy import Expression, features
from nerf3d.data.person.landmarks import NUMBERS, landmarks
from nerf3d.data.person.motion import pose
from nerf3d.data.person.portrait import Portrait, _backdrop, _pixels, camera, portrait
from nerf3d.data.person.trace import Scene, placed, trace

SIZE = 112
STILL = pose(torch.zeros(3), torch.zeros(3))
POSES = ((0.0, 0.0, 0.0), (14.0, -6.0, 5.0), (-18.0, 8.0, -4.0))
"""Yaw, pitch and roll."""


def standing(face: Expression, turns: tuple[float, ...] = POSES[0]) -> Scene:
    return Scene(face, pose(torch.tensor(turns), torch.zeros(3)), STILL)


@functools.cache
def seen(face: Expression, turns: tuple[float, ...] = POSES[0]) -> Portrait:
    return portrait(standing(face, turns), camera(SIZE))


def place(face: Expression, turns: tuple[float, ...], number: int) -> torch.Tensor:
    point = placed(landmarks(face)[[NUMBERS.index(number)]], standing(face, turns).world_from_head)
    return camera(SIZE).project(torch.zeros(1, dtype=torch.int64), point)[0][0]


def blueness(picture: torch.Tensor) -> torch.Tensor:
    """Where irises are: bluer than anything else above the clothes."""
    blue = (picture[..., 2] - picture[..., 0]) / picture.sum(-1)
    blue[round(0.6 * SIZE) :] = 0
    return blue > 0.15


def dark_red(picture: torch.Tensor) -> torch.Tensor:
    """Where the mouth's cavity is."""
    red, green, blue = picture.unbind(-1)
    return (red > 2 * green) & (red > 1.5 * blue) & (red < 0.4)


def test_irises_are_where_their_landmarks_are() -> None:
    for turns in POSES:
        found = blueness(seen(Expression(), turns).picture)
        assert int(found.sum()) > 10
        y, x = torch.nonzero(found).T + 0.5
        for number in (468, 473):
            at = place(Expression(), turns, number)
            near = (x - at[0]).abs() < 0.05 * SIZE
            middle = torch.stack([x[near].mean(), y[near].mean()])
            assert float((middle - at).norm()) < 1.0, (turns, number)


def test_a_blink_hides_them() -> None:
    for turns in POSES:
        open_area, shut_area = (int(blueness(seen(Expression(blink=b), turns).picture).sum()) for b in (0.0, 1.0))
        assert open_area > 10
        assert shut_area == 0


def test_the_cavity_is_seen_when_the_mouth_is_open() -> None:
    for turns in POSES:
        assert int(dark_red(seen(Expression(), turns).picture).sum()) == 0
        found = torch.nonzero(dark_red(seen(Expression(opening=1.0), turns).picture)) + 0.5
        assert len(found) > 15
        top, bottom = (place(Expression(opening=1.0), turns, number)[1] for number in (13, 14))
        assert float(top) - 2 < float(found[:, 0].min())
        assert float(found[:, 0].max()) < float(bottom) + 2


def test_mattes_agree_with_the_picture() -> None:
    shown = seen(Expression(opening=0.5), POSES[1])
    head, person = shown.head_matte, shown.person_matte
    assert bool((head <= person + 1e-6).all())
    assert 0.12 < float(head.mean()) < 0.3
    assert 0.35 < float(person.mean()) < 0.6
    assert bool(((person > 0) & (person < 1)).any())
    wall = _backdrop(_pixels(camera(SIZE)), camera(SIZE)).reshape(SIZE, SIZE, 3)
    differs = (shown.picture - wall).abs().amax(-1)
    assert float(differs[person == 0].max()) < 1e-3  # four rays average the wall
    assert float((differs[person == 1] > 0.05).float().mean()) > 0.98
    for number in (1, 152, 50, 280, 151):
        x, y = place(Expression(opening=0.5), POSES[1], number).long().tolist()
        assert float(head[y, x]) == 1
    assert float(head[round(0.85 * SIZE) :].max()) == 0  # that is all torso
    assert float(person[round(0.9 * SIZE), SIZE // 2]) == 1


def test_the_torso_stays_when_the_head_turns() -> None:
    below = slice(round(0.85 * SIZE), None)
    one, other = (seen(Expression(), turns) for turns in POSES[:2])
    assert float((one.picture[below] - other.picture[below]).abs().max()) < 0.03  # the head shades it
    assert torch.equal(one.person_matte[below], other.person_matte[below])


def test_the_same_again() -> None:
    again = portrait(standing(Expression(opening=0.5), POSES[1]), camera(SIZE))
    assert torch.equal(again.picture, seen(Expression(opening=0.5), POSES[1]).picture)


def test_tracing_meets_what_small_steps_meet() -> None:
    """Against a march of 1500 equal steps."""
    face = Expression(opening=0.6, blink=0.3)
    scene = standing(face, POSES[2])
    view = camera(7)
    rays = view.rays(0)
    surface = trace(scene, rays)
    head, torso = scene.world_from_head.double().numpy(), scene.world_from_torso.double().numpy()
    steps = torch.linspace(2.4, 3.6, 1501, dtype=torch.float64)
    both = 0
    for i in range(len(rays)):
        points = (rays.origin[i].double() + steps[:, None] * rays.direction[i].double()).numpy()
        inside = [k for k in range(len(points)) if shape_numba.scene(points[k], features(face), head, torso) < 0]
        if inside and surface.part[i] >= 0:
            both += 1
            assert abs(float(surface.depth[i]) - float(steps[inside[0]])) < 0.004
        else:
            assert not inside
            assert surface.part[i] == -1
    assert both > 12


def test_normals_look_at_the_camera_and_light_is_bounded() -> None:
    view = camera(24)
    rays = view.rays(0)
    surface = trace(standing(Expression()), rays)
    on = surface.part >= 0
    torch.testing.assert_close(surface.normal[on].norm(dim=-1), torch.ones(int(on.sum())))
    assert float((surface.normal[on] * rays.direction[on]).sum(-1).mean()) < -0.5
    assert float(surface.openness[on].min()) >= 0
    assert float(surface.openness[on].max()) <= 1.001
    assert {shape_numba.SKIN, shape_numba.HAIR, shape_numba.NECK, shape_numba.CLOTHES} <= set(surface.part[on].tolist())
    white = paint.lit(torch.ones(5, 3), surface.normal[on][:5], rays.direction[on][:5], torch.ones(5), torch.ones(5))
    assert float(white.min()) >= 0
    assert float(white.max()) <= 1


def test_the_picture_scales_with_the_camera() -> None:
    small, large = camera(32), camera(64)
    assert isinstance(small, Cameras)
    assert torch.equal(small.scaled_to(64, 64).intrinsics, large.intrinsics)
    half = torch.nn.functional.avg_pool2d(portrait(standing(Expression()), large).head_matte[None], 2)[0]
    assert float((half - portrait(standing(Expression()), small).head_matte).abs().mean()) < 0.01
