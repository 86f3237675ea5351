"""Our folders in other tools' hands, and theirs in ours: each is read the way that its own loader reads."""

import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import puppet
import pytest
import talker
import torch
from PIL import Image

from nerf3d.cli import main
from nerf3d.commands.prepare_avatar import also_for, prepare_avatar
from nerf3d.data.portrait.boxes import face_boxes, lips_boxes
from nerf3d.data.portrait.folder import HELD_OUT, TRAIN, read_portrait
from nerf3d.data.portrait.footage import load_footage, load_plate
from nerf3d.data.portrait.landmarks import CHIN, TEMPLES
from nerf3d.data.portrait.layers import COLORS, HEAD, TORSO
from nerf3d.data.portrait.layouts import LAYOUTS, add_layouts
from nerf3d.data.sound_features import FeatureKind
from nerf3d.errors import InputError

COUNT, DROPPED = 33, 7
SIDE = talker.SIZE


def points() -> torch.Tensor:
    """The talker's landmarks, made more like a face's: eyelids move at all of the points that the 68 have, and temples and
    chin are the outermost points."""
    eyes = torch.tensor([puppet.openness(index) for index in range(COUNT)])
    mesh = talker.landmarks(talker.cameras(COUNT), talker.opening(COUNT), eyes)
    for lid, pair in ((159, (160, 158)), (145, (144, 153)), (386, (385, 387)), (374, (380, 373))):
        for index, aside in zip(pair, (-0.2, 0.2)):
            mesh[:, index] = mesh[:, lid] + torch.tensor([aside, 0.0, 0.0])
    (right, left), chin = TEMPLES, CHIN
    mesh[:, right, 0], mesh[:, left, 0] = mesh[..., 0].amin(1), mesh[..., 0].amax(1)
    mesh[:, chin, 1] = mesh[..., 1].amax(1)
    return mesh


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder, one of whose frames was dropped, with everybody's files."""
    folder = talker.write(tmp_path_factory.mktemp("talker") / "data", COUNT)
    mesh = points()
    mesh[DROPPED] = torch.nan
    np.save(folder / "landmarks.npy", mesh.numpy())
    change(folder, lambda d: d.update(frames=[f for f in d["frames"] if f["img_id"] != DROPPED]))
    shots = read_portrait(folder).train + read_portrait(folder).held_out
    assert list(add_layouts(read_portrait(folder), LAYOUTS)) == shots.picture_id.tolist()
    return folder


def change(folder: Path, how) -> None:  # type: ignore[no-untyped-def]
    for name in (TRAIN, HELD_OUT):
        document = json.loads((folder / name).read_text())
        how(document)
        (folder / name).write_text(json.dumps(document))


def pixels(file: Path) -> np.ndarray:
    return np.array(Image.open(file)).astype(np.float64)


def parsing(folder: Path, number: int, which: int) -> np.ndarray:
    seen = np.array(Image.open(folder / "parsing" / f"{number}.png").convert("RGB"))
    return np.asarray((seen == np.array(COLORS[which])).all(-1))


@dataclass
class Loaded:
    """What RAD-NeRF's and ER-NeRF's loaders hold of a split; boxes are top, bottom, left, right."""

    numbers: list[int]
    images: np.ndarray
    torsos: np.ndarray
    poses: np.ndarray
    sounds: np.ndarray
    faces: list[tuple[int, ...]]
    lips: list[tuple[int, ...]]
    blinks: list[float]
    plate: np.ndarray


