"""How the head is held: never faster than the film, never far from it, no jumps, and turned to the side that was asked."""

import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.data.portrait.pose import camera_to_head
from nerf3d.errors import InputError
from nerf3d.tasks.avatar.motion import beside_original, from_file, natural, orbit, original, still


def rotation(turn: Tensor) -> Tensor:
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.linalg.matrix_exp(torch.stack(rows, -2))


def head(turn: Tensor, place: Tensor) -> Tensor:
    """camera_to_head of a head turned so (radians, axes right, up, towards the viewer) at a place before the camera."""
    gl = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # OpenCV's camera sees y downwards and z away
    return camera_to_head(torch.cat([gl @ rotation(turn), (place @ gl)[..., None]], -1))


def film(count: int = 700) -> Tensor:
    """A head that wanders: slow waves of yaw and pitch about the neck, whereby it moves, and a little roll."""
    t = torch.arange(count)[:, None, None] / 25
    period = torch.tensor([[3.1, 4.7, 7.9], [5.3, 6.1, 3.7]])
    pitch, yaw = torch.sin(2 * math.pi * t / period + torch.arange(3.0)).mean(-1).unbind(-1)
    turn = torch.deg2rad(6 * torch.stack([pitch, yaw, 0.2 * yaw], -1))
    return head(turn, torch.tensor([0.0, -0.1, -0.9]) + 0.1 * rotation(turn)[:, :, 1])


