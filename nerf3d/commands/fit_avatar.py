"""`nerf3d avatar fit`: a prepared film in, a run with a head that can speak, out."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.commands.device import chosen_device, room_for
from nerf3d.commands.fit import Smooth
from nerf3d.commands.own_sound import write_with_own_sound
from nerf3d.commands.training import Watch, check_numbers, run_to_resume, run_training, with_budget
from nerf3d.config import find_recipe, read_recipe
from nerf3d.console import say, tracked
from nerf3d.data.portrait.folder import Portrait, Shots, read_portrait
from nerf3d.data.portrait.footage import Footage, load_footage, load_plate
from nerf3d.data.portrait.likeness import Likeness, read_likeness
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.metrics.pictures import psnr
from nerf3d.models.head import HeadConfig
from nerf3d.models.sound_encoder import neighbours
from nerf3d.runs import PORTRAIT, Run, RunConfig, begin_run, change_recipe, check_new
from nerf3d.tasks.avatar import Avatar, AvatarTask
from nerf3d.tasks.avatar.sanity import check_recipe
from nerf3d.tasks.avatar.scenery import Scenery, head_box
from nerf3d.tasks.avatar.task import Film

PREVIEWS_AT = (0.25, 0.5, 0.75, 1.0)
PREVIEW_FRAMES, FILM_FRAMES = 4, 50
SIZES = (64, 1024)
FEWEST = 25
"""Frames below which there is no head to learn: a second."""


def fit_avatar(
    data: Path | str,
    out: Path | str | None = None,
    preset: str | None = None,
    settings: tuple[str, ...] = (),
    steps: int | None = None,
    max_minutes: float | None = None,
    size: int | None = None,
    seed: int = 0,
    checkpoint_every: int | None = None,
    resume: bool = False,
    device: str = "auto",
    started: float | None = None,
) -> Run:
    """Learn a talking head from a folder that `prepare_avatar` made, or another in AD-NeRF's layout.

    `preset` is a recipe's name or file (None: ernerf), `size` the side of the frames that are learnt from (None: as
    prepared). The rest is as in `fit`.

    Raises InputError for input that cannot be used, a film without sound among it, and Interrupted after Ctrl-C.
    """
    started = time.perf_counter() if started is None else started
    chip = chosen_device(device)
    check_numbers(seed, checkpoint_every)
    portrait = _checked(read_portrait(data))
    if resume:
        run = _resumed(
            Path(out) if out is not None else None, portrait, preset, settings, size, steps, max_minutes, seed
        )
        likeness = read_likeness(run.folder / PORTRAIT)
        say(f"reading {len(portrait.train)} frames")
        footage = load_footage(portrait, portrait.train, likeness.side)
        task = _task(run.config, likeness, portrait, footage, chip)
        held_out = load_footage(portrait, _previewed(portrait), likeness.side)
    else:
        path = find_recipe(preset or "ernerf", "avatar")
        recipe = with_budget(read_recipe(Avatar, path, settings), steps, max_minutes)
        recipe = recipe if size is None else replace(recipe, size=size)
        check_recipe(recipe, " with ".join([str(path), *(f"--set {setting}" for setting in settings)]))
        recipe = _told_what_is_known(recipe, portrait)
        side = _side(recipe, portrait)
        target = Path(out) if out is not None else Path("runs") / f"{portrait.folder.resolve().name}-{path.stem}"
        check_new(target)
        if side > portrait.width:
            say(f"the frames in {portrait.folder} have only {portrait.width} pixels, and are enlarged to {side}")
        say(f"reading {len(portrait.train)} frames")
        config = RunConfig(str(portrait.folder.resolve()), seed, recipe)
        footage = load_footage(portrait, portrait.train, side)
        held_out = load_footage(portrait, _previewed(portrait), side)  # refused, if it must be, before there is a run
        likeness = _likeness(portrait, footage, side)
        task = _task(config, likeness, portrait, footage, chip)
        run = begin_run(target, config, likeness)
    return _train(run, task, portrait, held_out, checkpoint_every, chip, started)


def _checked(portrait: Portrait) -> Portrait:
    if portrait.feature is None:
        raise InputError(
            f"{portrait.folder} was prepared from a film without sound, and a head learns to speak from sound; film again "
            "with a microphone, and prepare that"
        )
    if portrait.width != portrait.height:
        raise InputError(
            f"{portrait.folder} has frames of {portrait.width} x {portrait.height}, and square ones are needed; prepare "
            "the film with: nerf3d avatar prepare"
        )
    if len(portrait.train) < FEWEST:
        raise InputError(
            f"{portrait.folder} has only {len(portrait.train)} frames to learn from, less than a second; give a film of a "
            "minute or more"
        )
    return portrait


def _side(recipe: Avatar, portrait: Portrait) -> int:
    side = recipe.size or portrait.width
    if not SIZES[0] <= side <= SIZES[1]:
        raise InputError(
            f"a size of {side} cannot be used; choose 256 or 512, or a number from {SIZES[0]} to {SIZES[1]}"
        )
    return side


def _previewed(portrait: Portrait) -> Shots:
    """Some held-out frames, evenly spaced."""
    return portrait.held_out[_rows(len(portrait.held_out))]


def _rows(count: int) -> Tensor:
    return torch.linspace(0, count - 1, PREVIEW_FRAMES).round().long() if count else torch.zeros(0).long()


def _told_what_is_known(recipe: Avatar, portrait: Portrait) -> Avatar:
    """Data of other tools says nothing of the mouth: then the sound's code alone has to move it."""
    known = int((~portrait.train.mouth.isnan().any(-1)).sum())
    if known >= 2 or not isinstance(recipe.head, HeadConfig) or not recipe.head.mouth:
        return recipe
    say(f"{portrait.folder} does not say how the mouth stands: the head learns from the pictures alone")
    return replace(recipe, head=replace(recipe.head, mouth=0))