def load_as_er_nerf(folder: Path, split: str, sound: str = "aud.npy") -> Loaded:
    document = json.loads((folder / f"transforms_{split}.json").read_text())
    height, width = int(document["cy"]) * 2, int(document["cx"]) * 2
    lines = (folder / "au.csv").read_text().splitlines()
    column = lines[0].split(",").index(" AU45_r")
    shut = [float(line.split(",")[column]) for line in lines[1:]]
    rows = np.load(folder / sound)
    found = Loaded([], *np.empty((4, 0)), [], [], [], pixels(folder / "bc.jpg"))  # type: ignore[arg-type]
    images, torsos, poses, sounds = [], [], [], []
    for frame in document["frames"]:
        number = frame["img_id"]
        found.numbers.append(number)
        images.append(pixels(folder / "gt_imgs" / f"{number}.jpg"))
        torsos.append(pixels(folder / "torso_imgs" / f"{number}.png"))
        poses.append(np.array(frame["transform_matrix"]))
        sounds.append(rows[min(frame["aud_id"], len(rows) - 1)].T)
        marks = np.loadtxt(folder / "ori_imgs" / f"{number}.lms")
        assert marks.shape == (68, 2)
        x, y = marks[:, 0], marks[:, 1]
        found.faces.append((int(y.min()), int(y.max()), int(x.min()), int(x.max())))
        top, bottom, left, right = int(y[48:60].min()), int(y[48:60].max()), int(x[48:60].min()), int(x[48:60].max())
        half, row, col = max(bottom - top, right - left) // 2, (top + bottom) // 2, (left + right) // 2
        found.lips.append((max(0, row - half), min(height, row + half), max(0, col - half), min(width, col + half)))
        found.blinks.append(min(max(shut[number], 0), 2) / 2)
    found.images, found.torsos, found.poses, found.sounds = map(np.stack, (images, torsos, poses, sounds))
    assert found.images.shape[1:] == (height, width, 3)
    assert found.torsos.shape[1:] == (height, width, 4)
    return found


@pytest.mark.parametrize(("split", "count"), [("train", 29), ("val", 3)])
def test_rad_nerf_loads_it(ours: Path, split: str, count: int) -> None:
    found, portrait = load_as_er_nerf(ours, split), read_portrait(ours)
    shots = portrait.train if split == "train" else portrait.held_out
    assert found.numbers == shots.picture_id.tolist()
    assert len(found.numbers) == count
    assert found.sounds.shape == (count, 40, 16)
    np.testing.assert_allclose(found.poses, shots.camera_to_head, atol=1e-6)
    np.testing.assert_allclose(found.blinks, 1 - shots.eye, atol=1e-4)
    plate = 255 * talker.plate().numpy()
    assert np.abs(found.plate - plate).max() < 5  # JPEG
    for row, number in enumerate(found.numbers):
        person = parsing(ours, number, HEAD) | parsing(ours, number, TORSO)
        frame = pixels(ours / "ori_imgs" / f"{number}.jpg")
        off = np.abs(found.images[row] - np.where(person[..., None], frame, plate))
        assert off.mean() < 2
        share = found.torsos[row, ..., 3:] / 255
        assert set(np.unique(share)) == {0, 1}
        behind = found.torsos[row, ..., :3] * share + found.plate * (1 - share)  # what is seen without the head
        off = np.abs(behind - found.images[row])[~parsing(ours, number, HEAD)]
        assert np.median(off) < 3
        assert off.mean() < 5


def test_er_nerf_s_boxes_are_within_ours(ours: Path) -> None:
    found, shots = load_as_er_nerf(ours, "train"), read_portrait(ours).train
    for face, lips, mesh in zip(found.faces, found.lips, points()[shots.picture_id]):
        x, y, w, h = face_boxes(mesh[None], SIDE)[0].tolist()
        assert y <= face[0]
        assert face[1] <= y + h
        assert x <= face[2]
        assert face[3] <= x + w
        x, y, w, h = lips_boxes(mesh[None], SIDE)[0].tolist()
        assert y <= (lips[0] + lips[1]) / 2 <= y + h
        assert x <= (lips[2] + lips[3]) / 2 <= x + w
        assert 0.5 * w <= lips[3] - lips[2] <= w


