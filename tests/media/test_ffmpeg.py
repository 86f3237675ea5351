import subprocess
from pathlib import Path

import numpy as np
import puppet
import pytest

from nerf3d.errors import InputError
from nerf3d.media import ffmpeg
from nerf3d.media.ffmpeg import decoded, look_into

RAW = ["-f", "rawvideo", "-pix_fmt", "rgb24"]


def test_what_a_film_and_a_sound_hold(tmp_path: Path) -> None:
    tone = ["-f", "lavfi", "-i", "sine=duration=1.2"]
    puppet.ffmpeg(*tone, str(tmp_path / "a.flac"))
    puppet.encode(tmp_path / "a.mp4", puppet.frames(30), sound=tmp_path / "a.flac")
    film, sound = look_into(tmp_path / "a.mp4"), look_into(tmp_path / "a.flac")
    assert (film.has_video, film.has_sound, film.rate) == (True, True, 25.0)
    assert (sound.has_video, sound.has_sound, sound.rate) == (False, True, None)
    assert film.seconds == pytest.approx(1.2, abs=0.04)
    assert sound.seconds == pytest.approx(1.2, abs=0.01)


def test_a_comment_is_not_taken_for_a_fact(tmp_path: Path) -> None:
    puppet.encode(tmp_path / "a.mp4", puppet.frames(5), ("-metadata", "comment=Duration: 01:00:00, 7 fps"))
    held = look_into(tmp_path / "a.mp4")
    assert (held.seconds, held.rate) == (0.2, 25.0)


def test_a_picture_of_the_cover_is_no_film(tmp_path: Path) -> None:
    still = ["-f", "lavfi", "-i", "color=red:size=32x32:duration=0.04", "-f", "lavfi", "-i", "sine=duration=0.3"]
    puppet.ffmpeg(*still, "-c:v", "mjpeg", "-disposition:v", "attached_pic", str(tmp_path / "a.mp3"))
    held = look_into(tmp_path / "a.mp3")
    assert (held.has_video, held.has_sound) == (False, True)


def test_pieces_are_frames(tmp_path: Path) -> None:
    pictures = list(puppet.frames(4, 32, 64))
    film = puppet.encode(tmp_path / "a -é.mkv", pictures, ("-c:v", "ffv1", "-pix_fmt", "gbrp"))
    pieces = list(decoded(film, [], RAW, 3 * 32 * 64))
    assert [len(piece) for piece in pieces] == 4 * [3 * 32 * 64]
    for piece, picture in zip(pieces, pictures):
        assert np.array_equal(np.frombuffer(piece, np.uint8).reshape(32, 64, 3), picture)
    assert [len(piece) for piece in decoded(film, [], RAW, 10_000)] == [10_000, 10_000, 4 * 3 * 32 * 64 - 20_000]


def test_the_program_ends_with_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = puppet.encode(tmp_path / "a.mp4", puppet.frames(50))
    started: list[subprocess.Popen[bytes]] = []
    genuine = subprocess.Popen

    def remember(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(genuine(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(ffmpeg.subprocess, "Popen", remember)
    pieces = decoded(film, [], RAW, 100)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert started[-1].poll() is not None


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        look_into(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="is a folder"):
        look_into(tmp_path)
    (tmp_path / "a.mp4").write_text("no film at all")
    with pytest.raises(InputError, match="neither film nor sound"):
        look_into(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read to its end: ffmpeg says"):
        list(decoded(tmp_path / "a.mp4", [], RAW, 100))
