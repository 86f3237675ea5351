"""One face through a whole film: found in every frame, bridged where it is lost for a moment, given up where for longer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.data.portrait.landmarks import POINTS, Detector, Sight, extent, height
from nerf3d.data.video import FPS, Square
from nerf3d.errors import InputError

BRIDGE = 5
"""Frames (0.2 s) without a face that are bridged."""
RIVAL = 0.4
"""A second face counts from this share of the first one's height on: who is smaller stands in the background."""
MOST_RIVALS, RIVAL_SHARE = 25, 0.02
"""Two faces in so many frames, or in this share of all, and the film is not one person's."""
ROOM = 2.8
"""Heights of the face, forehead to chin, that a frame shows at most: in a larger picture the mouth has few pixels."""
FACE_AT = 0.45
"""Where in the frame the face's middle is, from its top."""
SAMPLES = 64
"""Frames that are kept for the background, at most."""

Frame = UInt8[Tensor, "h w 3"]
Matte = UInt8[Tensor, "h w"]


@dataclass(frozen=True)
class Track:
    """The landmarks of every frame, NaN where there are none. `bridged` are interpolated. `samples` are some frames with
    their mattes, spread over the film."""

    points: Float[Tensor, "frames 478 3"]
    bridged: Bool[Tensor, "frames"]
    samples: list[tuple[Tensor, Tensor]]

    @property
    def known(self) -> Bool[Tensor, "frames"]:
        return self.points[:, 0, 0].isfinite()


def follow(frames: Iterable[Frame], detector: Detector, keep: Callable[[int, Frame, Matte], None]) -> Track:
    """Find the face in all frames; `keep` gets each one's number, the frame and its matte, and may store them.

    Raises InputError for no face, for two, and where the face is away for more than half of the film.
    """
    points: list[Tensor] = []
    samples: list[tuple[Tensor, Tensor]] = []
    rivals: list[int] = []
    step = 1
    for index, frame in enumerate(frames):
        sight = detector(frame)
        faces = _large(sight)
        points.append(_same(faces, points) if faces else torch.full((POINTS, 3), torch.nan))
        if len(faces) > 1:
            rivals.append(index)
            if len(rivals) > MOST_RIVALS:
                raise _two(rivals)
        keep(index, frame, sight.matte)
        if index % step == 0:
            samples.append((frame, sight.matte))
            if len(samples) > SAMPLES:
                samples, step = samples[::2], 2 * step
    if len(rivals) > RIVAL_SHARE * len(points):
        raise _two(rivals)
    whole = torch.stack(points)
    found = int(whole[:, 0, 0].isfinite().sum())
    if found == 0:
        raise InputError(
            f"no face was found in any of the {len(points)} frames; give a film of a face seen from the front"
        )
    if found < 0.5 * len(points):
        raise InputError(
            f"a face was found in only {found} of {len(points)} frames; cut the film to where the face is seen"
        )
    return Track(*bridge(whole), samples)


def bridge(points: Float[Tensor, "frames 478 3"]) -> tuple[Float[Tensor, "frames 478 3"], Bool[Tensor, "frames"]]:
    """Frames without a face between two with one, at most five in a row, get points on the straight line; and which."""
    known = torch.nonzero(points[:, 0, 0].isfinite())[:, 0].tolist()
    whole, bridged = points.clone(), torch.zeros(len(points), dtype=torch.bool)
    for before, after in zip(known, known[1:]):
        if 1 < after - before <= BRIDGE + 1:
            share = torch.arange(1, after - before)[:, None, None] / (after - before)
            whole[before + 1 : after] = torch.lerp(points[before], points[after], share)
            bridged[before + 1 : after] = True
    return whole, bridged


def square_around_face(pictures: Iterable[Frame], detector: Detector) -> Square | None:
    """The part of a film to look at: around where the face is as a rule, close enough; None where no face is seen.

    Raises InputError where as a rule there are two.
    """
    boxes, shape, rivals = [], (0, 0), 0
    for picture in pictures:
        shape = picture.shape[0], picture.shape[1]
        faces = _large(detector(picture))
        if faces:
            boxes.append(extent(faces[0]))
            rivals += len(faces) > 1
    if not boxes:
        return None
    if rivals > 0.5 * len(boxes):
        raise InputError("the film shows more than one face most of the time; cut or crop it to one person")
    left, top, right, bottom = torch.tensor(boxes).median(0).values.tolist()
    side = min(*shape, max(round(ROOM * (bottom - top)), 16)) // 2 * 2
    x = min(max(round((left + right - side) / 2), 0), shape[1] - side)
    y = min(max(round((top + bottom) / 2 - FACE_AT * side), 0), shape[0] - side)
    return Square(x, y, side)


def _large(sight: Sight) -> list[Tensor]:
    """The faces that count."""
    return [face for face in sight.faces if height(face) >= RIVAL * height(sight.faces[0])]


def _same(faces: list[Tensor], before: list[Tensor]) -> Tensor:
    """The face nearest to the last frame's, where there was one; else the largest."""
    last = before[-1] if before and bool(before[-1].isfinite().all()) else None
    if last is None:
        return faces[0]
    return min(faces, key=lambda face: float((face - last).norm()))


def _two(rivals: list[int]) -> InputError:
    return InputError(
        f"{len(rivals)} frames show more than one face, the first of them {rivals[0] / FPS:.1f} s into the film; "
        "cut or crop it to one person"
    )