def test_the_torso_goes_on_behind_the_head(ours: Path) -> None:
    """Pixel by pixel: above each seam seven more (53 of 512), each a little darker; nothing else is added."""
    for number in (0, 20):
        head, torso = parsing(ours, number, HEAD), parsing(ours, number, TORSO)
        picture = pixels(ours / "torso_imgs" / f"{number}.png")
        expected, depth = torso.copy(), np.zeros(torso.shape, int)
        for column, row in itertools.product(range(SIDE), range(1, SIDE)):
            if torso[row, column] and head[row - 1, column]:
                for up in range(1, 8):
                    if not head[row - up, column]:
                        break
                    expected[row - up, column], depth[row - up, column] = True, up
        assert (depth == 7).any()
        np.testing.assert_array_equal(picture[..., 3] == 255, expected)
        assert picture[~expected].max() == 0
        inner = depth > 0  # of one colour, so that neither where it is taken from nor the blur change it much
        neck = np.array([51, 153, 51])
        wanted = neck * 0.98 ** (8 * depth[inner])[:, None]
        assert np.median(np.abs(picture[inner][:, :3] - wanted)) < 6


def test_ad_nerf_loads_it(ours: Path) -> None:
    plate, rows = pixels(ours / "bc.jpg"), np.load(ours / "aud.npy")
    frames = []
    for split in ("train", "val"):
        document = json.loads((ours / f"transforms_{split}.json").read_text())
        assert (document["focal_len"], document["cx"], document["cy"]) == (160, 32, 32)
        frames += document["frames"]
    for frame in frames[::4]:
        number = frame["img_id"]
        assert rows[min(frame["aud_id"], len(rows) - 1)].shape == (16, 40)
        rect = np.array(frame["face_rect"], dtype=np.int32)
        assert rect.shape == (4,)
        assert (rect[:2] + rect[2:] <= SIDE).all()
        head, com = pixels(ours / "head_imgs" / f"{number}.jpg"), pixels(ours / "com_imgs" / f"{number}.jpg")
        assert np.abs(com - pixels(ours / "gt_imgs" / f"{number}.jpg")).max() == 0
        seen = parsing(ours, number, HEAD)
        assert np.abs(head - plate)[~seen].mean() < 3
        assert np.abs(head - pixels(ours / "ori_imgs" / f"{number}.jpg"))[seen].mean() < 3
    poses = np.array([frame["transform_matrix"] for frame in frames])
    depth = np.mean([-(np.linalg.inv(pose) @ [0, 0, 0, 1])[2] for pose in poses])  # the cameras look along -z
    for name in ("HeadNeRF", "TorsoNeRF", "TorsoNeRFTest"):
        said = dict(line.split(" = ") for line in (ours / f"{name}_config.txt").read_text().splitlines())
        assert Path(said["datadir"]) == ours
        assert float(said["near"]) == pytest.approx(depth - 0.2, abs=1e-4)
        assert float(said["far"]) == pytest.approx(depth + 0.4, abs=1e-4)
        assert said["expname"] == ("data_head" if name == "HeadNeRF" else "data_com")


def test_dropped_frames_have_no_files_but_their_line(ours: Path) -> None:
    for name in ("gt_imgs/7.jpg", "com_imgs/7.jpg", "head_imgs/7.jpg", "torso_imgs/7.png", "ori_imgs/7.lms"):
        assert not (ours / name).exists()
    lines = (ours / "au.csv").read_text().splitlines()
    assert len(lines) == 1 + COUNT
    assert lines[1 + DROPPED].split(",") == ["8", " 0.280", " 0.0000"]


