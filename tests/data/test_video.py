from pathlib import Path

import puppet
import pytest
import torch
from test_sound import tone

from nerf3d.data.sound import write_wav
from nerf3d.data.video import Square, frames, glances, look_into_film, upright_size
from nerf3d.errors import InputError
from nerf3d.media.ffmpeg import look_into


def numbers(path: Path, size: int = 128) -> list[int]:
    return [puppet.number(frame) for frame in frames(path, size)]


def test_frames_at_25_are_those_of_the_film(tmp_path: Path) -> None:
    film = puppet.encode(tmp_path / "a.mp4", puppet.frames(30))
    assert numbers(film) == list(range(30))
    (first, *_) = frames(film, 256)
    assert first.shape == (256, 256, 3)
    expected = torch.from_numpy(next(puppet.frames(1)))
    assert float((first.float() - expected.float()).abs().mean()) < 2


@pytest.mark.parametrize(("fps", "count"), [(50, 60), (12.5, 15), (30, 36)])
def test_other_rates_become_25(tmp_path: Path, fps: float, count: int) -> None:
    seen = numbers(puppet.encode(tmp_path / "a.mp4", puppet.frames(count), fps=fps))
    assert abs(len(seen) - 30) <= 1
    assert all(abs(number - k * fps / 25) <= 1 for k, number in enumerate(seen))


def test_a_variable_rate_keeps_the_time(tmp_path: Path) -> None:
    """25 frames in the first second, 10 in the next: frame k / 25 s later is still what was shown then."""
    stretch = "setpts='if(lt(N,25),N/25,1+(N-25)/10)/TB'"
    film = puppet.encode(
        tmp_path / "a.mkv", puppet.frames(35), ("-vf", stretch, "-fps_mode", "vfr", "-enc_time_base", "1:1000")
    )
    seen = numbers(film)
    assert seen[:25] == list(range(25))
    assert all(abs(number - (25 + (k - 25) / 2.5)) <= 1 for k, number in enumerate(seen) if k >= 25)
    assert abs(len(seen) - 48) <= 3


def test_odd_sizes_and_parts(tmp_path: Path) -> None:
    pictures = [p.copy() for p in puppet.frames(2, 101, 181)]
    for picture in pictures:
        picture[40:61, 100:121] = (255, 0, 0)
    film = puppet.encode(tmp_path / "a.mp4", pictures)
    (whole, _) = frames(film, 101)
    assert whole.shape == (101, 101, 3)
    red = torch.nonzero((whole[..., 0] > 200) & (whole[..., 1] < 60)).float().mean(0)
    assert red.tolist() == pytest.approx([50, 110 - 40], abs=1.5)
    (part, _) = frames(film, 20, Square(100, 40, 20))
    assert float(part.float().mean((0, 1))[0]) > 230
    assert [g.shape for g in glances(film)] == [(101, 181, 3)]


def test_a_large_film_is_glanced_at_in_small(tmp_path: Path) -> None:
    film = puppet.encode(tmp_path / "a.mp4", puppet.frames(2, 1000, 1600))
    (small, *_) = glances(film)
    assert small.shape == (720, 1152, 3)
    assert upright_size(film) == (1600, 1000)
    assert Square(360, 0, 720).in_larger(small, 1600, 1000) == Square(500, 0, 1000)
    assert Square(432, 0, 720).in_larger(small, 1600, 1000) == Square(600, 0, 1000)


def test_a_turned_film_stands_upright(tmp_path: Path) -> None:
    """Telephones store pictures lying and say how to turn them."""
    lying = [p.transpose(1, 0, 2)[::-1].copy() for p in puppet.frames(3, 200, 120)]  # turned left by 90 degrees
    puppet.encode(tmp_path / "lying.mp4", lying)
    source = ["-display_rotation:v:0", "270", "-i", str(tmp_path / "lying.mp4")]
    puppet.ffmpeg(*source, "-c", "copy", str(tmp_path / "turned.mp4"))
    assert glances(tmp_path / "turned.mp4")[0].shape == (200, 120, 3)
    upright = next(iter(frames(tmp_path / "turned.mp4", 120, Square(0, 0, 120))))
    assert float((upright.float() - torch.from_numpy(next(puppet.frames(1, 200, 120))[:120]).float()).abs().mean()) < 4


def test_glances_are_spread_over_the_film(tmp_path: Path) -> None:
    film = puppet.encode(tmp_path / "a.mp4", puppet.frames(100), ("-g", "5"), fps=5)
    seen = [puppet.number(g) for g in glances(film, 8)]
    assert 4 <= len(seen) <= 8
    assert seen == sorted(seen)
    assert seen[0] < 10
    assert seen[-1] >= 70


def test_what_a_file_holds(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", [tone(1.2)])
    puppet.encode(tmp_path / "a.mp4", puppet.frames(30), sound=tmp_path / "a.wav")
    held = look_into(tmp_path / "a.mp4")
    assert (held.has_video, held.has_sound, held.rate) == (True, True, 25.0)
    assert held.seconds == pytest.approx(1.2, abs=0.1)
    with pytest.raises(InputError, match="sound only"):
        look_into_film(tmp_path / "a.wav")


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    film = puppet.encode(tmp_path / "a.mp4", puppet.frames(30))
    film.write_bytes(film.read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.mp4"):
        list(frames(film, 64))
