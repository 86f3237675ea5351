"""`nerf3d eval`: how good a run is, on photographs that it did not see."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.commands.evaluate_generator import evaluate_generator
from nerf3d.commands.generator_figures import GeneratorEvaluation
from nerf3d.commands.generator_figures import table as table_of_generator
from nerf3d.commands.judge import Judgement, judge
from nerf3d.commands.judge import table as table_of_judgement
from nerf3d.console import say, tracked
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.files import write_json
from nerf3d.metrics.pictures import lpips, lpips_available, psnr, ssim
from nerf3d.runs import Run, open_run
from nerf3d.scenes import held_out, load_scene
from nerf3d.tasks.fit.compare import compare
from nerf3d.tasks.generate import Generate, Made
from nerf3d.tasks.text import Text

SHEET_VIEWS = 6


@dataclass(frozen=True)
class View:
    name: str
    psnr: float
    ssim: float
    lpips: float | None


@dataclass(frozen=True)
class Evaluation:
    """Means over the held-out views, and the views themselves. What the figures mean is said along with them.

    The PSNR of identical pictures is infinite, for which metrics.json has null.
    """

    psnr: float
    ssim: float
    lpips: float | None
    step: int
    background: str
    alpha: str
    color_space: str
    lpips_network: str | None
    views: tuple[View, ...]


def evaluate(run: Path | str) -> Evaluation | Judgement | GeneratorEvaluation:
    """Measure a run as its story asks for, and write metrics.json and a sheet of pictures in media/ into it.

    A run of photographs is rendered from every held-out view at full size and compared; one of a prompt is judged; of a
    generative model many objects are compared with those of its collection.
    """
    opened = open_run(Path(run))
    recipe = opened.config.recipe
    if isinstance(recipe, Text):
        return judge(opened)
    if isinstance(recipe, Generate):
        return evaluate_generator(opened.folder)
    if isinstance(recipe, Made):
        raise InputError(
            f"{opened.folder} is an object that a model made, and there is no truth to compare it with; measure its mesh by "
            f"`nerf3d eval {opened.folder}/asset.glb --against {opened.folder}`, the model by `nerf3d gen eval`"
        )
    return _compared(opened)


def _compared(opened: Run) -> Evaluation:
    scene, step = load_scene(opened)
    test = held_out(opened)
    if len(test) == 0:
        raise InputError(
            f"{opened.config.source} has no photographs that were held out, so there is nothing to measure"
        )
    judged, reason = lpips_available()
    if not judged:
        say(f"without LPIPS: {reason}")
    views: list[View] = []
    pictures: list[Tensor] = []
    for index in tracked(range(len(test)), "eval", len(test)):
        rendered, truth = compare(scene, test, index)
        mask = None if test.masks is None else test.masks[index]
        if mask is not None and not bool(mask.any()):
            say(f"{test.names[index]} is left out: its mask covers all of it")
            continue
        if mask is not None:  # what is masked counts as right, and PSNR leaves it out altogether
            rendered = torch.where(mask[..., None], rendered, truth)
        perceived = lpips(rendered, truth) if judged else None
        views.append(View(test.names[index], psnr(rendered, truth, mask), ssim(rendered, truth), perceived))
        if len(pictures) < 2 * SHEET_VIEWS and index % max(len(test) // SHEET_VIEWS, 1) == 0:
            pictures += [color_picture(rendered), color_picture(truth)]
    if not views:
        raise InputError(f"the masks of {opened.config.source} cover all that was held out, so nothing can be measured")
    result = Evaluation(
        psnr=_mean([view.psnr for view in views]),
        ssim=_mean([view.ssim for view in views]),
        lpips=_mean([view.lpips for view in views if view.lpips is not None]) if judged else None,
        step=step,
        background=_color_name(scene.background),
        alpha="color * alpha + background * (1 - alpha)" if test.has_alpha else "none",
        color_space="the files' own sRGB values in [0, 1], not converted to linear light",
        lpips_network="vgg" if judged else None,
        views=tuple(views),
    )
    write_json(opened.folder / "metrics.json", asdict(result))
    write_picture(opened.media / "evaluation.png", contact_sheet(pictures, 4))
    return result


def table(result: Evaluation | Judgement | GeneratorEvaluation) -> str:
    """The evaluation for reading."""
    if isinstance(result, GeneratorEvaluation):
        return table_of_generator(result)
    if isinstance(result, Judgement):
        return table_of_judgement(result)
    width = max(len("mean"), *(len(view.name) for view in result.views))
    rows = [f"{'view':<{width}}   PSNR    SSIM   LPIPS"]
    for name, a, b, c in [
        *((v.name, v.psnr, v.ssim, v.lpips) for v in result.views),
        ("mean", result.psnr, result.ssim, result.lpips),
    ]:
        rows.append(f"{name:<{width}}  {a:5.2f}  {b:6.4f}  {'     -' if c is None else f'{c:6.4f}'}")
    rows.append(f"step {result.step}; background: {result.background}; colors: {result.color_space}")
    return "\n".join(rows)


def _color_name(color: Tensor) -> str:
    return {(1.0, 1.0, 1.0): "white", (0.0, 0.0, 0.0): "black"}.get(tuple(color.tolist()), str(color.tolist()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
