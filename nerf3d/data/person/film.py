"""A film of the person speaking, as a user would hand it in, and beside it all that is true of it."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.assets import ASSETS
from nerf3d.core import Cameras
from nerf3d.data.person.landmarks import NUMBERS, RIGID, landmarks
from nerf3d.data.person.motion import Performance, perform
from nerf3d.data.person.portrait import Portrait, camera, portrait
from nerf3d.data.person.trace import placed
from nerf3d.data.sound import RATE, write_wav
from nerf3d.errors import InputError
from nerf3d.media.film import write_film

VOICE, UNHEARD = ASSETS / "person" / "voice.ogg", ASSETS / "person" / "unheard.ogg"
"""What the person says: 24 seconds to learn from, and 6 more."""
FPS = 25
QUALITY = 12
"""libx264's constant rate factor: hardly any loss."""


def portraits(performance: Performance, camera: Cameras) -> Iterator[Portrait]:
    """Every frame, one at a time."""
    return (portrait(performance.scene(i), camera) for i in range(len(performance)))


def projected_landmarks(performance: Performance, frame: int, camera: Cameras) -> Float[Tensor, "k 2"]:
    """Where the points of `landmarks.NUMBERS` are in the picture, hidden or not; pixels."""
    points = placed(landmarks(performance.face(frame)), performance.world_from_head[frame])
    return camera.project(torch.zeros(len(points), dtype=torch.int64), points)[0]


def write_person(
    folder: Path,
    sound: Float[Tensor, "n"],
    seconds: float,
    size: int,
    rng: torch.Generator | None,
    watched: Callable[[Iterator[Portrait]], Iterator[Portrait]] = iter,
) -> Performance:
    """Render the person saying the first `seconds` of a sound (16 kHz) and write it to a folder:

    - `person.mp4`: the film with its sound, 25 frames a second, H.264 and AAC;
    - `truth.json`: see `truth`;
    - `head/00000.png`, `person/00000.png` ...: mattes, 8 bits.

    `watched` sees every frame go by. Raises InputError for a sound that is shorter, and for odd sizes, which H.264 cannot
    hold.
    """
    frames = round(seconds * FPS)
    if size % 2 or size < 16:
        raise InputError(f"A film of {size} x {size} pixels cannot be written: choose an even size from 16 on.")
    if not 0 < frames <= len(sound) * FPS / RATE:
        raise InputError(f"The sound lasts {len(sound) / RATE:.1f} s, not {seconds:g}: ask for fewer seconds.")
    sound = sound[: frames * RATE // FPS]
    performance, view = perform(sound, frames, rng, float(FPS)), camera(size)
    for name in ("head", "person"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "truth.json").write_text(json.dumps(truth(performance, view)) + "\n", encoding="utf-8")
    _encode(folder / "person.mp4", _pictures(folder, watched(portraits(performance, view))), sound)
    return performance


def truth(performance: Performance, camera: Cameras) -> dict[str, object]:
    """What truth.json holds.

    `focal`, `center` (pixels), `size`, `fps`, `world_from_camera` (3 x 4, OpenCV axes), `landmark_numbers` (MediaPipe's),
    `rigid_numbers` (those that no expression moves), and `frames`: for each `world_from_head`, `world_from_torso` (3 x 4),
    `opening`, `rounding`, `blink` (0..1), `landmarks` (in the head's frame) and `landmarks_2d` (in the picture, in pixels,
    the centre of the first pixel at 0.5).
    """
    frames = []
    for i in range(len(performance)):
        face = performance.face(i)
        frames.append(
            {
                "world_from_head": performance.world_from_head[i].tolist(),
                "world_from_torso": performance.world_from_torso[i].tolist(),
                "opening": face.opening,
                "rounding": face.rounding,
                "blink": face.blink,
                "landmarks": _rounded(landmarks(face), 5),
                "landmarks_2d": _rounded(projected_landmarks(performance, i, camera), 3),
            }
        )
    focal, _, x, y = camera.intrinsics[0].tolist()
    return {
        "fps": FPS,
        "size": camera.width,
        "focal": focal,
        "center": [x, y],
        "world_from_camera": camera.world_from_camera[0].tolist(),
        "landmark_numbers": NUMBERS,
        "rigid_numbers": RIGID,
        "frames": frames,
    }


def _rounded(points: Float[Tensor, "k c"], digits: int) -> list[list[float]]:
    return [[round(value, digits) for value in point] for point in points.tolist()]


def _bytes(x: Float[Tensor, "*h"]) -> UInt8[Tensor, "*h"]:
    return (255 * x).round().to(torch.uint8)


def _pictures(folder: Path, stream: Iterator[Portrait]) -> Iterator[UInt8[Tensor, "h w 3"]]:
    """The pictures; the mattes go into their folders on the way."""
    from PIL import Image

    for i, seen in enumerate(stream):
        for name, matte in (("head", seen.head_matte), ("person", seen.person_matte)):
            Image.fromarray(_bytes(matte).numpy()).save(folder / name / f"{i:05d}.png")
        yield _bytes(seen.picture)


def _encode(path: Path, pictures: Iterator[UInt8[Tensor, "h w 3"]], sound: Float[Tensor, "n"]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        write_wav(wav, [sound])
        write_film(path, pictures, float(FPS), wav, crf=QUALITY, threads=1)