FILM, TIMES = film(), torch.arange(700)


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Degrees between rotations, by the slow and exact way."""
    away = (a[..., :3, :3].double() - b[..., :3, :3].double()).flatten(-2).norm(dim=-1)
    return torch.rad2deg(2 * torch.asin((away / math.sqrt(8)).clamp_max(1)))


def places(poses: Tensor) -> Tensor:
    """Where the head is before the camera."""
    return -(poses[:, :3, :3].transpose(1, 2) @ poses[:, :3, 3:])[..., 0]


def speeds(poses: Tensor) -> Tensor:
    """Degrees and lengths from frame to frame."""
    return torch.stack([angles(poses[1:], poses[:-1]), places(poses).diff(dim=0).norm(dim=-1)])


def fastest(poses: Tensor) -> Tensor:
    return speeds(poses).amax(1) * 1.001 + torch.tensor([1e-3, 1e-6])


def walked(poses: Tensor, times: Tensor, frames: int, seed: int | None = 0) -> Tensor:
    rng = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.stack(list(natural(poses, times, frames, rng)))


def test_still_is_the_pose_in_the_middle() -> None:
    turn = torch.zeros(9, 3)
    turn[:, 1] = torch.tensor([-4.0, -3, -2, -1, 0.2, 1, 2, 3, 4]).deg2rad()
    place = torch.tensor([0.0, 0.0, -0.9]).repeat(9, 1)
    poses = head(turn, place)
    assert torch.equal(still(poses), poses[4])
    place[4, 0] = 0.3  # turned like the mean, and far from where it was
    assert torch.equal(still(head(turn, place)), head(turn, place)[5])
    assert torch.equal(still(poses[:1]), poses[0])


def test_the_original_motion_goes_to_and_fro() -> None:
    poses = original(FILM[:5], TIMES[:5], 13)
    rows = [0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1, 2]
    torch.testing.assert_close(poses, FILM[rows], atol=1e-6, rtol=0)
    torch.testing.assert_close(original(FILM[:1], TIMES[:1], 3), FILM[[0, 0, 0]], atol=1e-6, rtol=0)
    assert original(FILM, TIMES, 0).shape == (0, 4, 4)


def test_what_the_film_says_beside_its_poses_comes_with_them() -> None:
    said = torch.stack([torch.arange(5.0), torch.arange(5.0).square()], -1)
    rows = [0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1, 2]
    torch.testing.assert_close(beside_original(said, FILM[:5], TIMES[:5], 13), said[rows])
    times = torch.tensor([0, 1, 3, 4])  # a frame is missing
    between = beside_original(said[:4], FILM[[0, 1, 3, 4]], times, 5)
    assert between[:, 0].tolist() == pytest.approx([0, 1, 1.5, 2, 3])
    assert beside_original(said[:1], FILM[:1], TIMES[:1], 3).tolist() == [[0, 0]] * 3


def test_where_frames_are_missing_the_film_keeps_its_time_and_does_not_jump() -> None:
    kept = torch.ones(700, dtype=torch.bool)
    kept[100:112] = kept[300:302] = False
    poses = original(FILM[kept], TIMES[kept], 700)
    torch.testing.assert_close(poses[kept], FILM[kept], atol=1e-6, rtol=0)
    torch.testing.assert_close(poses[300:302], FILM[300:302], atol=1e-3, rtol=0)
    assert bool((speeds(poses).amax(1) <= 1.5 * speeds(FILM).amax(1)).all())
    kept[200:280] = False  # too long to wait for
    there = angles(original(FILM[kept], TIMES[kept], 280), FILM[280]) < 1e-2
    assert 224 <= int(there.int().argmax()) <= 274


def test_a_cut_in_the_film_is_bridged() -> None:
    cut = torch.cat([FILM[:200], orbit(torch.eye(4), 51)[50] @ FILM[450:600]])
    jump = speeds(cut)[0, 199]
    poses = original(cut, torch.arange(350), 350)
    assert jump > 10 * fastest(FILM)[0]
    assert bool((speeds(poses).amax(1) <= fastest(FILM)).all())
    torch.testing.assert_close(poses[:200], cut[:200], atol=1e-6, rtol=0)
    assert any(angles(pose, cut[200]) < 1e-3 for pose in poses)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_natural_motion_is_no_faster_than_the_film_and_stays_by_it(seed: int | None) -> None:
    poses = walked(FILM, TIMES, 3000, seed)
    assert bool((speeds(poses).amax(1) <= fastest(FILM)).all())
    nearest = torch.stack([angles(pose, FILM).min() for pose in poses])
    short_cut = 1.25 * torch.quantile(speeds(FILM)[0], 0.99)  # half of what a quick head does in two and a half frames
    assert float(nearest.max()) <= max(float(short_cut), float(speeds(FILM)[0].max() / 2)) + 1e-3
    spread = [angles(x, still(FILM)).square().mean().sqrt() for x in (poses, FILM)]
    assert 0.7 < float(spread[0] / spread[1]) < 1.3
    assert float(speeds(poses)[0].median() / speeds(FILM)[0].median()) > 0.7  # it does not linger
    torch.testing.assert_close(
        poses[:, :3, :3] @ poses[:, :3, :3].mT, torch.eye(3).expand(3000, 3, 3), atol=1e-5, rtol=0
    )


def test_natural_motion_is_no_replay() -> None:
    poses = walked(FILM, TIMES, 3000)
    away, nearest = torch.stack([angles(pose, FILM) for pose in poses]).min(1)
    at = nearest[away < 1e-3]  # all but the frames in which it starts, stops and takes short cuts
    assert len(at) > 1800
    assert len(at.unique()) > 500  # it comes about
    assert 12 < int((at.diff().abs() >= 50).sum()) < 60
    assert not torch.allclose(poses[:200], FILM[:200], atol=1e-2)
    assert angles(poses[:1500], poses[1500:]).mean() > 1


def test_natural_motion_depends_on_its_stream_alone() -> None:
    a, b = walked(FILM, TIMES, 400), walked(FILM, TIMES, 1000)
    assert torch.equal(a, b[:400])
    assert torch.equal(walked(FILM, TIMES, 50, None), walked(FILM, TIMES, 50, None))
    assert not torch.equal(a, walked(FILM, TIMES, 400, 1))
    rng = torch.Generator().manual_seed(0)
    walk = natural(FILM, TIMES, 400, rng)
    torch.rand(7, generator=rng)  # others draw in the meantime
    assert torch.equal(torch.stack(list(walk)), a)


def test_an_hour_is_made_while_it_is_watched() -> None:
    assert len(list(islice(natural(FILM, TIMES, 10**12, None), 30))) == 30
    assert list(natural(FILM, TIMES, 0, None)) == []


def test_natural_motion_stays_between_the_cuts_of_a_film() -> None:
    turned = orbit(torch.eye(4), 51, yaw_degrees=40.0)[50] @ FILM[350:]
    both = torch.cat([FILM[:350], turned])
    poses = walked(both, TIMES, 2000)
    assert bool((speeds(poses).amax(1) <= fastest(FILM)).all())
    assert max(float(angles(pose, both).min()) for pose in poses[::5]) < 1


@pytest.mark.parametrize("count", [1, 2, 3, 11, 60])
def test_short_films_and_shreds_are_enough(count: int) -> None:
    poses = walked(FILM[:count], TIMES[:count], 300)
    assert bool((speeds(poses).amax(1) <= fastest(FILM[: count + 1])).all())
    assert max(float(angles(pose, FILM[:count]).min()) for pose in poses) < 0.5
    shreds = torch.arange(0, 700, 7)  # every seventh frame has a face
    poses = walked(FILM[shreds], shreds, 500)
    assert bool((speeds(poses).amax(1) <= 1.6 * fastest(FILM)).all())
    motionless = FILM[:1].expand(count, 4, 4)
    torch.testing.assert_close(walked(motionless, TIMES[:count], 50), FILM[:1].expand(50, 4, 4), atol=1e-6, rtol=0)


def test_an_orbit_turns_the_nose_to_the_right_first() -> None:
    pose = head(torch.tensor([[0.1, 0.2, 0.0]]), torch.tensor([[0.02, -0.01, -0.9]]))[0]
    poses = orbit(pose, 200, yaw_degrees=10.0, period=200.0)
    cameras = Cameras(
        poses[:, :3] * torch.tensor([1.0, -1.0, -1.0, 1.0]),
        torch.tensor([600.0, 600.0, 128.0, 128.0]).expand(200, 4),
        torch.zeros(200, 5),
        256,
        256,
    )
    frames = torch.arange(200)
    nose, _ = cameras.project(frames, torch.tensor([0.0, 0.0, 0.1]).expand(200, 3))
    origin, z = cameras.project(frames, torch.zeros(200, 3))
    crown, _ = cameras.project(frames, torch.tensor([0.0, 0.2, 0.0]).expand(200, 3))
    torch.testing.assert_close(poses[0], pose)
    across = nose[:, 0] - origin[:, 0]
    assert across.argmax() == 50
    assert across.argmin() == 150
    assert across[50] - across[0] > 5
    for seen in (origin, crown):  # what lies on the head's own axis stays
        torch.testing.assert_close(seen, seen[:1].expand(200, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(z, z[:1].expand(200), atol=1e-5, rtol=0)
    turned = angles(poses, pose)
    assert float(turned.max()) == pytest.approx(10, abs=1e-3)
    assert float(turned[25]) == pytest.approx(10 * math.sin(math.pi / 4), abs=1e-3)


def written(path: Path, poses: Tensor, **more: list[float]) -> Path:
    frames = [
        {"transform_matrix": pose.tolist()} | {key: values[i] for key, values in more.items() if i < len(values)}
        for i, pose in enumerate(poses)
    ]
    path.write_text(json.dumps({"frames": frames}))
    return path


def test_poses_from_files(tmp_path: Path) -> None:
    plain = from_file(written(tmp_path / "plain.json", FILM[:4]), 4)
    assert plain.eyes is None
    torch.testing.assert_close(plain.poses, FILM[:4], atol=1e-5, rtol=0)
    seen = from_file(written(tmp_path / "eyes.json", FILM[:4], eye=[0.5, float("nan"), 0.25]), 4)
    assert seen.eyes is not None
    assert seen.eyes.tolist() == [0.5, 0.375, 0.25, 0.25]
    np.save(tmp_path / "poses.npy", FILM[:4].double().numpy())
    torch.testing.assert_close(from_file(tmp_path / "poses.npy", 4).poses, FILM[:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", ["json", "npy"])
def test_what_is_no_pose_is_refused(tmp_path: Path, suffix: str) -> None:
    def file(poses: Tensor) -> Path:
        if suffix == "json":
            return written(tmp_path / "poses.json", poses)
        np.save(tmp_path / "poses.npy", poses.numpy())
        return tmp_path / "poses.npy"

    with pytest.raises(InputError, match="holds 4 poses and the sound lasts 250 frames"):
        from_file(file(FILM[:4]), 250)
    for factor in ([1.1, 1.1, 1.1, 1.0], [-1.0, 1.0, 1.0, 1.0]):
        wrong = FILM[:4].clone()
        wrong[2] = wrong[2] * torch.tensor(factor)
        with pytest.raises(InputError, match="frame 2 is not a rotation"):
            from_file(file(wrong), 4)
    wrong = FILM[:4].clone()
    wrong[1, 0, 3] = float("nan")
    with pytest.raises(InputError, match=r"frame 1.* not finite"):
        from_file(file(wrong), 4)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((4, 3, 4)))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "none.json").write_text('{"frames": [1]}')
    (tmp_path / "poses.txt").write_text("")
    written(tmp_path / "word.json", FILM[:1]).write_text(
        '{"frames": [{"transform_matrix": ' + json.dumps(FILM[0].tolist()) + ', "eye": "open"}]}'
    )
    written(tmp_path / "wide.json", FILM[:1], eye=[1.5])
    for name, match in {
        "flat.npy": r"\(4, 3, 4\)",
        "objects.npy": "not a whole .npy file",
        "empty.npy": "not a whole .npy file",
        "missing.npy": "No such file",
        "missing.json": "cannot be read",
        "list.json": "JSON list",
        "none.json": "no list 'frames'",
        "poses.txt": "no .json or .npy",
        "word.json": "eye is 'open'",
        "wide.json": "frame 0 is 1.5",
    }.items():
        with pytest.raises(InputError, match=match):
            from_file(tmp_path / name, 1)
