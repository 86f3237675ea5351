"""`nerf3d avatar prepare`: a film of a person who speaks in, a folder that a talking head can be fitted to, out."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nerf3d.console import say, tracked
from nerf3d.data.portrait import layers, shoulders
from nerf3d.data.portrait.align import SAMPLES, SIDE, align
from nerf3d.data.portrait.boxes import face_boxes, lips_boxes
from nerf3d.data.portrait.expression import blinks, eye_aspect_ratio, eye_openness, mouth
from nerf3d.data.portrait.folder import Shots, read_portrait, write_transforms
from nerf3d.data.portrait.landmarks import Detector, height
from nerf3d.data.portrait.layers import COLORS, TORSO
from nerf3d.data.portrait.layouts import LAYOUTS, add_layouts
from nerf3d.data.portrait.mediapipe_faces import mediapipe_detector
from nerf3d.data.portrait.pose import FOCAL, Poses, camera_to_head, consecutive, find_poses
from nerf3d.data.portrait.preview import drawn
from nerf3d.data.portrait.track import Track, follow, square_around_face
from nerf3d.data.sound import sound_chunks, write_wav
from nerf3d.data.sound_features import FILTER_BANK, LOG_MEL, MFCC, FeatureKind, Hearing, Spectrum, steps_of, windows_of
from nerf3d.data.speech_model import SpeechModel
from nerf3d.data.video import FPS, frames, glances, look_into_film, upright_size
from nerf3d.errors import InputError
from nerf3d.files import whole_folder
from nerf3d.guidance.libraries import prepare as prepare_libraries
from nerf3d.media.ffmpeg import Contents
from nerf3d.media.film import write_film

SIZES = (256, 512)
SHORTEST, SHORT = 2.0, 10.0
"""Seconds with a face: refused below the first, and worth a warning up to the second."""
SPECTRA = {kind.name: kind for kind in (LOG_MEL, MFCC, FILTER_BANK)}
SMALL = 0.2
"""A face lower than this share of the frame has few pixels for its mouth."""


@dataclass(frozen=True)
class Prepared:
    """What came of a film. `rms` is how far landmarks are from where the poses put them, in pixels; `feature` is None where
    the film has no sound.
    """

    folder: Path
    frames: int
    bridged: int
    dropped: int
    blinks: int
    rms: float
    feature: FeatureKind | None
    seconds: float


def prepare_avatar(
    film: Path | str,
    out: Path | str,
    size: int = 512,
    features: str = LOG_MEL.name,
    face_model: Path | str | None = None,
    detector: Detector | None = None,
    layouts: Collection[str] = (),
) -> Prepared:
    """Turn a film into frames, sound features, landmarks, mattes, layers and poses in the new folder `out`.

    `size` is the frames' width and height, 256 or 512. `features` is log-mel, mfcc or filter-bank, or the folder of a
    HuBERT or wav2vec 2.0 model. `face_model` is a face_landmarker.task, for MediaPipe wheels without models; `detector`
    finds the faces in MediaPipe's place. `layouts` names other tools, "adnerf" or "radnerf", for which files are added
    as `also_for` does. The folder appears whole or not at all.

    Raises InputError for what cannot be used: no face or two, no film, a folder that exists.
    """
    started = time.perf_counter()
    film, out = Path(film), Path(out)
    if size not in SIZES:
        raise InputError(f"frames of {size} pixels are not prepared; choose {' or '.join(map(str, SIZES))}")
    _check(layouts)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists; choose another folder with --out, or remove it")
    contents = look_into_film(film)
    hearing = hearing_of(features)
    seer = mediapipe_detector(face_model) if detector is None else detector
    say(f"preparing {film}: faces, poses, mattes, sound; on two cores it takes about as long as the film lasts")
    try:
        with whole_folder(out) as work:
            prepared = _prepare(contents, work, size, hearing, seer, out, started)
            if layouts:
                also_for(layouts, work, out.absolute())
    finally:
        seer.close()
    say(summary(prepared, contents))
    return prepared


def also_for(layouts: Collection[str], data: Path | str, home: Path | None = None) -> None:
    """Add to a prepared folder what the tools of "adnerf" or "radnerf" (ER-NeRF's too) want, see `data.portrait.layouts`.

    Files that are there stay, so that it can be repeated. `home` is where the folder will be, if elsewhere.
    """
    _check(layouts)
    portrait = read_portrait(data)
    count = len(portrait.train) + len(portrait.held_out)
    for _ in tracked(add_layouts(portrait, layouts, home), "other tools' files", count):
        pass


def _check(layouts: Collection[str]) -> None:
    for name in layouts:
        if name not in LAYOUTS:
            raise InputError(f"there are no files for {name!r}; choose {' or '.join(LAYOUTS)}")


def summary(prepared: Prepared, contents: Contents) -> str:
    """What a person wants to know, in a line."""
    lost = [
        f"{n} {what}" for n, what in ((prepared.bridged, "interpolated"), (prepared.dropped, "without a face")) if n
    ]
    length = (prepared.frames + prepared.dropped) / FPS
    heard = f"{prepared.feature}" if prepared.feature else "no sound"
    return (
        f"{prepared.frames} frames ({', '.join(lost) or 'a face in each'}), "
        f"landmarks within {prepared.rms:.1f} pixels of the poses, {prepared.blinks} blinks, {heard}, "
        f"in {prepared.folder}; {prepared.seconds:.0f} s for a film of {length:.0f} s"
    )


def hearing_of(features: str) -> Hearing:
    if features in SPECTRA:
        return Spectrum(SPECTRA[features])
    if not Path(features).is_dir():
        raise InputError(
            f"there is no sound feature {features!r}; choose {', '.join(SPECTRA)}, or the folder of a HuBERT or wav2vec 2.0 "
            "model"
        )
    prepare_libraries()
    return SpeechModel(features)


def _prepare(
    contents: Contents, work: Path, size: int, hearing: Hearing, detector: Detector, out: Path, started: float
) -> Prepared:
    track = _watch(contents, work, size, detector)
    known = torch.nonzero(track.known)[:, 0]
    if len(known) < SHORTEST * FPS:
        raise InputError(
            f"{contents.path} shows the face for {len(known) / FPS:.1f} s; give at least {SHORTEST:.0f} s, better a minute"
        )
    if len(known) <= SHORT * FPS:
        say(
            f"the face is seen for only {len(known) / FPS:.1f} s: a head learned from a minute or more speaks far better"
        )
    count, points = len(track.points), track.points[known]
    feature = _listen(contents, work, count, hearing)
    focal = FOCAL * size
    poses = _poses(work, points, known, size)
    eye = eye_openness(eye_aspect_ratio(points))
    pose = camera_to_head(poses.head_to_camera)
    unknown = torch.full((len(known), 2), torch.nan)
    shots = Shots(known, known, pose, face_boxes(points, size), lips_boxes(points, size), eye, mouth(points), unknown)
    np.save(work / "landmarks.npy", track.points.numpy())
    _divide(track, work, size, shots)
    shots = replace(shots, torso=_torso(work, known, size))
    write_transforms(work, shots, focal, size, size, feature)
    shut = torch.nonzero(blinks(eye))[:, 0].float()
    times = len(list(consecutive(shut))) if len(shut) else 0
    seconds = time.perf_counter() - started
    bridged = int(track.bridged.sum())
    return Prepared(out, len(known), bridged, count - len(known), times, poses.rms, feature, seconds)


def _watch(contents: Contents, work: Path, size: int, detector: Detector) -> Track:
    """The first pass: frames and mattes to files, the face followed."""
    pictures = glances(contents.path)
    part = square_around_face(pictures, detector)
    if part is not None:
        part = part.in_larger(pictures[0], *upright_size(contents.path))
    if part is not None and part.side < size:
        say(
            f"the part of the film around the face has only {part.side} pixels, enlarged to {size}; --size 256 is quicker"
        )
    expected = round((contents.seconds or 0) * FPS)
    for name in ("ori_imgs", "mattes", "parsing"):
        (work / name).mkdir()

    def keep(index: int, frame: torch.Tensor, matte: torch.Tensor) -> None:
        Image.fromarray(frame.numpy()).save(work / "ori_imgs" / f"{index}.jpg", quality=95, subsampling=0)
        Image.fromarray(matte.numpy()).save(work / "mattes" / f"{index}.png", compress_level=1)

    track = follow(tracked(frames(contents.path, size, part), "faces", max(expected, 1)), detector, keep)
    usual = float(torch.stack([torch.tensor(height(p)) for p in track.points[track.known]]).median())
    if usual < SMALL * size:
        say(f"the face is only {usual:.0f} pixels high in frames of {size}: its lips may hardly move")
    return track


def _poses(work: Path, points: torch.Tensor, known: torch.Tensor, size: int) -> Poses:
    """From landmarks, then from the frames themselves, the larger ones halved."""
    count = len(known) + min(SAMPLES, len(known))
    seen = tracked(range(count), "poses", count)

    def picture(row: int) -> torch.Tensor:
        next(seen)
        return _grey(work, int(known[row]), size)

    lens, times = (FOCAL * SIDE, (SIDE / 2, SIDE / 2)), known.float()
    points = points * (SIDE / size)
    poses = align(find_poses(points, times, *lens), points, times, picture, *lens)
    return replace(poses, rms=poses.rms * size / SIDE)


def _torso(work: Path, known: torch.Tensor, size: int) -> torch.Tensor:
    count = len(known) + min(shoulders.SAMPLES, len(known))
    seen = tracked(range(count), "shoulders", count)

    def picture(row: int) -> torch.Tensor:
        next(seen)
        return _grey(work, int(known[row]), size)

    def torso(row: int) -> torch.Tensor:
        with Image.open(work / "parsing" / f"{int(known[row])}.png") as parts:
            small = np.array(parts.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST))
        return torch.from_numpy((small == COLORS[TORSO]).all(-1))

    return shoulders.follow_torso(picture, torso, known.float())


def _grey(work: Path, number: int, size: int) -> torch.Tensor:
    """A frame of `SIDE` pixels a side."""
    with Image.open(work / "ori_imgs" / f"{number}.jpg") as frame:
        return torch.from_numpy(np.array(frame.convert("L").reduce(size // SIDE)))


def _listen(contents: Contents, work: Path, count: int, hearing: Hearing) -> FeatureKind | None:
    """The sound to aud.wav and its windows to aud.npy, neither ever whole in memory."""
    if not contents.has_sound:
        say(f"{contents.path} has no sound: the frames are prepared, but no head can learn to speak from them")
        return None
    wav = work / "aud.wav"
    if write_wav(wav, sound_chunks(contents.path)) < 1e-3:
        say(f"{contents.path} has a sound track that is silent throughout: no head can learn to speak from it")
    shape = (count, 16, hearing.kind.channels)
    file = np.lib.format.open_memmap(work / "aud.npy", mode="w+", dtype=np.float32, shape=shape)
    done = 0
    for windows in tracked(windows_of(steps_of(sound_chunks(wav), hearing), count), "sound", max(-(-count // 250), 1)):
        file[done : done + len(windows)] = windows.numpy()
        done += len(windows)
    file.flush()
    return hearing.kind


def _divide(track: Track, work: Path, size: int, shots: Shots) -> None:
    """The second pass: head, torso, background, and the film to check it all by."""
    plate, _ = layers.background_plate(*map(list, zip(*track.samples)))
    Image.fromarray(plate.numpy()).save(work / "background.png")
    place = {int(number): row for row, number in enumerate(shots.picture_id)}
    palette = [part for color in layers.COLORS for part in color]

    def shown() -> Iterator[torch.Tensor]:
        for index in tracked(range(len(track.points)), "layers", len(track.points)):
            frame = torch.from_numpy(np.array(Image.open(work / "ori_imgs" / f"{index}.jpg")))
            if index not in place:
                yield frame
                continue
            row = place[index]
            matte = torch.from_numpy(np.array(Image.open(work / "mattes" / f"{index}.png")))
            picture = Image.fromarray(layers.layers(track.points[index], matte).numpy(), mode="P")
            picture.putpalette(palette)
            picture.save(work / "parsing" / f"{index}.png", compress_level=1)
            yield drawn(frame, track.points[index], shots.face[row], shots.lips[row])

    wav = work / "aud.wav"
    sound = wav if wav.is_file() else None
    write_film(work / "preview.mp4", shown(), float(FPS), sound, crf=23, preset="veryfast")
