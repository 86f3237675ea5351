"""The eyes of an avatar: blinks as people blink, and files that say something else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.tasks.avatar.blinking import blinks_from_file, lids, natural_blinks, replayed

NAN = float("nan")


def beginnings(eyes: torch.Tensor) -> torch.Tensor:
    """The last frames with open eyes before the blinks."""
    return torch.nonzero((eyes[:-1] == 1) & (eyes[1:] < 1))[:, 0]


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_blinks_come_every_two_to_six_seconds(fps: float) -> None:
    eyes = natural_blinks(int(600 * fps), torch.Generator().manual_seed(0), fps)
    gaps = beginnings(eyes).diff() / fps
    assert 100 < len(gaps) < 200
    assert 2 - 1 / fps <= float(gaps.min()) < 2.5
    assert 5.5 < float(gaps.max()) <= 6 + 1 / fps
    assert float(gaps.mean()) == pytest.approx(4, abs=0.4)


def test_a_blink_is_whole_and_smooth() -> None:
    eyes = natural_blinks(15000, torch.Generator().manual_seed(1))
    assert float(eyes.min()) == 0
    assert float(eyes.max()) == 1
    for begin in beginnings(eyes)[:-1].tolist():
        blink = eyes[begin : begin + 12]
        assert bool((blink == 0).any())  # no frame rate of a film misses that the eyes are shut
        low = int(blink.argmin())
        assert bool((blink[: low + 1].diff() <= 0).all())
        assert bool((blink[low:].diff() >= 0).all())
        assert 8 <= int((blink < 1).sum()) <= 10  # 0.4 s
    assert float(eyes.diff().abs().max()) < 0.45
    fine = lids(torch.linspace(-0.1, 0.6, 7001))
    assert float(fine.diff().abs().max()) <= 1e-4 * torch.pi / 2 / 0.15 * 1.01


def test_blinks_depend_on_their_stream_alone() -> None:
    one, same, other = (natural_blinks(500, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one[:300], natural_blinks(300, torch.Generator().manual_seed(0)))
    assert (beginnings(natural_blinks(400, None)) / 25).tolist() == [4, 8, 12]
    assert natural_blinks(0, None).shape == (0,)


def test_the_eyes_of_the_film_are_mirrored() -> None:
    assert replayed(torch.tensor([1.0, 0.5, 0.0]), 8).tolist() == [1, 0.5, 0, 0, 0.5, 1, 1, 0.5]
    assert replayed(torch.tensor([NAN, 1.0, NAN, NAN, 0.25, NAN]), 6).tolist() == [1, 1, 0.75, 0.5, 0.25, 0.25]
    assert replayed(torch.tensor([NAN, NAN]), 3).tolist() == [1, 1, 1]


def test_eyes_from_files(tmp_path: Path) -> None:
    values = [1.0, 0.5, 0.0, 0.25]
    text = "".join(f"{value}\n" for value in values)
    (tmp_path / "eyes.txt").write_text(text + "\n")
    (tmp_path / "eyes.csv").write_text("\ufeff" + text, encoding="utf-8")
    (tmp_path / "eyes.json").write_text(str(values))
    np.save(tmp_path / "eyes.npy", np.array(values))
    for suffix in ("txt", "csv", "json", "npy"):
        assert blinks_from_file(tmp_path / f"eyes.{suffix}", 4).tolist() == values


def test_openface_counts_the_other_way(tmp_path: Path) -> None:
    (tmp_path / "au.csv").write_text(
        "frame, face_id, confidence, AU45_r, AU45_c\n1, 0, 0.98, 0.00, 0\n2, 0, 0.98, 0.50, 0\n3, 0, 0.98, 3.10, 1\n"
    )
    assert blinks_from_file(tmp_path / "au.csv", 3).tolist() == [1, 0.75, 0]


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "square.npy", np.zeros((2, 2)))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    for name, content in {
        "short.txt": "1\n0\n1\n",
        "wide.txt": "1\n1.5\n",
        "unknown.txt": "1\nnan\n",
        "word.csv": "1\nopen\n",
        "table.csv": "a,b\n1,2\n",
        "torn.csv": "frame, AU45_r\n1, 0.0\n2\n",
        "broken.json": "[1, 0",
        "object.json": "{}",
        "truth.json": "[1, true]",
        "eyes.dat": "1\n1\n",
    }.items():
        (tmp_path / name).write_text(content)
    for name, match in {
        "short.txt": "eyes of 3 frames and the sound lasts 2",
        "wide.txt": "frame 1 is 1.5",
        "unknown.txt": "frame 1 is nan",
        "word.csv": "frame 1 has 'open'",
        "table.csv": "none is named AU45_r",
        "torn.csv": "frame 1 has None",
        "broken.json": "not complete, valid JSON",
        "object.json": "JSON dict",
        "truth.json": "frame 1 has True",
        "eyes.dat": "no .csv, .txt, .json or .npy",
        "missing.txt": "cannot be read",
        "square.npy": r"\(2, 2\)",
        "words.npy": "not a .npy file of real numbers",
    }.items():
        with pytest.raises(InputError, match=match):
            blinks_from_file(tmp_path / name, 2)