def test_without_what_is_ours_it_is_read_as_well(ours: Path, tmp_path: Path) -> None:
    """What the transforms do not say any more comes from the other tools' files: cameras the same, boxes, eyes, mouth."""
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    keys = ("img_id", "aud_id", "transform_matrix")
    for name in ("mattes", "com_imgs", "head_imgs"):
        shutil.rmtree(theirs / name)
    for name in ("landmarks.npy", "background.png"):
        (theirs / name).unlink()
    for name in (TRAIN, HELD_OUT):
        document = json.loads((theirs / name).read_text())
        frames = [{key: frame[key] for key in keys} for frame in document["frames"]]
        bare = {key: document[key] for key in ("focal_len", "cx", "cy")} | {"frames": frames}
        (theirs / name).write_text(json.dumps(bare))
    mine, found = read_portrait(ours), read_portrait(theirs)
    for name in ("train", "held_out"):
        a, b = getattr(mine, name), getattr(found, name)
        torch.testing.assert_close(mine.cameras(a).world_from_camera, found.cameras(b).world_from_camera)
        torch.testing.assert_close(mine.cameras(a).intrinsics, found.cameras(b).intrinsics)
        mesh = points()[a.picture_id]
        assert int((b.face - face_boxes(mesh, SIDE)).abs().max()) <= 1
        assert int((b.lips - lips_boxes(mesh, SIDE)).abs().max()) <= 1
        torch.testing.assert_close(a.eye, b.eye, atol=1e-4, rtol=0)
        torch.testing.assert_close(a.mouth, b.mouth, atol=1e-4, rtol=0)
        torch.testing.assert_close(mine.windows(a), found.windows(b))
    assert found.feature == FeatureKind("foreign", 40)
    assert load_footage(found, found.held_out, 32).images.shape == (3, 32, 32, 3)
    (theirs / "au.csv").unlink()  # RAD-NeRF has no such file: the eyelids tell
    torch.testing.assert_close(read_portrait(theirs).train.eye, mine.train.eye, atol=0.02, rtol=0)
    for file in (theirs / "ori_imgs").glob("*.jpg"):  # its loader wants no pictures there
        file.unlink()
    assert read_portrait(theirs).pictures.name == "gt_imgs"


def test_ad_nerf_s_own_folder(ours: Path, tmp_path: Path) -> None:
    for name in ("com_imgs", "head_imgs", "parsing"):
        shutil.copytree(ours / name, tmp_path / name)
    for name in ("bc.jpg", TRAIN, HELD_OUT):
        shutil.copy(ours / name, tmp_path / name)
    np.save(tmp_path / "aud.npy", np.random.default_rng(0).random((COUNT, 16, 29)))

    def bare(document: dict) -> None:  # type: ignore[type-arg]
        document.pop("sound_feature")
        document["frames"] = [
            {k: v for k, v in f.items() if k not in ("eye", "mouth", "lips_rect")} for f in document["frames"]
        ]

    change(tmp_path, bare)
    found, mine = read_portrait(tmp_path), read_portrait(ours)
    assert (found.pictures.name, found.feature) == ("com_imgs", FeatureKind("foreign", 29))
    assert torch.equal(found.train.face, mine.train.face)
    assert bool(found.train.eye.isnan().all())
    assert found.windows(found.held_out).shape == (3, 16, 29)
    a, b = (load_footage(portrait, portrait.held_out, SIDE) for portrait in (found, mine))
    assert float((a.images.float() - b.images.float()).abs().mean()) < 4
    assert float(((a.head >= 128) != (b.head >= 128)).float().mean()) < 0.02
    assert load_plate(found, SIDE).shape == (SIDE, SIDE, 3)


def test_er_nerf_s_hubert_is_windowed_as_its_network_does_it(ours: Path, tmp_path: Path) -> None:
    """Two steps a frame; attention looks at frames k - 4 to k + 3, silence beyond the ends."""
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    (theirs / "aud.npy").unlink()
    rows = np.random.default_rng(0).random((COUNT - 1, 2, 1024)).astype(np.float32)
    np.save(theirs / "aud_hu.npy", rows)
    change(theirs, lambda d: d.pop("sound_feature"))
    portrait = read_portrait(theirs)
    assert portrait.feature == FeatureKind("foreign", 1024)
    shots = portrait.train + portrait.held_out
    windows = portrait.windows(shots)
    assert windows.shape == (COUNT - 1, 16, 1024)
    for frame, window in zip(shots.sound_id.tolist(), windows):
        index = min(frame, len(rows) - 1)
        near = [rows[k] if 0 <= k < len(rows) else np.zeros((2, 1024), np.float32) for k in range(index - 4, index + 4)]
        np.testing.assert_array_equal(window, np.concatenate(near))
    np.save(theirs / "aud_hu.npy", rows[:, :1])
    with pytest.raises(InputError, match=r"\(32, 1, 1024\)"):
        read_portrait(theirs)
    (theirs / "aud_hu.npy").unlink()
    np.save(theirs / "aud_eo.npy", np.zeros((COUNT, 16, 44)))
    assert read_portrait(theirs).feature == FeatureKind("foreign", 44)


