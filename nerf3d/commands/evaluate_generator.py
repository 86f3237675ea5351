"""`nerf3d gen eval`: how like the collection's held-out objects a generative model's objects are, and how different from
each other.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.commands.evaluate_edits import evaluate_edits
from nerf3d.commands.evaluate_inception import inception_figures
from nerf3d.commands.evaluate_inversions import evaluate_inversions
from nerf3d.commands.evaluate_tokens import evaluate_tokens
from nerf3d.commands.generator_figures import GeneratorEvaluation
from nerf3d.commands.turntable import circle
from nerf3d.console import say, tracked
from nerf3d.core import Cameras
from nerf3d.data.collections.collection import Collection
from nerf3d.data.collections.load import load_collection
from nerf3d.data.collections.world import COLOR, object_of, picture_of, truth_of
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.files import write_json
from nerf3d.metrics import sets
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.consistency import Reprojection, reprojection_error
from nerf3d.render.picture import render_picture
from nerf3d.runs import open_run
from nerf3d.scenes import Model, load_model, untrained
from nerf3d.tasks.generate import Maker
from nerf3d.tasks.generate.looks import on_white, picture, premultiplied

MOST_OBJECTS, UNTRAINED, COMPARED = 500, 200, 100
"""Drawn objects that are compared with as many real ones; of the model before training; seen from one side."""
TOGETHER = 50
SOLID = 0.5
PAIRS, LARGE = 12, 64
"""Objects whose views are held against each other, and the side of those views."""
SHEET = 32


def evaluate_generator(run: Path | str, seed: int = 0, inception: Path | str | None = None) -> GeneratorEvaluation:
    """Measure a generative model against the pictures of its collection and the objects that it did not learn from; write
    metrics.json and media/drawn.png. `inception` is a file with Inception's weights, for figures as in the literature.

    Raises InputError where the collection is not where it was, and for weights that are not Inception's.
    """
    model = load_model(open_run(Path(run)))
    collection = load_collection(Path(model.run.config.source), model.about.cameras.width)
    held_out = collection.split()[1]
    rng = torch.Generator().manual_seed(seed)
    one_each = _one_each(collection, rng)[: 2 * MOST_OBJECTS]
    half = len(one_each) // 2
    real, other = (
        on_white_pictures(collection, one_each[:half]),
        on_white_pictures(collection, one_each[half : 2 * half]),
    )
    cameras = collection.cameras[one_each[:half]]
    drawn = _drawn(model.makes, cameras, rng, "drawn objects")
    first = _drawn(untrained(model).makes, cameras[:UNTRAINED], rng, "before training")
    published = None if inception is None else inception_figures(Path(inception), on_white(drawn), real, other)
    evaluator = Evaluator.open(EVALUATOR)
    seen, truth, truth2 = (evaluator.see(p) for p in (on_white(drawn), real, other))
    overlap = sets.precision_recall(truth2, seen)
    spread = _diversity(model, collection, drawn, one_each[:half], rng)
    again = _reprojections(model, held_out, rng)
    inversions = evaluate_inversions(model, held_out, rng)
    edits = evaluate_edits(model, evaluator, rng)
    tokens = evaluate_tokens(model, collection, held_out, rng)
    result = GeneratorEvaluation(
        step=model.step,
        features=f"{EVALUATOR.name} ({truth.shape[1]} numbers, the program's own)",
        objects=len(drawn),
        distance=sets.frechet_distance(seen, truth2),
        floor=sets.frechet_distance(truth, truth2),
        distance_untrained=sets.frechet_distance(evaluator.see(on_white(first)), truth2),
        kernel=sets.kernel_distance(seen, truth2),
        kernel_floor=sets.kernel_distance(truth, truth2),
        precision=overlap.precision,
        recall=overlap.recall,
        diversity_color=spread.color,
        diversity_silhouette=spread.silhouette,
        empty=int((drawn[..., 3].amax((1, 2)) < SOLID).sum()),
        probe=_probe(model.makes, collection, one_each),
        reprojection=again.made.color_error,
        reprojection_share=again.made.share,
        reprojection_real=None if again.real is None else again.real.color_error,
        psnr_input=inversions.input,
        psnr_unseen=inversions.unseen,
        depth_error=inversions.depth,
        pose_error_degrees=inversions.pose,
        seconds_per_inversion=inversions.seconds,
        edits_right=None if edits is None else edits.right,
        edits_outline=None if edits is None else edits.outline,
        tokens_used=None if tokens is None else tokens.used,
        completion_lost=None if tokens is None else tokens.lost,
        inception=published,
    )
    write_json(model.run.folder / "metrics.json", asdict(result))
    true = list(real[: SHEET // 2])
    shown = [color_picture(p) for p in (*true, *on_white(drawn)[:SHEET])]
    write_picture(model.run.media / "drawn.png", contact_sheet(shown, len(true)))
    say(f"in {model.run.folder}: metrics.json, and media/drawn.png with real objects above drawn ones")
    return result


def on_white_pictures(collection: Collection, which: Int64[Tensor, "n"]) -> Float[Tensor, "n h w 3"]:
    return on_white(premultiplied(collection.pictures[which].float() / 255))


def _one_each(collection: Collection, rng: torch.Generator) -> Int64[Tensor, "n"]:
    """One picture of each object, in random order."""
    order = torch.randperm(len(collection), generator=rng)
    scene = collection.scene[order]
    first = torch.full((collection.scenes,), len(order)).scatter_reduce(0, scene, torch.arange(len(order)), "amin")
    kept = order[first[first < len(order)]]
    return kept[torch.randperm(len(kept), generator=rng)]


def _drawn(maker: Maker, cameras: Cameras, rng: torch.Generator, title: str) -> Float[Tensor, "n h w 4"]:
    """One object for every camera, as that sees it."""
    pictures = []
    with torch.no_grad():
        for i in tracked(range(len(cameras)), title, len(cameras)):
            if i % TOGETHER == 0:
                codes = maker.draw(min(TOGETHER, len(cameras) - i), rng)
            field = maker.fields(codes[i % TOGETHER : i % TOGETHER + 1])[0]
            pictures.append(picture(field, cameras, i, maker.sampler))
    return torch.stack(pictures)


def _diversity(
    model: Model, collection: Collection, drawn: Tensor, shown: Tensor, rng: torch.Generator
) -> sets.Diversity:
    """From one camera where the collection's objects are known, so that objects alone differ; else from many."""
    real = premultiplied(collection.pictures[shown].float() / 255)
    if known(collection):
        camera = collection.cameras[shown[:1]]
        some = torch.randperm(collection.scenes, generator=rng)[:COMPARED].tolist()
        real = torch.cat([premultiplied(picture_of(object_of(collection, i), camera).float() / 255) for i in some])
        drawn = _drawn(model.makes, camera[torch.zeros(COMPARED, dtype=torch.int64)], rng, "from one side")
    drawn = drawn[drawn[..., 3].amax((1, 2)) >= SOLID]
    if len(drawn) < 2:
        return sets.Diversity(0.0, 0.0)
    both = [(on_white(p), p[..., 3] >= SOLID) for p in (drawn, real)]
    return sets.diversity(*both[0], *both[1])


