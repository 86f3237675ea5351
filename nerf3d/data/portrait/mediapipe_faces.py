"""MediaPipe as a detector: its wheels up to 0.10.21, which carry their models, and later ones with given model files."""

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nerf3d.data.portrait.landmarks import POINTS, Detector, Sight, height
from nerf3d.errors import InputError

MOST_FACES = 3
SEGMENTERS = ("selfie_segmenter.tflite", "selfie_segmentation.tflite")
INSTALL = 'pip install "nerf3d[avatar]"'


def mediapipe_detector(face_model: Path | str | None = None) -> Detector:
    """A detector for one film.

    `face_model` is a face_landmarker.task with a selfie_segmenter.tflite beside it, for wheels that carry no models (and
    for others, if wished). Raises InputError where MediaPipe or its models are missing.
    """
    if importlib.util.find_spec("mediapipe") is None:
        raise InputError(f"faces are found by MediaPipe, which is not installed; {INSTALL}")
    if face_model is not None:
        return TaskDetector(Path(face_model))
    with _quietly():
        import mediapipe
    if not hasattr(mediapipe, "solutions"):
        raise InputError(
            f"MediaPipe {mediapipe.__version__} carries no models: give --face-model face_landmarker.task, with "
            "selfie_segmenter.tflite beside it, or pip install mediapipe==0.10.14 (Python up to 3.12), which carries them"
        )
    return MeshDetector()


class MeshDetector:
    """FaceMesh with irises and SelfieSegmentation, the older interface."""

    def __init__(self) -> None:
        with _quietly():
            from mediapipe import solutions

            self._mesh = solutions.face_mesh.FaceMesh(max_num_faces=MOST_FACES, refine_landmarks=True)
            self._segmenter = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            self(torch.zeros(64, 64, 3, dtype=torch.uint8))  # the models are loaded with the first picture

    def __call__(self, frame: UInt8[Tensor, "h w 3"]) -> Sight:
        picture = frame.contiguous().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # protobuf's about MediaPipe's own calls
            meshes = self._mesh.process(picture).multi_face_landmarks or []
            matte = self._segmenter.process(picture).segmentation_mask
        return _sight([mesh.landmark for mesh in meshes], matte, frame)

    def close(self) -> None:
        self._mesh.close()
        self._segmenter.close()


class TaskDetector:
    """FaceLandmarker and ImageSegmenter, the newer interface, whose models are files."""

    def __init__(self, face_model: Path) -> None:
        beside = [face_model.parent / name for name in SEGMENTERS]
        segmenter = next((file for file in beside if file.is_file()), None)
        if not face_model.is_file() or segmenter is None:
            missing = (
                f"{face_model.parent} has no {SEGMENTERS[0]}" if face_model.is_file() else f"{face_model} is no file"
            )
            raise InputError(
                f"{missing}; --face-model needs MediaPipe's face_landmarker.task and, beside it, its selfie_segmenter.tflite"
            )
        with _quietly():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            video = vision.RunningMode.VIDEO
            try:
                self._landmarker = vision.FaceLandmarker.create_from_options(
                    vision.FaceLandmarkerOptions(
                        base_options=BaseOptions(model_asset_path=str(face_model)),
                        running_mode=video,
                        num_faces=MOST_FACES,
                    )
                )
                self._segmenter = vision.ImageSegmenter.create_from_options(
                    vision.ImageSegmenterOptions(
                        base_options=BaseOptions(model_asset_path=str(segmenter)),
                        running_mode=video,
                        output_confidence_masks=True,
                    )
                )
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{face_model} cannot be used ({str(error).splitlines()[0]}); copy it again") from None
        self._image = lambda picture: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
        self._time = 0

    def __call__(self, frame: UInt8[Tensor, "h w 3"]) -> Sight:
        image = self._image(frame.contiguous().numpy())
        self._time += 40  # milliseconds, which have to rise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            faces = self._landmarker.detect_for_video(image, self._time).face_landmarks
            masks = self._segmenter.segment_for_video(image, self._time).confidence_masks
        return _sight(faces, masks[-1].numpy_view(), frame)

    def close(self) -> None:
        self._landmarker.close()
        self._segmenter.close()


def _sight(faces: list[Any], matte: np.ndarray, frame: Tensor) -> Sight:
    """From MediaPipe's units, in which width and height of the picture (and depth's unit, the width) are 1."""
    size = torch.tensor([frame.shape[1], frame.shape[0], frame.shape[1]], dtype=torch.float32)
    points = [torch.tensor([(p.x, p.y, p.z) for p in face], dtype=torch.float32) * size for face in faces]
    whole = sorted((p for p in points if len(p) == POINTS), key=height, reverse=True)
    shares = torch.from_numpy(np.array(matte, dtype=np.float32)).reshape(frame.shape[:2])
    return Sight(tuple(whole), (shares.clamp(0, 1) * 255).round().to(torch.uint8))


@contextmanager
def _quietly() -> Iterator[None]:
    """MediaPipe's native code tells on the error stream how it loads its models; nobody needs to know."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
