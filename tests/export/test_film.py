import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from nerf3d.errors import InputError
from nerf3d.export.film import write_film, write_frames
from nerf3d.media import film

PATCHES = torch.tensor(
    [
        [220, 30, 30],
        [30, 200, 60],
        [40, 60, 220],
        [128, 128, 128],
        [250, 240, 200],
        [10, 12, 14],
        [255, 255, 255],
        [90, 0, 120],
    ]
)


def patchwork(height: int, width: int, shift: int = 0) -> torch.Tensor:
    """Eight patches of plain colour side by side, in another order in each frame."""
    which = (torch.arange(width) * 8 // width + shift) % 8
    return PATCHES[which].to(torch.uint8)[None].expand(height, -1, -1).contiguous()


def read_film(path) -> tuple[str, np.ndarray]:
    """What ffmpeg says of the film's video stream, and all frames. (imageio's own reader leaves its pipes open.)"""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    stream = re.search(r"Video: (h264.* (\d+)x(\d+).*)", done.stderr.decode())
    width, height = int(stream[2]), int(stream[3])
    return stream[1], np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_colors_survive(tmp_path):
    frames = [patchwork(48, 128, shift) for shift in range(4)]
    assert write_film(tmp_path / "a.mp4", iter(frames), fps=12.0) == 4
    facts, again = read_film(tmp_path / "a.mp4")
    assert "yuv420p(tv, bt709" in facts
    assert " 12 fps" in facts
    assert len(again) == 4
    for frame, back in zip(frames, again):
        centers = torch.arange(8) * 16 + 8
        difference = back[24, centers].astype(int) - frame[24, centers].numpy().astype(int)
        assert np.abs(difference).max() <= 6


def test_odd_sizes_are_padded_not_scaled(tmp_path):
    frame = patchwork(33, 127)
    write_film(tmp_path / "a.mp4", [frame, frame])
    _, again = read_film(tmp_path / "a.mp4")
    assert again.shape[1:3] == (34, 128)
    middle = np.arange(8) * 16 + 7
    assert np.abs(again[0][16, middle].astype(int) - frame[16, middle].numpy().astype(int)).max() <= 6
    assert np.abs(again[0][33, 127].astype(int) - frame[32, 126].numpy().astype(int)).max() <= 8


def test_frames_are_asked_for_one_at_a_time(tmp_path):
    """A generator that would never end is stopped by its own exception, long after encoding began."""
    began = []

    def endless():
        for i in range(1000):
            if i == 40:
                raise RuntimeError("the renderer failed")
            began.append(i)
            yield patchwork(16, 16)

    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_film(tmp_path / "a.mp4", endless())
    assert len(began) == 40
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


def test_the_encoder_is_ended_when_something_goes_wrong(tmp_path, monkeypatch):
    started = []
    genuine = subprocess.Popen

    def remember(*arguments, **options):
        started.append(genuine(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(film.subprocess, "Popen", remember)

    def interrupted():
        yield patchwork(16, 16)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(tmp_path / "a.mp4", interrupted())
    assert started[0].poll() is not None
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_fails_says_why(tmp_path, monkeypatch):
    genuine = film._command

    def broken(*arguments):
        return [word.replace("libx264", "no_such_codec") for word in genuine(*arguments)]

    monkeypatch.setattr(film, "_command", broken)
    with pytest.raises(InputError, match="ffmpeg says"):
        write_film(tmp_path / "a.mp4", (patchwork(256, 256) for _ in range(50)))
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path):
    frame = patchwork(16, 16)
    with pytest.raises(InputError, match=r"\.mp4"):
        write_film(tmp_path / "a.gif", [frame])
    with pytest.raises(InputError, match="no frames"):
        write_film(tmp_path / "a.mp4", [])
    with pytest.raises(InputError, match="frames per second"):
        write_film(tmp_path / "a.mp4", [frame], fps=0.0)
    with pytest.raises(InputError, match="Frame 1 has 18 x 16"):
        write_film(tmp_path / "a.mp4", [frame, patchwork(16, 18)])
    with pytest.raises(InputError, match="no frames"):
        write_frames(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_film(tmp_path / "file" / "a.mp4", [frame])


def test_frames_as_pictures(tmp_path):
    frames = [patchwork(4, 8, shift) for shift in range(3)]
    assert write_frames(tmp_path / "plain", iter(frames)) == 3
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "plain" / "00002.png")), frames[2].numpy())
    write_frames(tmp_path / "named", frames, ["r_0", "r_1", "r_2"])
    assert sorted(p.name for p in (tmp_path / "named").iterdir()) == ["r_0.png", "r_1.png", "r_2.png"]


@pytest.mark.parametrize("names", [["../out"], ["a/b"], [".."], []])
def test_names_do_not_leave_the_folder(tmp_path, names):
    with pytest.raises(InputError, match="plain file name"):
        write_frames(tmp_path / "frames", [patchwork(4, 8)], names)
    assert not list(tmp_path.rglob("*.png"))


def test_a_new_folder_of_frames_is_whole_or_not_there(tmp_path):
    def stopped():
        yield torch.zeros(4, 4, 3, dtype=torch.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / "frames", stopped())
    assert not list(tmp_path.iterdir())
    (tmp_path / "frames").mkdir()
    assert write_frames(tmp_path / "frames", [torch.zeros(4, 4, 3, dtype=torch.uint8)]) == 1
    assert [path.name for path in tmp_path.rglob("*.png")] == ["00000.png"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (tmp_path / "frames").stat().st_mode == plain.stat().st_mode
