import math
import wave
from pathlib import Path

import numpy as np
import puppet
import pytest
import torch

from nerf3d.data.sound import RATE, read_sound, sound_chunks, write_wav
from nerf3d.errors import InputError


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


def raw(path: Path, samples: np.ndarray, rate: int, channels: int, *options: str) -> Path:
    """A file of any format, made by ffmpeg of float samples."""
    source = ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "-"]
    puppet.ffmpeg(*source, *options, str(path), given=samples.astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a", ".ogg"])
def test_stereo_at_any_rate_becomes_one_channel_at_16_khz(tmp_path: Path, suffix: str) -> None:
    both = np.stack([tone(1.0, 440, 44100).numpy(), np.zeros(44100)], 1)
    sound = read_sound(raw(tmp_path / f"tone{suffix}", both, 44100, 2))
    assert abs(len(sound) - RATE) < 0.1 * RATE
    middle = sound[4000:12000]
    assert float(middle.square().mean().sqrt()) == pytest.approx(0.25 / math.sqrt(2), rel=0.1)
    spectrum = torch.fft.rfft(middle).abs()
    assert int(spectrum.argmax()) * RATE / 8000 == pytest.approx(440, abs=2)


def test_a_wav_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sound = tone(0.7)
    loudest = write_wav(tmp_path / "a.wav", [sound[:5000], sound[5000:]])
    assert loudest == pytest.approx(0.5, abs=1e-3)
    torch.testing.assert_close(read_sound(tmp_path / "a.wav"), sound, atol=1e-4, rtol=0)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, len(sound))


def test_chunks_are_the_whole(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", [tone(1.03)])
    chunks = list(sound_chunks(tmp_path / "a.wav", 4000))
    assert [len(chunk) for chunk in chunks] == [4000, 4000, 4000, 4000, 480]
    assert torch.equal(torch.cat(chunks), read_sound(tmp_path / "a.wav"))


def test_the_sound_of_a_film_keeps_its_place(tmp_path: Path) -> None:
    """A track that begins 0.4 s after the picture is silent for so long."""
    write_wav(tmp_path / "a.wav", [tone(1.0)])
    still = ["-f", "lavfi", "-i", "color=red:size=32x32:rate=25:duration=2"]
    late = ["-itsoffset", "0.4", "-i", str(tmp_path / "a.wav"), "-c:a", "pcm_s16le"]
    puppet.ffmpeg(*still, *late, str(tmp_path / "film.mkv"))
    loud = torch.nonzero(read_sound(tmp_path / "film.mkv").abs() > 0.05)[:, 0]
    assert int(loud[0]) / RATE == pytest.approx(0.4, abs=0.01)


def test_what_cannot_be_heard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_sound(tmp_path / "none.wav")
    with pytest.raises(InputError, match="is a folder"):
        read_sound(tmp_path)
    (tmp_path / "text.wav").write_text("no sound at all, but a letter to a friend\n")
    with pytest.raises(InputError, match="neither film nor sound"):
        read_sound(tmp_path / "text.wav")
    with pytest.raises(InputError, match="zero samples"):
        read_sound(raw(tmp_path / "empty.wav", np.zeros(0), RATE, 1))
    broken = np.full(RATE, np.nan)
    with pytest.raises(InputError, match="not finite"):
        read_sound(raw(tmp_path / "nan.wav", broken, RATE, 1, "-c:a", "pcm_f32le"))
    puppet.encode(tmp_path / "silent.mp4", puppet.frames(5))
    with pytest.raises(InputError, match=r"silent.mp4 has no sound"):
        read_sound(tmp_path / "silent.mp4")


def test_names_are_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg would take concat:a|b for an instruction."""
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "a.wav", [tone(0.1)])
    with pytest.raises(InputError, match="does not exist"):
        read_sound("concat:a.wav|a.wav")
    write_wav(tmp_path / "-y é.wav", [tone(0.1)])
    assert len(read_sound("-y é.wav")) == 1600