def known(collection: Collection) -> bool:
    """Whether it is one of the built-in world, whose objects can be drawn anew."""
    try:
        object_of(collection, 0)
    except InputError:
        return False
    return True


def _probe(maker: Maker, collection: Collection, pictures: Int64[Tensor, "n"]) -> float | None:
    """How well the body's colour can be read in the codes of pictures."""
    if not set(COLOR) <= set(collection.attributes.names):
        return None
    with torch.no_grad():
        seen = premultiplied(collection.pictures[pictures].float() / 255)
        codes = torch.cat([maker.read(part).flatten(1) for part in seen.split(100)])
    if float((codes - codes[0]).abs().max()) == 0:
        return None
    return sets.linear_probe(codes, collection.attributes.columns(*COLOR)[collection.scene[pictures]], strength=1e-2)


@dataclass(frozen=True)
class _Reprojections:
    made: Reprojection
    real: Reprojection | None


def _reprojections(model: Model, held_out: Collection, rng: torch.Generator) -> _Reprojections:
    """Of views 30 degrees apart, of drawn objects and of true ones."""
    codes = model.makes.draw(PAIRS, rng)
    made, real = [], []
    for i in tracked(range(PAIRS), "views", PAIRS):
        scene = model.scene(model.makes.fields(codes[i : i + 1])[0])
        around = circle(scene, 12, LARGE)
        both = [render_picture(scene, around, view) for view in (i % 12, (i + 1) % 12)]
        colors, depths = [p.color for p in both], [torch.where(p.opacity > SOLID, p.depth, 0.0) for p in both]
        if bool((depths[0] > 0).any()):
            made.append(reprojection_error(colors[0], depths[0], colors[1], depths[1], around, i % 12, (i + 1) % 12))
        if known(held_out):
            thing = object_of(held_out, i % held_out.scenes)
            pair = around[torch.tensor([i % 12, (i + 1) % 12])]
            seen = on_white(premultiplied(picture_of(thing, pair).float() / 255))
            true = [truth_of(thing, pair, view).depth for view in (0, 1)]
            real.append(reprojection_error(seen[0], true[0], seen[1], true[1], pair, 0, 1))
    return _Reprojections(_mean(made), _mean(real) if real else None)


def _mean(each: list[Reprojection]) -> Reprojection:
    errors = [e.color_error for e in each if e.color_error is not None]
    share = sum(e.share for e in each) / max(len(each), 1)
    return Reprojection(sum(errors) / len(errors) if errors else None, share)
