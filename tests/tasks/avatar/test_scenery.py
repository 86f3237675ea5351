"""The space a head is in, its camera, and what is seen of it; the head is the talker's ball, whose size is known."""

import math
from dataclasses import replace
from pathlib import Path

import puppet
import pytest
import talker
import torch
from scipy.spatial.transform import Rotation

from nerf3d.config import find_recipe, read_recipe
from nerf3d.core import Box
from nerf3d.data.portrait.footage import Footage
from nerf3d.data.portrait.likeness import Likeness
from nerf3d.data.portrait.pose import camera_to_head
from nerf3d.errors import InputError
from nerf3d.tasks.avatar import Avatar, scenery
from nerf3d.tasks.avatar.scenery import Scenery, head_box, hull, in_frame, pose_numbers, usual_lean

CELLS = 16


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Likeness, Footage]:
    return talker.known(talker.write(tmp_path_factory.mktemp("talker") / "data", 66))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pose_numbers_are_scipys_rotation_vectors_while_angles_are_small() -> None:
    vectors = 0.2 * (2 * torch.rand(20, 3, generator=rng(), dtype=torch.float64) - 1)
    place = torch.randn(20, 3, generator=rng(1), dtype=torch.float64)
    turn = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())  # head to camera: x -> turn x + place
    pose = torch.eye(4).repeat(20, 1, 1)
    pose[:, :3, :3] = turn.transpose(1, 2)
    pose[:, :3, 3] = (-turn.transpose(1, 2) @ place[..., None])[..., 0]
    found = pose_numbers(pose)
    torch.testing.assert_close(found[:, 3:], place.float(), atol=1e-5, rtol=1e-5)
    angle = vectors.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found[:, :3], (vectors * angle.sin() / angle).float(), atol=1e-5, rtol=1e-4)
    assert float((found[:, :3] - vectors).abs().max()) < float(angle.max()) ** 3 / 6 + 1e-5


def test_pose_numbers_of_the_film_say_how_the_head_is_held() -> None:
    """The puppet's own numbers: yaw to the left is positive about y, which is up; distances are behind (-z)."""
    found = pose_numbers(camera_to_head(puppet.head_to_camera(60)))
    t = torch.arange(60) / 25
    yaw, pitch, roll = (math.radians(a) * torch.sin(w * t + p) for a, w, p in ((8, 2.1, 0), (4, 1.7, 1), (5, 1.3, 2)))
    torch.testing.assert_close(found[:, :3], torch.stack([pitch, yaw, roll], -1), atol=0.015, rtol=0)
    torch.testing.assert_close(found[:, 5], -puppet.head_to_camera(60)[:, 2, 3], atol=1e-5, rtol=0)


def test_shoulders_stand_where_they_usually_do_for_such_a_head() -> None:
    rng = torch.Generator().manual_seed(0)
    head, factors = torch.randn(60, 6, generator=rng), torch.randn(7, 2, generator=rng)
    torso = torch.cat([head, torch.ones(60, 1)], 1) @ factors
    torso[::7] = torch.nan
    torch.testing.assert_close(usual_lean(head, torso), factors, atol=0.02, rtol=0)
    assert not bool(usual_lean(head, torch.full((60, 2), torch.nan)).any())


def test_the_torso_goes_where_it_is_told_and_else_with_the_head(person: Scenery) -> None:
    poses = person.likeness.shots.camera_to_head[:3]
    told = person.torso_numbers(poses, torch.tensor([[0.1, -0.2], [torch.nan, torch.nan], [0.0, 0.0]]))
    assert torch.equal(told[:, :6], pose_numbers(poses))
    assert told[0, 6:].tolist() == pytest.approx([0.2, -0.4])  # a frame is 2 wide
    likely = torch.cat([pose_numbers(poses[1:2]), torch.ones(1, 1)], 1) @ person.lean
    torch.testing.assert_close(told[1:2, 6:], likely)
    assert told[2, 6:].tolist() == [0, 0]


def test_the_frame_is_from_minus_1_to_1() -> None:
    found = in_frame(torch.tensor([0, 3, 7]), torch.tensor([0, 1, 3]), 8, 4)
    assert found.tolist() == [[-0.875, -0.75], [-0.125, -0.25], [0.875, 0.75]]


def test_the_box_holds_the_ball_and_not_much_more(known: tuple[Likeness, Footage]) -> None:
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    box = head_box(views, footage)
    assert bool((box.low < -talker.RADIUS).all() & (box.high > talker.RADIUS).all())
    assert float(box.size.max()) < 2 * 1.3 * talker.RADIUS
    assert float(box.center.norm()) < 0.1 * talker.RADIUS


def test_the_box_does_not_mind_a_few_strange_frames(known: tuple[Likeness, Footage]) -> None:
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    plain, head = head_box(views, footage), footage.head.clone()
    head[::20] = 255  # the hand before the camera
    head[5::20] = 0  # nobody there
    strange = head_box(views, replace(footage, head=head))
    assert float((strange.low - plain.low).abs().max()) < 0.1 * talker.RADIUS
    assert float((strange.high - plain.high).abs().max()) < 0.1 * talker.RADIUS


def test_frames_without_any_head_are_refused(known: tuple[Likeness, Footage]) -> None:
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    with pytest.raises(InputError, match="no frame has a head in its parsing"):
        head_box(views, replace(footage, head=torch.zeros_like(footage.head)))


