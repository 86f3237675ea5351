"""`nerf3d avatar eval`: how well a head says what it has never heard, and that it is the sound that moves it."""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from nerf3d.commands.own_sound import write_with_own_sound
from nerf3d.commands.talking_figures import TalkingFigures
from nerf3d.console import say, tracked
from nerf3d.data.portrait.expression import blinks, eye_aspect_ratio, eye_openness, mouth
from nerf3d.data.portrait.folder import Portrait, read_portrait
from nerf3d.data.portrait.footage import load_footage
from nerf3d.data.portrait.landmarks import OUTER_LIPS, RIGID, Detector, extent
from nerf3d.data.portrait.mediapipe_faces import INSTALL, mediapipe_detector
from nerf3d.data.video import FPS
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.files import write_json
from nerf3d.metrics import lips
from nerf3d.metrics.pictures import lpips, lpips_available, psnr, ssim
from nerf3d.metrics.portrait import Box, blink_recall, head_box, jitter, landmark_distance, masked_psnr, pasted
from nerf3d.runs import open_run
from nerf3d.scenes import load_person
from nerf3d.tasks.avatar import motion
from nerf3d.tasks.avatar.scenery import Scenery

STILL_FRAMES = 75
"""Frames under a pose that does not move, in which landmarks should not either."""
SHEET_FRAMES = 6
LEAST_FRAMES = 10

Frames = UInt8[Tensor, "n h w 3"]


@dataclass(frozen=True)
class Takes:
    """The held-out frames: as they were, where they show the head, as it is rendered, and so under the wrong sound."""

    truth: Frames
    head: Bool[Tensor, "n h w"]
    made: Frames
    shuffled: Frames
    seconds: float
    """For a frame."""


def evaluate_avatar(
    run: Path | str,
    data: Path | str | None = None,
    face_model: Path | str | None = None,
    detector: Detector | None = None,
) -> TalkingFigures:
    """Measure a talking head on the frames that were held out, and write metrics.json and media/evaluation.* into the run.

    `data` is the prepared folder (None: where it was when the run was made); `face_model` as in `prepare_avatar`;
    `detector` finds the faces in MediaPipe's place. Raises InputError where there is nothing to measure.
    """
    opened = open_run(Path(run))
    person, step = load_person(opened)
    portrait = read_portrait(data or opened.config.source)
    if len(portrait.held_out) < LEAST_FRAMES:
        raise InputError(f"{portrait.folder} holds out {len(portrait.held_out)} frames, too few to measure anything on")
    if portrait.feature is not None:
        person.likeness.feature.require(portrait.feature, str(portrait.folder))
    seer = detector or _detector(face_model)
    say(f"{opened.folder} on the part of its film that was held out, with its sound and with the wrong one")
    try:
        takes = _takes(person, portrait)
        figures = _figures(person, portrait, takes, step, seer)
    finally:
        if seer is not None:
            seer.close()
    write_json(opened.folder / "metrics.json", asdict(figures))
    _show(opened.media, portrait, takes)
    say(
        f"metrics.json, media/evaluation.mp4 and media/evaluation.png are in {opened.folder}: the truth, the head under its "
        "sound, and under the wrong one, from left to right in the film, from top to bottom in the picture"
    )
    return figures


def _detector(face_model: Path | str | None) -> Detector | None:
    if face_model is None and importlib.util.find_spec("mediapipe") is None:
        say(f"without the mouth, blinks and jitter: they are measured with MediaPipe; {INSTALL}")
        return None
    return mediapipe_detector(face_model)


@torch.no_grad()
def _takes(person: Scenery, portrait: Portrait) -> Takes:
    shots, windows = portrait.held_out, portrait.windows(portrait.held_out)
    count = len(shots)
    footage = load_footage(portrait, shots, person.likeness.side)
    truth = footage.images
    began = time.perf_counter()
    films = []
    for title, heard in (("eval", windows), ("wrong sound", lips.shuffled(windows))):
        codes = list(person.listen([heard]))
        film = torch.empty_like(truth)
        for i in tracked(range(count), title, count):
            pose, eye = shots.camera_to_head[i], shots.eye[i].nan_to_num(1.0)
            film[i] = color_picture(person.picture(pose, codes[i], eye, torso=shots.torso[i]))
        films.append(film)
    made, shuffled = films
    return Takes(truth, footage.head >= 128, made, shuffled, (time.perf_counter() - began) / (2 * count))


def _figures(person: Scenery, portrait: Portrait, takes: Takes, step: int, detector: Detector | None) -> TalkingFigures:
    scale = person.likeness.side / portrait.width
    shots, count = portrait.held_out, len(portrait.held_out)
    seen = None
    if detector is not None:
        seen = [_landmarks(film, detector) for film in (takes.truth, takes.made, takes.shuffled)]
    heads = [_head(seen[0][i] if seen else None, shots.face[i] * scale, takes.truth[i]) for i in range(count)]
    mouths = [_box(shots.lips[i] * scale) if int(shots.lips[i, 2]) else heads[i] for i in range(count)]

    def mean(measure: Callable[[Tensor, Tensor, int], float], film: Frames = takes.made) -> float:
        return sum(measure(film[i].float() / 255, takes.truth[i].float() / 255, i) for i in range(count)) / count

    def perceived(a: Tensor, b: Tensor, i: int) -> float:
        distance = lpips(_cut(a, heads[i]), _cut(b, heads[i]))
        assert distance is not None
        return distance

    return TalkingFigures(
        psnr_head=mean(lambda a, b, i: masked_psnr(a, b, heads[i])),
        psnr_lips=mean(lambda a, b, i: masked_psnr(a, b, mouths[i])),
        psnr_lips_shuffled=mean(lambda a, b, i: masked_psnr(a, b, mouths[i]), takes.shuffled),
        psnr_pasted=mean(lambda a, b, i: psnr(pasted(a, b, takes.head[i]), b)),
        psnr_full=mean(lambda a, b, i: psnr(a, b)),
        ssim_head=mean(lambda a, b, i: ssim(_cut(a, heads[i]), _cut(b, heads[i]))),
        ssim_full=mean(lambda a, b, i: ssim(a, b)),
        lpips_head=mean(perceived) if lpips_available()[0] else None,
        **(_speaking(person, portrait, seen, detector) if seen and detector else NOT_SEEN),
        fps=1 / takes.seconds,
        frames=count,
        step=step,
    )


