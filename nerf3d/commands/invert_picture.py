"""`nerf3d gen invert`: one picture in, the object that it shows out, as the generative model can make it."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.commands.sample_generator import SIZE, Sampled, check_room, keep_object
from nerf3d.console import say
from nerf3d.core import Cameras
from nerf3d.data.collections.eg3d import LABELS, camera_of
from nerf3d.data.collections.pictures import load_resized
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.pictures import psnr
from nerf3d.runs import open_run
from nerf3d.scenes import Model, field_of, load_model
from nerf3d.tasks.generate import Latent
from nerf3d.tasks.generate.inversion import Inverted, invert, tune
from nerf3d.tasks.generate.looks import on_white, picture, premultiplied
from nerf3d.tasks.generate.resemblance import Measure, Resemblance
from nerf3d.tasks.generate.ssdnerf import PlaneObjects

LEAST_COVERED = 0.005
"""A picture with less than this share of its pixels covered shows no object."""
PSEUDO_VIEWS = 8


def invert_picture(
    run: Path | str,
    photograph: Path | str,
    out: Path | str | None = None,
    tuned: bool = True,
    seed: int = 0,
    measures: Sequence[Measure] = (),
    critic: Path | str | None = None,
) -> Sampled:
    """Find the code whose object looks like a picture, and write it to `out` (None: RUN/inverted/NAME): a run with
    latent.safetensors, preview.png, turntable.mp4, asset.glb, and inversion.png, the picture beside what was made of it.

    The picture shows one object before transparency, or before plain white. Where it belongs to a collection in EG3D's
    layout its camera is taken from there; else the camera is looked for too. `tuned`: change the model's weights a little,
    for this object alone. `measures`: what counts beside squared differences; identity is what `critic`, the folder of an
    open_clip model (None: the program's own), takes both for. Raises InputError.
    """
    began = time.perf_counter()
    if critic is not None and "identity" not in measures:
        raise InputError("a critic was named, but nobody asks it: add the measure identity, or leave the critic away")
    judge = Evaluator.open(Path(critic) if critic is not None else EVALUATOR) if "identity" in measures else None
    resemblance = Resemblance(tuple(dict.fromkeys(measures)), judge)
    model = load_model(open_run(Path(run)))
    if measures and isinstance(model.maker, PlaneObjects):
        raise InputError(f"planes such as {run}'s are found by squared differences alone: leave --measure out")
    file = Path(photograph)
    seen = read_object(file, model.about.cameras.width)
    target = Path(out) if out is not None else model.run.folder / "inverted" / file.stem
    check_room(target, model)
    camera = _known_camera(file, model)
    say(
        "its camera is known"
        if camera is not None
        else "its camera is not known: it is looked for among the collection's"
    )
    rng = torch.Generator().manual_seed(seed)
    cameras = model.about.cameras if camera is None else camera
    found = invert(model.makes, seen, cameras, camera is not None, rng, resemblance=resemblance)
    around = model.about.views(PSEUDO_VIEWS)
    weights = tune(model.maker, found, seen, around, rng, resemblance=resemblance) if tuned else {}
    sheet = _beside(model, found, seen, weights)
    latent = Latent(found.code, model.name, f"inverted from {file.name}", weights)
    made = keep_object(model, latent, target, seed, more=lambda work: write_picture(work / "inversion.png", sheet))
    say(f"{time.perf_counter() - began:.0f} s; the object is in {target}")
    return made


def read_object(file: Path, size: int) -> Float[Tensor, "h w 4"]:
    """A picture of one object as colours over black and opacity. Without alpha, white is taken for nothing."""
    if not file.is_file():
        folder = "it is a folder; give one picture in it" if file.is_dir() else "check the path"
        raise InputError(f"there is no picture {file}; {folder}")
    try:
        straight = load_resized([file], size)[0].float() / 255
    except InputError as error:
        raise InputError(f"{file} cannot be read as a picture; give a PNG or JPEG that other programs show") from error
    if straight.shape[0] != straight.shape[1]:
        raise InputError(f"{file} is not square; cut out a square with the object in its middle")
    if bool((straight[..., 3] == 1).all()):
        shown = 1 - straight[..., :3].amin(-1, keepdim=True)  # how far it is from white
        alpha = (shown > 0.06).float()
        straight = torch.cat([straight[..., :3], alpha], -1)
    if float(straight[..., 3].mean()) < LEAST_COVERED:
        raise InputError(
            f"{file} shows no object (nothing that is not white or transparent); cut one out, before transparency"
        )
    if float(straight[..., 3].min()) > 0.5:
        raise InputError(f"{file} has no background that could be told from the object; give one before transparency")
    return premultiplied(straight)


def _known_camera(file: Path, model: Model) -> Cameras | None:
    for folder in file.resolve().parents[:3]:
        if (folder / LABELS).is_file():
            return camera_of(folder, file, model.about.cameras.width)
    return None


def _beside(
    model: Model, found: Inverted, seen: Float[Tensor, "h w 4"], weights: dict[str, Tensor]
) -> UInt8[Tensor, "h2 w2 3"]:
    """The picture, the same from the code, and the same tuned, side by side; says how like they are."""
    large = found.camera.scaled_to(SIZE, SIZE)
    values, shown = [], [enlarged(on_white(seen))]
    for each in [{}, weights] if weights else [{}]:
        field = field_of(model, Latent(found.code, model.name, "", each))
        with torch.no_grad():
            values.append(psnr(on_white(picture(field, found.camera, 0, model.makes.sampler)), on_white(seen)))
            shown.append(on_white(picture(field, large, 0, model.makes.sampler)))
    found_as = ", and with tuned weights ".join(f"{value:.1f} dB" for value in values)
    say(f"the picture against what was made of it: {found_as}; inversion.png shows them side by side")
    return contact_sheet([color_picture(p) for p in shown], 3)


def enlarged(image: Float[Tensor, "h w 3"]) -> Float[Tensor, "h2 w2 3"]:
    """Without smoothing, to what is shown beside it."""
    return F.interpolate(image.permute(2, 0, 1)[None], (SIZE, SIZE))[0].permute(1, 2, 0)
