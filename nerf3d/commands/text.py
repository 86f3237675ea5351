"""`nerf3d text`: a prompt in, a run with a film, pictures, a mesh and figures out."""

import shlex
import time
from dataclasses import replace
from pathlib import Path

import torch

from nerf3d.assets import EVALUATOR, of_the_world
from nerf3d.commands.candidates import best_of, unused
from nerf3d.commands.device import chosen_device, room_for
from nerf3d.commands.outcome import Outcome, present
from nerf3d.commands.teaching import folder_of, guidance_of
from nerf3d.commands.training import Diverged, Watch, check_numbers, run_training, with_budget
from nerf3d.config import find_recipe, read_recipe
from nerf3d.console import say
from nerf3d.data.world.captions import understand
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.ranks import check_alone, count, leads
from nerf3d.render.picture import render_picture
from nerf3d.runs import Run, RunConfig, begin_run, change_recipe, check_new, open_run
from nerf3d.tasks.text import Text, TextTask
from nerf3d.tasks.text.collapse import Collapsed, Monitor
from nerf3d.tasks.text.scenery import with_resolution

MOST_WORDS = 100
PREVIEWS_AT = (0.1, 0.25, 0.5, 0.75, 1.0)
PREVIEW_SIZE = 96
TRIES, RETRY = 3, 1000


def text(
    prompt: str,
    out: Path | str | None = None,
    prior: str | None = None,
    preset: str | None = None,
    settings: tuple[str, ...] = (),
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    checkpoint_every: int | None = None,
    resume: bool = False,
    device: str = "auto",
    started: float | None = None,
    candidates: int = 1,
) -> Outcome:
    """Make a 3D object of a prompt: a run folder with turntable.mp4, preview.png, asset.glb and metrics.json.

    `prior` is the model that judges: None for the embedded one, an alias, a hub id, or a folder of a diffusers pipeline;
    `preset` a recipe (None: the one for that prior). The rest is as in `fit`. A run that collapses (nothing there, fog
    everywhere, a flat sheet, no numbers) is put aside and begun again with other random numbers, twice at most; whether
    the last one collapsed too is in the outcome, and then there is no mesh. Of several `candidates`, which differ in their
    seeds, the run that the evaluator likes best is kept in `out`, the others beside it.

    Raises InputError for input that cannot be used, and Interrupted after Ctrl-C, when the state is saved.
    """
    started = time.perf_counter() if started is None else started
    chip = chosen_device(device)
    if candidates > 1:
        check_alone("making several candidates")
    check_numbers(seed, checkpoint_every, 62)
    check_prompt(prompt)
    if resume:
        if candidates > 1:
            raise InputError("--resume goes on with one run, not with several candidates; name one of them with --out")
        run = _resumed(prompt, Path(out) if out is not None else None, steps, max_minutes)
        return _tried(run.folder, run.config, checkpoint_every, chip, started, run)
    recipe = _recipe(prior, preset, settings, steps, max_minutes)
    target = Path(out) if out is not None else Path("runs") / slug(prompt)
    check_new(target)

    if candidates == 1:
        return _tried(target, RunConfig(prompt, seed, recipe), checkpoint_every, chip, started)
    if not EVALUATOR.is_dir():
        raise InputError(f"nobody here can say which of several candidates is best: there is no {EVALUATOR}")
    if understand(prompt) is None:
        raise InputError(
            f"nobody here can say which of several candidates is best: the evaluator does not know what {prompt!r} is; "
            "leave --candidates away"
        )

    def attempt(where: Path, seed: int) -> Outcome:
        return _tried(where, RunConfig(prompt, seed, recipe), checkpoint_every, chip, time.perf_counter())

    return best_of(candidates, target, seed, attempt)