def test_a_speech_model_s_steps_become_er_nerf_s_hubert(ours: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(ours, tmp_path / "data"))
    steps = np.random.default_rng(0).random((2 * COUNT, 1024)).astype(np.float32)
    padded = np.concatenate([np.zeros((8, 1024)), steps, np.zeros((8, 1024))]).astype(np.float32)
    np.save(copied / "aud.npy", np.stack([padded[2 * k : 2 * k + 16] for k in range(COUNT)]))
    change(copied, lambda d: d.update(sound_feature={"name": "hubert", "channels": 1024, "weights": "abcd"}))
    also_for(["radnerf"], copied)
    np.testing.assert_array_equal(np.load(copied / "aud_hu.npy"), steps.reshape(COUNT, 2, 1024))
    mine = read_portrait(copied).windows(read_portrait(copied).train)
    (copied / "aud.npy").unlink()
    change(copied, lambda d: d.pop("sound_feature"))
    assert torch.equal(read_portrait(copied).windows(read_portrait(copied).train), mine)


def test_what_was_interrupted_goes_on(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = Path(shutil.copytree(ours, tmp_path / "data"))
    (copied / "gt_imgs" / "3.jpg").unlink()
    (copied / "gt_imgs" / "4.jpg").write_bytes(b"mine")
    save = Image.Image.save

    def broken(picture: Image.Image, path: Path, **how: int) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="disk is full"):
        also_for(["radnerf"], copied)
    assert not (copied / "gt_imgs" / "3.jpg").exists()
    monkeypatch.setattr(Image.Image, "save", save)
    assert main(["avatar", "prepare", "film.mp4", "--out", str(copied), "--also", "radnerf"]) == 0
    assert (copied / "gt_imgs" / "3.jpg").read_bytes() == (ours / "gt_imgs" / "3.jpg").read_bytes()
    assert (copied / "gt_imgs" / "4.jpg").read_bytes() == b"mine"
    assert sorted(p.name for p in copied.rglob("*")) == sorted(p.name for p in ours.rglob("*"))


def test_a_film_is_prepared_for_others_at_once(tmp_path: Path) -> None:
    film = puppet.encode(tmp_path / "film.mov", puppet.frames(52))
    prepare_avatar(film, tmp_path / "data", 256, detector=puppet.Seer(faceless={9}), layouts=("adnerf",))
    assert len(list((tmp_path / "data" / "head_imgs").iterdir())) == 52
    assert not (tmp_path / "data" / "gt_imgs").exists()
    assert f"datadir = {tmp_path / 'data'}\n" in (tmp_path / "data" / "HeadNeRF_config.txt").read_text()
    with pytest.raises(InputError, match="no files for 'wavnerf'; choose adnerf or radnerf"):
        prepare_avatar(film, tmp_path / "other", 256, detector=puppet.Seer(), layouts=("wavnerf",))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("ori_imgs/5.lms", "1 2\n3 4\n", "68 lines of x and y"),
        ("ori_imgs/5.lms", "x y\n", "no table of landmarks"),
        ("au.csv", "frame, AU06_r\n1, 0.5\n", "no column AU45_r"),
        ("au.csv", "frame, AU45_r\n1, much\n", "no column AU45_r"),
        ("au.csv", "", "no column AU45_r"),
    ],
)
def test_what_is_wrong_with_their_files_is_said(ours: Path, tmp_path: Path, name: str, text: str, match: str) -> None:
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    change(theirs, lambda d: [(frame.pop("eye"), frame.pop("lips_rect")) for frame in d["frames"]])
    (theirs / name).write_text(text)
    with pytest.raises(InputError, match=match) as refused:
        read_portrait(theirs)
    assert str(theirs / name) in str(refused.value)


def test_other_tools_folders_are_not_added_to(ours: Path, tmp_path: Path) -> None:
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    (theirs / "landmarks.npy").unlink()
    with pytest.raises(InputError, match="only to what `nerf3d avatar prepare` has made"):
        also_for(["adnerf"], theirs)
