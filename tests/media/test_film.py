"""Films of a few frames; tests/export/test_film.py says more of colours, sizes and interruptions."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import puppet
import pytest
import torch
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import decoded, ffmpeg, look_into
from nerf3d.media.film import write_film, write_transparent_film

SECONDS = 1.24  # 31 frames at 25 a second, and no multiple of AAC's 1024 samples


def facts(path: Path) -> str:
    """What ffmpeg says of a file."""
    return subprocess.run([ffmpeg(), "-hide_banner", "-i", str(path)], capture_output=True, check=False).stderr.decode()


def frames(count: int, channels: int = 3) -> Iterator[Tensor]:
    """A smooth picture, another one each time; alpha goes from clear on the left to opaque on the right."""
    down, right = torch.meshgrid(torch.linspace(0, 255, 32), torch.linspace(0, 255, 32), indexing="ij")
    for index in range(count):
        blue = torch.full_like(down, 255 * index / count)
        yield torch.stack([down, 255 - down, blue, right], -1)[..., :channels].round().byte()


def tone(path: Path, rate: int = 16_000, channels: int = 1, seconds: float = SECONDS, *options: str) -> Path:
    source = f"sine=frequency=440:sample_rate={rate}:duration={seconds}"
    puppet.ffmpeg("-f", "lavfi", "-i", source, "-ac", str(channels), *options, str(path))
    return path


def heard(path: Path, rate: int) -> np.ndarray:
    pieces = decoded(path, [], ["-map", "0:a", "-ac", "1", "-ar", str(rate), "-f", "f32le"], 1 << 16)
    return np.frombuffer(b"".join(pieces), "<f4")


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("a.mp3", 44_100, 2), ("a.m4a", 48_000, 1), ("a.flac", 22_050, 2), ("a.wav", 8_000, 1), ("a.ogg", 16_000, 2)],
)
def test_the_sound_of_any_file_is_the_film_s(tmp_path: Path, name: str, rate: int, channels: int) -> None:
    sound = tone(tmp_path / name, rate, channels)
    assert write_film(tmp_path / "a.mp4", frames(31), 25.0, sound, preset="ultrafast") == 31
    held = look_into(tmp_path / "a.mp4")
    assert (held.has_video, held.has_sound, held.rate) == (True, True, 25.0)
    assert held.seconds == pytest.approx(SECONDS, abs=0.04)
    assert f"Audio: aac (LC) (mp4a / 0x6134706D), {rate} Hz, {('mono', 'stereo')[channels - 1]}" in facts(held.path)
    given, now = heard(sound, rate), heard(tmp_path / "a.mp4", rate)
    assert (
        abs(len(now) / rate - SECONDS) < 0.04 + 1024 / rate
    )  # some versions do not cut AAC's last block when they read
    middle = slice(rate // 4, rate)
    assert float(np.corrcoef(given[middle], now[middle])[0, 1]) > 0.98  # the same moment, to a tenth of a period


def test_rates_that_aac_has_not_become_the_nearest(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", frames(31), 25.0, tone(tmp_path / "a.flac", 192_000), preset="ultrafast")
    assert "96000 Hz, mono" in facts(tmp_path / "a.mp4")


def test_a_short_sound_does_not_cut_the_film(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", frames(31), 25.0, tone(tmp_path / "a.wav", seconds=0.2), preset="ultrafast")
    assert len(list(decoded(tmp_path / "a.mp4", [], ["-f", "rawvideo", "-pix_fmt", "gray"], 32 * 32))) == 31


@pytest.mark.parametrize("comment", ["made by nerf3d", "a = b; 'c' \"d\" é\nand more", None])
def test_a_comment_can_be_read_back(tmp_path: Path, comment: str | None) -> None:
    """And nothing that the sound file says of itself goes with it."""
    sound = tone(tmp_path / "a.m4a", 16_000, 1, 0.2, "-metadata", "comment=private", "-metadata", "title=secret")
    write_film(tmp_path / "a.mp4", frames(5), 25.0, sound, comment, preset="ultrafast")
    write_transparent_film(tmp_path / "a.mov", frames(5, 4), 25.0, sound, comment)
    for name in ("a.mp4", "a.mov"):
        said = puppet.ffmpeg("-i", str(tmp_path / name), "-f", "ffmetadata", "-").decode()
        plain = said.replace("\\\n", "\n").replace("\\", "")
        assert (f"\ncomment={comment}\n" in plain) if comment else "comment" not in plain
        assert "private" not in said
        assert "secret" not in said
        assert ("comment         : made by nerf3d" in facts(tmp_path / name)) == (comment == "made by nerf3d")


def test_the_marks_say_how_colors_are_meant(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", frames(2))
    write_transparent_film(tmp_path / "a.mov", frames(2, 4))
    assert re.search(r"yuv420p\(tv, bt709/bt709/iec61966-2-1\b", facts(tmp_path / "a.mp4"))
    assert re.search(r"yuva444p1.le\(.*\bbt709/bt709/iec61966-2-1\b", facts(tmp_path / "a.mov"))


def test_the_coder_does_as_it_is_told(tmp_path: Path) -> None:
    noise = [torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))] * 5
    for name, crf in (("fine", 5), ("coarse", 45), ("again", 45)):
        write_film(tmp_path / f"{name}.mp4", noise, crf=crf, preset="veryfast", threads=1)
    fine, coarse = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("fine", "coarse"))
    assert len(fine) > 1.5 * len(coarse)
    assert b" threads=1 " in fine  # libx264 notes its settings
    assert b" crf=45.0 " in coarse
    assert (tmp_path / "coarse.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 33)])
def test_a_transparent_film_comes_back_with_its_colors_and_its_alpha(tmp_path: Path, height: int, width: int) -> None:
    """Colours are straight: where alpha is zero they are still there."""
    sound = tone(tmp_path / "a.mp3", 44_100, 2, 0.2)
    pictures = [torch.cat([f, f[:, -1:]], 1)[:height, :width] for f in frames(5, 4)]
    assert write_transparent_film(tmp_path / "a.mov", iter(pictures), 25.0, sound) == 5
    held = facts(tmp_path / "a.mov")
    assert "prores (4444)" in held
    assert f"{width}x{height}" in held
    assert "pcm_s16le" in held
    assert "44100 Hz, stereo" in held
    assert look_into(tmp_path / "a.mov").seconds == pytest.approx(0.2, abs=0.04)
    raw = b"".join(decoded(tmp_path / "a.mov", [], ["-f", "rawvideo", "-pix_fmt", "rgba"], 1 << 16))
    again = torch.from_numpy(np.frombuffer(raw, np.uint8).reshape(5, height, width, 4).copy()).int()
    difference = (again - torch.stack(pictures).int()).abs()
    assert int(difference[..., :3].max()) <= 4
    assert int(difference[..., 3].max()) <= 1


def test_what_goes_wrong_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Tensor]:
        yield from frames(3, 4)
        raise KeyboardInterrupt

    sound = tone(tmp_path / "a.wav")
    (tmp_path / "a.mov").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_transparent_film(tmp_path / "a.mov", interrupted(), 25.0, sound)
    with pytest.raises(InputError, match=r"a\.mp4 could not be written: ffmpeg says"):
        write_film(tmp_path / "a.mp4", frames(3), preset="no such preset")
    with pytest.raises(InputError, match=r"empty\.wav has a sound track with zero samples"):
        write_film(tmp_path / "a.mp4", frames(3), sound=tone(tmp_path / "empty.wav", 16_000, 1, 0.1, "-t", "0"))
    (tmp_path / "empty.wav").unlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mov", "a.wav"]
    assert (tmp_path / "a.mov").read_text() == "old"


def test_what_cannot_be_written_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    def unasked() -> Iterator[Tensor]:
        raise AssertionError("a frame was made for nothing")
        yield

    with pytest.raises(InputError, match="does not exist"):
        write_film(tmp_path / "a.mp4", unasked(), sound=tmp_path / "none.wav")
    mute = puppet.encode(tmp_path / "mute.mp4", puppet.frames(2))
    with pytest.raises(InputError, match=r"mute\.mp4 has no sound"):
        write_film(tmp_path / "a.mp4", unasked(), sound=mute)
    with pytest.raises(InputError, match=r"does not end in \.mov"):
        write_transparent_film(tmp_path / "a.mp4", unasked())
    with pytest.raises(InputError, match=r"does not end in \.mp4"):
        write_film(tmp_path / "a.mov", unasked())
    assert [p.name for p in tmp_path.iterdir()] == ["mute.mp4"]


def test_channels_are_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="bytes"):
        write_film(tmp_path / "a.mp4", iter([torch.zeros(32, 32, 4, dtype=torch.uint8)]))
    assert list(tmp_path.iterdir()) == []
