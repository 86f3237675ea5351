"""`nerf3d avatar render`: a run and a voice in, a film of the person who says it, out."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError
from torch import Tensor

from nerf3d.commands.own_sound import TAG
from nerf3d.commands.prepare_avatar import SPECTRA, hearing_of
from nerf3d.console import say, tracked
from nerf3d.data.portrait.folder import FOREIGN
from nerf3d.data.sound import RATE, sound_chunks, write_wav
from nerf3d.data.sound_features import FeatureKind, Hearing, steps_of, windows_of
from nerf3d.data.video import FPS
from nerf3d.errors import InputError
from nerf3d.export.film import write_frames
from nerf3d.export.pictures import color_picture
from nerf3d.media.film import write_film, write_transparent_film
from nerf3d.runs import open_run
from nerf3d.scenes import load_person
from nerf3d.tasks.avatar import blinking, motion
from nerf3d.tasks.avatar.scenery import Scenery

POSES = ("natural", "still", "original", "orbit")
SILENT = 1e-3
RATES = (10.0, 60.0)


@dataclass(frozen=True)
class Rendered:
    """What was made. `real_time` is the film's length by the time that it took."""

    path: Path
    frames: int
    seconds: float
    real_time: float


@dataclass(frozen=True)
class Moment:
    """What a frame is rendered from: how the head is held, what is heard, how open the eyes are, and where the torso stands
    (NaN: where it usually does for such a head).
    """

    pose: Float[Tensor, "4 4"]
    heard: Float[Tensor, "k"]
    eye: Float[Tensor, ""]
    torso: Float[Tensor, "2"]