def _likeness(portrait: Portrait, footage: Footage, side: int) -> Likeness:
    """What a run keeps of its film, in pixels of `side` x `side` frames."""
    scale = side / portrait.width
    shots = replace(
        portrait.train,
        face=(portrait.train.face * scale).round().long(),
        lips=(portrait.train.lips * scale).round().long(),
    )
    cameras = portrait.cameras(shots).scaled_to(side, side)
    center = (portrait.center[0] * scale, portrait.center[1] * scale)
    assert portrait.feature is not None
    box = head_box(cameras, footage)
    return Likeness(shots, load_plate(portrait, side), box, portrait.focal * scale, center, portrait.feature)


def _task(
    config: RunConfig, likeness: Likeness, portrait: Portrait, footage: Footage, device: torch.device
) -> AvatarTask:
    assert isinstance(config.recipe, Avatar)
    windows = portrait.windows(portrait.train)
    film = Film(footage, neighbours(windows, torch.arange(len(windows))))
    rng = torch.Generator().manual_seed(config.seed)
    with room_for("the frames", device):
        return AvatarTask(config.recipe, likeness.to(device), film.to(device), rng).to(device)


def _resumed(
    folder: Path | None,
    portrait: Portrait,
    preset: str | None,
    settings: tuple[str, ...],
    size: int | None,
    steps: int | None,
    minutes: float | None,
    seed: int,
) -> Run:
    chosen = bool(preset is not None or settings or size is not None)
    run = run_to_resume(folder, chosen, "--preset, --set and --size", seed)
    recipe = _recipe_of(run)
    kept = read_likeness(run.folder / PORTRAIT)
    assert portrait.feature is not None
    kept.feature.require(portrait.feature, str(portrait.folder))
    if not _same(kept.shots, portrait.train):
        raise InputError(
            f"{run.folder} was made from other frames than those of {portrait.folder}; give the data that it was made "
            f"from ({run.config.source}, as it was then), or begin a new run with another --out"
        )
    if steps is not None or minutes is not None:
        run = change_recipe(run, with_budget(recipe, steps, minutes))
    return run