def _tried(
    target: Path,
    config: RunConfig,
    checkpoint_every: int | None,
    device: torch.device,
    started: float,
    begun: Run | None = None,
) -> Outcome:
    """One run, from its beginning or from where it was stopped; put aside and begun again where it collapses, unless several
    processes train it: of these only the one that leads sees what became of it.
    """
    tries = TRIES if count() == 1 else 1
    for attempt in range(tries):
        again = replace(config, seed=config.seed + RETRY * attempt)
        try:
            outcome = present(_trained(target, again, checkpoint_every, device, started, begun))
        except (Collapsed, Diverged) as collapse:
            if not leads():
                raise SystemExit(0) from collapse
            outcome = Outcome(open_run(target), None, str(collapse))
        if outcome.asset is not None or attempt + 1 == tries:
            break
        aside, begun = unused(target, "collapsed"), None
        target.rename(aside)
        say(f"{outcome.collapse}; this try is now in {aside}, and the next one begins with other random numbers")
    return outcome


def _trained(
    target: Path,
    config: RunConfig,
    checkpoint_every: int | None,
    device: torch.device,
    started: float,
    begun: Run | None,
) -> Run:
    """The teacher is gone from memory when this is over. One that cannot be had leaves no run behind."""
    task = _task(config, device)
    return _train(begun or begin_run(target, config), task, checkpoint_every, device, started)


def check_prompt(prompt: str, example: str = "nerf3d text 'a blue mushroom'") -> None:
    """InputError for prompts that no teacher can make sense of."""
    if not prompt.strip():
        raise InputError(f"the prompt is empty; say what to make, as in: {example}")
    words = len(prompt.split())
    if words > MOST_WORDS or len(prompt) > 20 * MOST_WORDS:
        raise InputError(f"a prompt of {words} words is longer than any teacher reads; say it in {MOST_WORDS} or fewer")


def _recipe(
    prior: str | None, preset: str | None, settings: tuple[str, ...], steps: int | None, minutes: float | None
) -> Text:
    path = find_recipe(preset or ("builtin" if of_the_world(folder_of(prior)) else "dreamfusion_sd"), "text")
    recipe = read_recipe(Text, path, settings)
    if prior is not None:
        recipe = replace(recipe, teacher=prior)
    return with_budget(recipe, steps, minutes)


def _resumed(prompt: str, folder: Path | None, steps: int | None, minutes: float | None) -> Run:
    if folder is None:
        raise InputError("--resume needs to know which run: name its folder with --out")
    run = open_run(folder)
    if not isinstance(run.config.recipe, Text):
        raise InputError(f"{folder} was not made from a prompt; go on with it by `nerf3d fit`, or choose another --out")
    if run.config.source != prompt:
        raise InputError(
            f"{folder} was made from {run.config.source!r}; give that prompt, or begin a new run with --out"
        )
    if steps is not None or minutes is not None:
        run = change_recipe(run, with_budget(run.config.recipe, steps, minutes))
    return run


def _task(config: RunConfig, device: torch.device) -> TextTask:
    recipe = config.recipe
    assert isinstance(recipe, Text)
    rng = torch.Generator().manual_seed(config.seed)
    with room_for("the prior", device):
        return TextTask(recipe, guidance_of(config.source, recipe, device, rng), rng, device).to(device)


def _train(run: Run, task: TextTask, checkpoint_every: int | None, device: torch.device, started: float) -> Run:
    recipe = task.recipe
    kept = {"scenery": task.scenery} | ({"student": task.student} if task.student is not None else {})
    monitor = Monitor()
    said = f"nerf3d text {shlex.quote(run.config.source)} --out {shlex.quote(str(run.folder))} --resume"
    watch = Watch(monitor.see, monitor.state, lambda step: _preview(run, task, step), PREVIEWS_AT, said)
    state = run_training(run, task, kept, vars(recipe.weights), checkpoint_every, device, started, watch)
    say(f"{state.step} steps in {state.seconds:.0f} s; the run is in {run.folder}")
    return run


@torch.no_grad()
def _preview(run: Run, task: TextTask, step: int) -> None:
    """Four sides of what there is."""
    scene = with_resolution(task.scenery.scene(), PREVIEW_SIZE)
    sides = [color_picture(render_picture(scene, scene.cameras, i).color) for i in range(0, len(scene.cameras), 2)]
    write_picture(run.media / f"step_{step:06d}.png", contact_sheet(sides, 4))


def slug(prompt: str) -> str:
    """The name of a folder: the prompt's letters and digits."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in prompt.lower())
    return "-".join(part for part in kept.split("-") if part)[:60] or "object"