def render_avatar(
    run: Path | str,
    audio: Path | str,
    out: Path | str | None = None,
    pose: str = "natural",
    blink: str = "auto",
    background: str = "original",
    fps: float = 25.0,
    features: str | None = None,
    seed: int = 0,
) -> Rendered:
    """Film a talking head that says what is heard in a sound file (any that ffmpeg reads; a film's sound will do).

    `pose` is natural, still, original, orbit or a file with one pose per frame; `blink` is auto, original, none or a file
    with one number per frame; `background` is original, alpha, a colour or a picture. `out` is an .mp4, with alpha a .mov
    or a folder for PNGs. `features` names the folder of the speech model, for heads that were taught to hear with one.
    The film lasts as long as the sound, carries it, and says in its comment that it is synthesised.

    Raises InputError for input that cannot be used.
    """
    began = time.perf_counter()
    opened, sound = open_run(Path(run)), Path(audio)
    person, _ = load_person(opened)
    if not RATES[0] <= fps <= RATES[1]:
        raise InputError(f"a film of {fps:g} frames per second is not made; choose a number from 10 to 60")
    alpha = background == "alpha"
    target = Path(out) if out is not None else opened.media / f"{sound.stem}{'.mov' if alpha else '.mp4'}"
    _check_target(target, alpha)
    behind = None if alpha else _background(background, person)
    hearing = hearing_of(features or _own_feature(person.likeness.feature))
    person.likeness.feature.require(hearing.kind, f"--features {features or hearing.kind.name}")
    length = _length(sound)
    native = -(-length * FPS // RATE)
    moments = _at_rate(_moments(person, sound, hearing, native, pose, blink, seed), fps)
    frames = max(-(-round(length * fps) // RATE), 1)
    shots = _frames(person, tracked(islice(moments, frames), "render", frames), behind)
    if target.suffix == ".mov":
        write_transparent_film(target, shots, fps, sound, TAG)
    elif target.suffix == ".mp4":
        write_film(target, shots, fps, sound, TAG)
    else:
        write_frames(target, shots)
        write_wav(target / "sound.wav", sound_chunks(sound))
    seconds = time.perf_counter() - began
    done = Rendered(target, frames, seconds, frames / fps / seconds)
    say(
        f"{frames} frames in {target}, {frames / seconds:.1f} a second: {1 / done.real_time:.1f} s of work for a second of "
        "film; it says in its comment that it is synthesised"
    )
    return done


def _check_target(target: Path, alpha: bool) -> None:
    if alpha and target.suffix == ".mp4":
        raise InputError(f"{target} would lose what is transparent: give a .mov, or a folder for PNGs")
    if not alpha and target.suffix == ".mov":
        raise InputError(f"{target}: a .mov is written for films with --background alpha; give an .mp4")
    if target.suffix not in (".mp4", ".mov", ""):
        raise InputError(f"{target} is no film that can be written; give an .mp4, or a folder for PNGs")
    if target.suffix == "" and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not an empty folder; choose another with --out")


def _own_feature(taught: FeatureKind) -> str:
    """The name of what the head was taught to hear, if that can be made without a model's weights."""
    if taught.name == FOREIGN:
        raise InputError(
            f"the head was taught with another tool's sound feature ({taught}), which is not made here; fit it to a film "
            "that `nerf3d avatar prepare` has prepared"
        )
    if taught.name not in SPECTRA:
        raise InputError(f"the head was taught to hear {taught}; name the folder of that model with --features")
    return taught.name


def _length(sound: Path) -> int:
    """How many samples there are. InputError for a sound that cannot be read to its end or holds nothing."""
    length, loudest = 0, 0.0
    for chunk in sound_chunks(sound):
        length, loudest = length + len(chunk), max(loudest, float(chunk.abs().max()))
    if loudest < SILENT:
        say(f"{sound} is silent throughout: the mouth will hardly move")
    return length


def _background(name: str, person: Scenery) -> Float[Tensor, "h w 3"]:
    side = person.likeness.side
    if name == "original":
        return person.plate
    if Path(name).is_file():
        try:
            with Image.open(name) as picture:
                upright = ImageOps.exif_transpose(picture).convert("RGB")
            small = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)  # the largest square in the middle
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{name} is not a picture that can be read ({error}); give a PNG or JPEG") from None
        return torch.from_numpy(np.array(small)).float() / 255
    try:
        color = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise InputError(
            f"there is no background {name!r}; give original, alpha, a colour such as green or #00ff00, or a picture's file"
        ) from None
    return (torch.tensor(color).float() / 255).expand(side, side, 3)


def _moments(
    person: Scenery, sound: Path, hearing: Hearing, frames: int, pose: str, blink: str, seed: int
) -> Iterator[Moment]:
    """One for every 40 ms that have begun; neither sound nor what is heard is ever whole in memory."""
    poses, own_eyes = _poses(person, pose, frames, seed)
    eyes = _eyes(person, blink, frames, seed) if own_eyes is None or blink != "auto" else own_eyes
    windows = windows_of(steps_of(sound_chunks(sound), hearing), frames)
    shots = person.likeness.shots
    torsos: Iterable[Tensor] = repeat(torch.full((2,), torch.nan))
    if pose == "original":
        torsos = motion.beside_original(shots.torso, shots.camera_to_head, shots.picture_id, frames)
    yield from map(Moment, poses, person.listen(windows), eyes, torsos)


def _poses(person: Scenery, pose: str, frames: int, seed: int) -> tuple[Iterable[Tensor], Tensor | None]:
    shots = person.likeness.shots
    known, times = shots.camera_to_head, shots.picture_id
    if pose == "natural":
        return motion.natural(known, times, frames, torch.Generator().manual_seed(seed)), None
    if pose == "still":
        return repeat(motion.still(known), frames), None
    if pose == "original":
        return motion.original(known, times, frames), None
    if pose == "orbit":
        return motion.orbit(motion.still(known), frames), None
    if not Path(pose).is_file():
        raise InputError(f"there is no pose {pose!r}; choose {', '.join(POSES)}, or a file with one pose per frame")
    held = motion.from_file(Path(pose), frames)
    return held.poses, held.eyes


def _eyes(person: Scenery, blink: str, frames: int, seed: int) -> Tensor:
    if blink == "auto":
        return blinking.natural_blinks(frames, torch.Generator().manual_seed(seed + 1))
    if blink == "original":
        return blinking.replayed(person.likeness.shots.eye, frames)
    if blink == "none":
        return torch.ones(frames)
    if not Path(blink).is_file():
        raise InputError(
            f"there is no blink {blink!r}; choose auto, original, none, or a file with one number per frame"
        )
    return blinking.blinks_from_file(Path(blink), frames)


def _at_rate(moments: Iterable[Moment], fps: float) -> Iterator[Moment]:
    """The same at another rate, without end: between two moments what lies between them, after the last one the last."""
    index, before = 0, None
    for at, moment in enumerate(moments):
        while (position := index * FPS / fps) <= at:
            yield moment if before is None or position == at else _between(before, moment, position - (at - 1))
            index += 1
        before = moment
    while before is not None:
        yield before


def _between(a: Moment, b: Moment, share: float) -> Moment:
    pose = torch.lerp(a.pose, b.pose, share)
    left, _, right = torch.linalg.svd(pose[:3, :3])  # neighbours are near: the nearest rotation to the mean will do
    pose[:3, :3] = left @ right
    heard, eye, torso = (torch.lerp(x, y, share) for x, y in ((a.heard, b.heard), (a.eye, b.eye), (a.torso, b.torso)))
    return Moment(pose, heard, eye, torso)


def _frames(
    person: Scenery, moments: Iterable[Moment], behind: Float[Tensor, "h w 3"] | None
) -> Iterator[UInt8[Tensor, "h w c"]]:
    for moment in moments:
        if behind is not None:
            yield color_picture(person.picture(moment.pose, moment.heard, moment.eye, behind, moment.torso))
        else:
            seen = person.person(moment.pose, moment.heard, moment.eye, moment.torso)
            color = seen[..., :3] / seen[..., 3:].clamp_min(1e-4)  # straight alpha
            yield (torch.cat([color, seen[..., 3:]], -1).clamp(0, 1) * 255).round().to(torch.uint8)