def _recipe_of(run: Run) -> Avatar:
    if not isinstance(run.config.recipe, Avatar):
        raise InputError(f"{run.folder} is not a talking head; go on with it by the command that began it")
    return run.config.recipe


def _same(a: Shots, b: Shots) -> bool:
    return (
        len(a) == len(b) and torch.equal(a.picture_id, b.picture_id) and torch.equal(a.camera_to_head, b.camera_to_head)
    )


def _train(
    run: Run,
    task: AvatarTask,
    portrait: Portrait,
    held_out: Footage,
    every: int | None,
    device: torch.device,
    started: float,
) -> Run:
    smooth = Smooth()
    preview = _Preview(run, task.scenery, portrait, held_out)
    command = f"nerf3d avatar fit {shlex.quote(run.config.source)} --out {shlex.quote(str(run.folder))} --resume"
    watch = Watch(smooth.add, smooth.words, preview, PREVIEWS_AT, command)
    state = run_training(
        run, task, {"person": task.scenery, "pace": task.pace}, vars(task.recipe.weights), every, device, started, watch
    )
    say(f"{state.step} steps in {state.seconds:.0f} s; the run is in {run.folder}")
    if preview.found:
        say(f"{preview.found:.2f} dB on {PREVIEW_FRAMES} frames that it did not see")
        say(f"the first of them, beside what it makes of their sound: {preview.film()}")
    name = shlex.quote(str(run.folder))
    say(f"next: nerf3d avatar render {name} --audio VOICE.wav    nerf3d avatar eval {name}")
    return run


class _Preview:
    """Some held-out frames beside what the head makes of their sound."""

    def __init__(self, run: Run, scenery: Scenery, portrait: Portrait, held_out: Footage) -> None:
        self.run, self.scenery, self.portrait = run, scenery, portrait
        self.shots, self.truth = _previewed(portrait), held_out.images
        self.rows, self.windows = _rows(len(portrait.held_out)).tolist(), torch.zeros(0)
        if len(self.shots):
            self.windows = portrait.windows(portrait.held_out)
        self.found = 0.0

    def film(self) -> Path:
        """The first held-out frames, and the head under their sound."""
        shots, device = self.portrait.held_out[:FILM_FRAMES], self.scenery.plate.device
        truth = load_footage(self.portrait, shots, self.scenery.likeness.side).images
        heard = list(self.scenery.listen([self.windows[: len(shots)].to(device)]))

        def beside() -> Iterator[Tensor]:
            for i in tracked(range(len(shots)), "preview", len(shots)):
                eye = shots.eye[i].nan_to_num(1.0).to(device)
                pose, torso = shots.camera_to_head[i].to(device), shots.torso[i].to(device)
                made = self.scenery.picture(pose, heard[i], eye, torso=torso)
                yield torch.cat([truth[i], color_picture(made).cpu()], 1)

        path = self.run.media / "preview.mp4"
        write_with_own_sound(path, beside(), self.portrait, shots)
        return path

    def __call__(self, step: int) -> None:
        if not len(self.shots):
            return
        heard = list(self.scenery.listen([self.windows.to(self.scenery.plate.device)]))
        pictures: list[Tensor] = []
        values = []
        for i in range(len(self.shots)):
            eye, pose = self.shots.eye[i].nan_to_num(1.0), self.shots.camera_to_head[i]
            words = heard[self.rows[i]]
            torso = self.shots.torso[i].to(words)
            made = self.scenery.picture(pose.to(words), words, eye.to(words), torso=torso).cpu()
            values.append(psnr(made, self.truth[i].float() / 255))
            pictures += [self.truth[i], color_picture(made)]
        self.found = sum(values) / len(values)
        write_picture(self.run.media / f"held_out_{step:06d}.png", contact_sheet(pictures, PREVIEW_FRAMES))