NOT_SEEN: dict[str, float | None] = dict.fromkeys(
    [
        *("lmd", "mouth_correlation", "mouth_correlation_shuffled", "mouth_correlation_ridge", "mouth_spread"),
        *("blink_recall", "blink_precision", "jitter", "offset_ms"),
    ]
)


def _speaking(
    person: Scenery, portrait: Portrait, seen: list[Float[Tensor, "n 478 3"]], detector: Detector
) -> dict[str, float | None]:
    truth, made, _ = seen
    if not bool((made + truth).isfinite().any()):
        say("no face was found in any frame of the film: look at media/evaluation.mp4")
        return NOT_SEEN
    opening, own, wrong = (mouth(points)[:, 0] for points in seen)
    known = portrait.train.mouth[:, 0]
    ridge = None
    if int(known.isfinite().sum()) >= 2:  # other tools do not say how the mouth stands
        heard = lips.ridge_baseline(portrait.windows(portrait.train), known, portrait.windows(portrait.held_out))
        ridge = lips.correlation(heard, opening)
    ratio = eye_aspect_ratio(truth)
    usual = float(ratio[ratio.isfinite()].median())
    shut, film_shut = (blinks(eye_openness(eye_aspect_ratio(p).nan_to_num(usual), usual)) for p in (truth, made))
    recall, precision = blink_recall(film_shut, shut)
    still = _landmarks(_standing(person, portrait), detector)
    return {
        "lmd": landmark_distance(made, truth, OUTER_LIPS),
        "mouth_correlation": lips.correlation(own, opening),
        "mouth_correlation_shuffled": lips.correlation(wrong, opening),
        "mouth_correlation_ridge": ridge,
        "mouth_spread": lips.spread(own, opening),
        "blink_recall": recall,
        "blink_precision": precision,
        "jitter": jitter(still, RIGID) if _three_in_a_row(still) else None,
        "offset_ms": lips.sound_offset(own, opening, float(FPS)),
    }


@torch.no_grad()
def _standing(person: Scenery, portrait: Portrait) -> Frames:
    """The head under one pose with open eyes, speaking."""
    count = min(STILL_FRAMES, len(portrait.held_out))
    codes = list(person.listen([portrait.windows(portrait.held_out[:count])]))
    pose, eye = motion.still(person.likeness.shots.camera_to_head), torch.tensor(1.0)
    some = tracked(range(count), "standing still", count)
    return torch.stack([color_picture(person.picture(pose, codes[i], eye)) for i in some])


def _landmarks(film: Frames, detector: Detector) -> Float[Tensor, "n 478 3"]:
    """NaN where no face is found."""
    sights = [detector(frame) for frame in tracked(film, "faces", len(film))]
    return torch.stack([s.faces[0] if s.faces else torch.full((478, 3), torch.nan) for s in sights])


def _three_in_a_row(points: Float[Tensor, "n 478 3"]) -> bool:
    """Whether there are three frames after one another in which a face was found."""
    found = points.isfinite().flatten(1).all(1)
    return bool((found[:-2] & found[1:-1] & found[2:]).any())


def _head(landmarks: Tensor | None, face: Tensor, frame: Tensor) -> Box:
    """Around the whole head, with its hair; without landmarks the data's own box of the face, which has the hair in."""
    if landmarks is None or not bool(landmarks.isfinite().all()):
        return _box(face) if int(face[2]) else (0, 0, frame.shape[1], frame.shape[0])
    left, top, right, bottom = extent(landmarks)
    return head_box((left, top, right - left, bottom - top), frame.shape[0], frame.shape[1])


def _box(values: Tensor) -> Box:
    x, y, width, height = values.round().long().tolist()
    return x, y, width, height


def _cut(picture: Float[Tensor, "h w 3"], box: Box) -> Float[Tensor, "a b 3"]:
    x, y, width, height = box
    return picture[y : y + height, x : x + width]


def _show(media: Path, portrait: Portrait, takes: Takes) -> None:
    """Truth, film, and film under the wrong sound, side by side: some frames, and all of them with the true sound."""
    count = len(takes.truth)
    some = torch.linspace(0, count - 1, min(SHEET_FRAMES, count)).round().long()
    rows = [film[i] for film in (takes.truth, takes.made, takes.shuffled) for i in some]
    write_picture(media / "evaluation.png", contact_sheet(rows, len(some)))
    beside = (torch.cat([takes.truth[i], takes.made[i], takes.shuffled[i]], 1) for i in range(count))
    write_with_own_sound(media / "evaluation.mp4", beside, portrait, portrait.held_out)
