import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.core.cameras import Cameras, look_at
from nerf3d.data import poses
from nerf3d.data.poses import find_poses, load_photographs, pairs_to_match, workspace_for
from nerf3d.errors import InputError

VIEWS, WIDTH, HEIGHT, FOCAL = 8, 320, 240, 300.0


def save(path: Path, value: int = 0, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def corner() -> Cameras:
    """Eight cameras in an arc before the corner of a room, which is the planes x = 0, y = 0 and z = 0."""
    angle = torch.linspace(0.35, 1.2, VIEWS)
    eye = torch.stack([4 * torch.cos(angle), 4 * torch.sin(angle), 1.6 + 0.3 * torch.sin(5 * angle)], -1)
    world_from_camera = look_at(eye, torch.tensor([0.5, 0.5, 0.6]), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.pinhole(world_from_camera, FOCAL, WIDTH, HEIGHT)


def photograph(cameras: Cameras, index: int) -> Image.Image:
    """The corner, papered with blots of all sizes, as that camera sees it: a ray ends at the first plane it meets."""
    rng = np.random.default_rng(0)
    walls = []
    for _ in range(3):
        wall = np.zeros((512, 512))
        for cells in (16, 32, 64, 128, 256):
            noise = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
            wall += np.asarray(noise.resize((512, 512), Image.Resampling.BICUBIC))
        walls.append(torch.from_numpy(255 * (wall - wall.min()) / np.ptp(wall)).float())
    rays = cameras.rays(index)
    distance = torch.where(rays.direction < -1e-6, -rays.origin / rays.direction, torch.inf)
    nearest, axis = distance.min(-1)
    place = rays.at(nearest).nan_to_num(0, 0, 0)
    picture = torch.zeros(len(rays))
    for k, wall in enumerate(walls):
        across = place[:, [j for j in range(3) if j != k]] / 6  # one sheet covers 6 x 6 units
        grid = (2 * across - 1)[None, None]
        sheet = torch.nn.functional.grid_sample(wall[None, None], grid, align_corners=False)[0, 0, 0]
        picture = torch.where((axis == k) & nearest.isfinite(), sheet, picture)
    return Image.fromarray(picture.clamp(0, 255).byte().reshape(HEIGHT, WIDTH).numpy()).convert("RGB")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of bare pictures whose names hold spaces, one of them WebP, and one that shows something else."""
    folder = tmp_path_factory.mktemp("photographs")
    cameras = corner()
    for index in range(VIEWS):
        suffix = "webp" if index == 3 else "png"
        photograph(cameras, index).save(folder / f"IMG {index} (1).{suffix}", lossless=True)
    save(folder / "lens cap.png", 90, (WIDTH, HEIGHT))
    return folder


def test_poses_are_found_once(photographs, monkeypatch):
    pytest.importorskip("pycolmap")
    capture = load_photographs(photographs)
    assert len(capture.train) + len(capture.test) == VIEWS
    assert any("arbitrary" in note for note in capture.notes)
    assert any("1 of 9" in note and "lens cap.png" in note for note in capture.notes)
    assert capture.points is not None
    assert len(capture.points) > 100

    # What no choice of world frame changes: rotations from camera to camera, and ratios of distances.
    names = [f"IMG {index} (1).{'webp' if index == 3 else 'png'}" for index in range(VIEWS)]
    found = {n: p for part in (capture.train, capture.test) for n, p in zip(part.names, part.cameras.world_from_camera)}
    given = corner().world_from_camera
    ratios = []
    for i, j in itertools.combinations(range(VIEWS), 2):
        one, other = found[names[i]], found[names[j]]
        turned = (one[:, :3].T @ other[:, :3]) @ (given[i, :, :3].T @ given[j, :, :3]).T
        assert float((turned - torch.eye(3)).norm()) < 0.02  # under 0.8 degrees
        ratios.append(float((one[:, 3] - other[:, 3]).norm() / (given[i, :, 3] - given[j, :, 3]).norm()))
    assert max(ratios) / min(ratios) < 1.05
    assert float(capture.train.cameras.intrinsics[0, 0]) == pytest.approx(FOCAL, rel=0.05)
    # The camera's way up, told in its own axes, is the world's.
    up = torch.stack([given[i, :, :3].T @ torch.tensor([0.0, 0.0, 1.0]) for i in range(VIEWS)])
    seen = torch.stack([found[names[i]][:, :3].T @ capture.up for i in range(VIEWS)])
    assert float((up * seen).sum(-1).mean()) > 0.8

    kept = photographs / ".nerf3d"
    assert len(list(kept.iterdir())) == 1  # nothing half-done beside it
    assert {p.name for p in next(kept.iterdir()).iterdir()} == {"sparse"}
    monkeypatch.setattr(poses, "_reconstruct", lambda *_: pytest.fail("the work was done a second time"))
    torch.testing.assert_close(load_photographs(photographs).train.cameras.center, capture.train.cameras.center)


def test_hopeless_pictures_are_said_to_be(tmp_path):
    pytest.importorskip("pycolmap")
    for index in range(3):
        save(tmp_path / f"{index}.png", 80 * index)
    with pytest.raises(InputError, match=r"no two of the 3 pictures.*overlap"):
        load_photographs(tmp_path)
    assert not (tmp_path / ".nerf3d").exists()


def test_too_few_and_unequal_pictures(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        load_photographs(tmp_path)
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    with pytest.raises(InputError, match="holds 2 pictures"):
        load_photographs(tmp_path)
    assert not (tmp_path / ".nerf3d").exists()
    save(tmp_path / "c.png", size=(24, 32))
    with pytest.raises(InputError, match=r"c\.png is 24 x 32"):
        load_photographs(tmp_path)


def test_a_truncated_picture_is_named_before_the_work_begins(tmp_path, monkeypatch):
    pytest.importorskip("pycolmap")
    monkeypatch.setattr(poses, "_reconstruct", lambda *_: pytest.fail("the work has begun"))
    for index in range(3):
        save(tmp_path / f"{index}.jpg", size=(320, 240))
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"1\.jpg cannot be read"):
        load_photographs(tmp_path)
    assert not (tmp_path / ".nerf3d").exists()


def test_without_pycolmap(tmp_path, monkeypatch):
    pictures = [save(tmp_path / f"{index}.png") for index in range(3)]
    monkeypatch.setattr(poses.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "nerf3d\[colmap\]"'):
        find_poses(pictures, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_crash_is_an_error_with_the_reason(tmp_path, monkeypatch):
    pytest.importorskip("pycolmap")
    pictures = [save(tmp_path / f"{index}.png") for index in range(3)]
    script = tmp_path / "structure_from_motion.py"
    script.write_text("print('E20250101 12:00:00.0 7 file.cc:1] the film tore', flush=True)\nimport os\nos.abort()\n")
    monkeypatch.setattr(poses, "__file__", str(tmp_path / "poses.py"))
    with pytest.raises(InputError, match=r"failed \(the film tore\)"):
        find_poses(pictures, tmp_path / "out" / "work")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="Ctrl-C is sent another way on this system")
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(photographs, tmp_path):
    pytest.importorskip("pycolmap")
    program = (
        "import sys; from pathlib import Path; from nerf3d.data.poses import find_poses; "
        "find_poses(sorted(Path(sys.argv[1]).glob('*.png')), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(photographs), str(tmp_path / "out" / "work")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/*/database.db")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does: everyone in the group hears it
        begin = time.monotonic()
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - begin < 25
    finally:
        process.kill()
    assert b"KeyboardInterrupt" in errors
    assert not (tmp_path / "out").exists()


def test_the_workspace_belongs_to_the_files_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "photographs"
    pictures = [save(folder / f"{index}.png", index) for index in range(3)]
    first = workspace_for(folder, pictures)
    assert first.parent == folder / ".nerf3d"
    assert workspace_for(folder, pictures) == first
    assert workspace_for(folder, pictures[:2]) != first
    os.utime(pictures[0], ns=(1, 1))
    changed = workspace_for(folder, pictures)
    assert changed != first

    monkeypatch.setattr(poses.os, "access", lambda *_: False)  # a folder that only lets itself be read
    assert workspace_for(folder, pictures) == tmp_path / "cache" / "nerf3d" / changed.name


def test_pairs():
    assert len(pairs_to_match(150)) == 150 * 149 // 2
    pairs = pairs_to_match(1000)
    assert len(pairs) == len(set(pairs)) < 20_000
    assert all(0 <= i < j < 1000 for i, j in pairs)
    assert {(i, i + step) for i in range(900) for step in (1, 2, 10, 16, 64)} <= set(pairs)
    assert (0, 986) in pairs  # the loop closes: the sixty are 17 apart


def test_films_are_in_the_order_of_their_numbers(tmp_path, monkeypatch):
    pytest.importorskip("pycolmap")
    pictures = [save(tmp_path / f"frame_{index}.png") for index in (1, 10, 2)]
    jobs = []
    monkeypatch.setattr(
        poses, "_reconstruct", lambda work, root: jobs.append(json.loads((work / "job.json").read_text()))
    )
    with pytest.raises(InputError, match="no two"):
        find_poses(pictures, tmp_path / "out" / "work")
    assert list(jobs[0]["names"].values()) == ["frame_1.png", "frame_2.png", "frame_10.png"]
    assert jobs[0]["one_camera"]