def test_the_hull_holds_the_ball_and_leaves_the_corners_out(known: tuple[Likeness, Footage]) -> None:
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    found = hull(likeness.box, CELLS, views, footage)
    axis = (torch.arange(CELLS) + 0.5) / CELLS
    x = likeness.box.from_unit(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1))
    assert bool(found[x.norm(dim=-1) < talker.RADIUS].all())
    aside = x[..., :2].norm(dim=-1)  # seen from the front: in depth it may be as deep as the box
    assert not bool(found[aside > 1.5 * talker.RADIUS].any())
    assert 0.5 < float(found.float().mean()) < 0.95


def test_the_hull_is_where_enough_frames_have_the_head(known: tuple[Likeness, Footage]) -> None:
    """Corners that are head in one of ten frames stay out, in half of them they are in."""
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    corners = [0, 0, -1, -1], [0, -1, 0, -1], [0, 0, 0, 0]
    for every, more in ((10, False), (2, True)):
        head = footage.head.clone()
        head[::every] = 255
        found = hull(likeness.box, CELLS, views, replace(footage, head=head))
        assert found[corners].tolist() == [more] * 4


def test_cells_beyond_the_frame_are_not_in_the_hull(known: tuple[Likeness, Footage]) -> None:
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    everywhere = replace(footage, head=torch.full_like(footage.head, 255))
    large = Box.cube(0.5)  # ten times as wide as what the frame shows
    found = hull(large, CELLS, views, everywhere)
    axis = (torch.arange(CELLS) + 0.5) / CELLS
    x = large.from_unit(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1))
    shown = 0.5 * talker.SIZE / talker.FOCAL * (0.8 - x[..., 2])  # half of what is seen at that depth
    assert bool(found.any())
    assert not bool(found[x[..., :2].abs().amax(-1) > 1.3 * shown + 0.05].any())


@pytest.fixture(scope="module")
def person(known: tuple[Likeness, Footage]) -> Scenery:
    recipe = read_recipe(Avatar, find_recipe("ernerf", "avatar"), talker.SMALL)
    made = Scenery(recipe, known[0], rng())
    chance = rng(1)
    with torch.no_grad():
        made.head.table.add_(torch.randn(made.head.table.shape, generator=chance))
        for grid in made.torso.grids:
            grid.add_(torch.randn(grid.shape, generator=chance))
        for parameter in made.head.networks():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=chance))
    return made.requires_grad_(False)


def seen(person: Scenery, code: float = 0.5, eye: float = 1.0, frame: int = 3) -> torch.Tensor:
    pose = person.likeness.shots.camera_to_head[frame]
    return person.person(pose, torch.full((8,), code), torch.tensor(eye))


def test_the_same_moment_is_the_same_picture_and_another_is_not(
    person: Scenery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = seen(person)
    assert first.shape == (talker.SIZE, talker.SIZE, 4)
    assert bool((first[..., :3] <= first[..., 3:] + 1e-5).all())  # premultiplied
    assert torch.equal(first, seen(person))
    for other in (seen(person, code=-2.0), seen(person, eye=0.0), seen(person, frame=40)):
        assert float((first - other).abs().max()) > 1e-3
    monkeypatch.setattr(scenery, "CHUNK", 1000)  # how many rays go at once does not matter
    torch.testing.assert_close(seen(person), first, atol=1e-5, rtol=0)


def test_the_background_is_behind_the_person(person: Scenery) -> None:
    alone, pose, code = seen(person), person.likeness.shots.camera_to_head[3], torch.full((8,), 0.5)
    green = torch.tensor([0.0, 1.0, 0.0]).expand(talker.SIZE, talker.SIZE, 3)
    for behind, picture in (
        (person.plate, person.picture(pose, code, torch.tensor(1.0))),
        (green, person.picture(pose, code, torch.tensor(1.0), green)),
    ):
        torch.testing.assert_close(picture, alone[..., :3] + (1 - alone[..., 3:]) * behind)


def test_only_the_run_s_state_is_kept_in_its_checkpoint(person: Scenery) -> None:
    """The likeness has a file of its own; the background and the hull are state, so that a run resumes to the same bits."""
    state = person.state_dict()
    assert {"plate", "hull", "sampler.alpha", "head.table"} <= set(state)
    assert not any(name.startswith("likeness") for name in state)
    other = Scenery(
        read_recipe(Avatar, find_recipe("ernerf", "avatar"), talker.SMALL),
        replace(person.likeness, plate=torch.zeros_like(person.likeness.plate)),
        rng(9),
    )
    other.load_state_dict(state)
    assert torch.equal(seen(other.requires_grad_(False)), seen(person))


def test_the_written_folder_is_where_the_camera_stood(known: tuple[Likeness, Footage], tmp_path: Path) -> None:
    """The likeness' cameras project the ball's middle to the middle of what the frames show of it."""
    likeness, footage = known
    views = likeness.cameras(likeness.shots.camera_to_head)
    index = torch.arange(len(footage))
    middle, _ = views.project(index, torch.zeros(len(footage), 3))
    share = footage.head.float() / 255
    at = torch.arange(talker.SIZE) + 0.5
    x = (share.sum(1) * at).sum(-1) / share.sum((1, 2))
    assert float((middle[:, 0] - x).abs().max()) < 0.3
