"""MediaPipe itself, where it is installed; its refusals everywhere."""

import importlib.util
from pathlib import Path

import pytest
import torch

from nerf3d.data.portrait import mediapipe_faces
from nerf3d.data.portrait.landmarks import height
from nerf3d.data.portrait.mediapipe_faces import mediapipe_detector
from nerf3d.data.video import frames
from nerf3d.errors import InputError

MISSING = importlib.util.find_spec("mediapipe") is None
needs_mediapipe = pytest.mark.skipif(MISSING, reason="needs MediaPipe: pip install nerf3d[avatar]")


def test_without_mediapipe_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediapipe_faces.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install \"nerf3d\[avatar\]\""):
        mediapipe_detector()


@needs_mediapipe
def test_model_files_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        mediapipe_detector(tmp_path / "face_landmarker.task")
    (tmp_path / "face_landmarker.task").write_bytes(b"")
    with pytest.raises(InputError, match=r"has no selfie_segmenter\.tflite"):
        mediapipe_detector(tmp_path / "face_landmarker.task")


@needs_mediapipe
def test_nobody_is_seen_in_an_empty_room_and_one_in_the_clip(shared_data: Path) -> None:
    import mediapipe

    if not hasattr(mediapipe, "solutions"):
        pytest.skip(f"MediaPipe {mediapipe.__version__} carries no models")
    clip = shared_data / "portrait" / "speaker_25fps_512.mp4"
    if not clip.is_file():
        pytest.skip(f"needs {clip}")
    detector = mediapipe_detector()
    assert detector(torch.full((256, 256, 3), 120, dtype=torch.uint8)).faces == ()
    (face,) = detector(next(frames(clip, 256))).faces
    assert 0.3 * 256 < height(face) < 0.8 * 256
    assert float(face[33, 0]) < float(face[263, 0])  # the right eye is on the viewer's left
    assert float(face[10, 1]) < float(face[152, 1])
    assert float(face[4, 2]) < float(face[234, 2])  # the nose is nearer than the temple
    sight = detector(next(frames(clip, 256)))
    x, y = face[4, :2].long().tolist()
    assert int(sight.matte[y, x]) > 200
    assert int(sight.matte[5, 250]) < 50
    detector.close()
