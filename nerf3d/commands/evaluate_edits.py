"""Whether edits by words do what they say: half of `nerf3d gen eval`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nerf3d.commands.edit_object import against
from nerf3d.console import tracked
from nerf3d.data.world.captions import COLORS, article, understand
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.retrieval import retrieve
from nerf3d.scenes import Model
from nerf3d.tasks.generate.editing import edit
from nerf3d.tasks.generate.looks import on_white, picture

OBJECTS, VIEWS = 10, 8
SOLID = 0.5


@dataclass(frozen=True)
class Edits:
    """`right` is the share of objects that the evaluator takes for what was asked, among the same thing in all colours;
    `outline` how far silhouettes overlap before and after (intersection over union), on average.
    """

    right: float
    outline: float


def evaluate_edits(model: Model, evaluator: Evaluator, rng: torch.Generator) -> Edits | None:
    """Ask drawn objects for another colour each. None where the model's kinds are not one thing of the built-in world."""
    things = {known.first.noun for known in map(understand, model.about.kinds) if known is not None}
    if len(things) != 1:
        return None
    noun = things.pop()
    captions = [f"{article(color)} {color} {noun}" for color in COLORS]
    cameras = model.about.views(VIEWS)
    right, outlines = 0, []

    def seen(code: Tensor) -> Tensor:
        field = model.makes.fields(code[None])[0]
        with torch.no_grad():
            return torch.stack([picture(field, cameras, i, model.makes.sampler) for i in range(len(cameras))])

    for index in tracked(range(OBJECTS), "edits", OBJECTS):
        code = model.makes.draw(1, rng)[0]
        before = seen(code)
        was = retrieve(evaluator, on_white(before), captions[0], captions).found
        wanted = [caption for caption in captions if caption != was][index % (len(captions) - 1)]
        change = edit(model.makes, code[None], against(evaluator, wanted), cameras, rng)[0]
        after = seen(code + change)
        right += retrieve(evaluator, on_white(after), wanted, captions).rank == 1
        one, other = before[..., 3] > SOLID, after[..., 3] > SOLID
        outlines.append(float((one & other).sum() / (one | other).sum().clamp_min(1)))
    return Edits(right / OBJECTS, sum(outlines) / OBJECTS)
