"""`nerf3d eval` for a run that was made of a prompt: whether it is what the prompt says, from all sides."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.core import Scene
from nerf3d.core.paths import standing
from nerf3d.data.world.captions import Description, Relation, article, single_captions, understand
from nerf3d.data.world.distance import union
from nerf3d.data.world.model import shape
from nerf3d.data.world.nouns import named, nouns
from nerf3d.errors import InputError
from nerf3d.export.files import whole_file
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.export.surface import extract_surface, largest_components
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.mesh import MeshHealth, health
from nerf3d.metrics.retrieval import retrieve
from nerf3d.metrics.shape import compare, mesh_of
from nerf3d.metrics.views import view_consistency
from nerf3d.render.picture import render_picture
from nerf3d.render.shading import Lit
from nerf3d.runs import Run, load_scene

VIEWS, SIZE = 8, 64
ELEVATION = 20.0
RESOLUTION = 96
GREY = 0.85
BEHIND = 0.5
"""The grey behind both kinds of pictures: neither white nor black objects disappear before it."""


@dataclass(frozen=True)
class Judgement:
    """How well a run fits its prompt. Ranks count from 1; None where a figure makes no sense for the prompt.

    `rank_color` is the prompt's place among all captions of the built-in world when eight views in colour are looked at,
    `rank_textureless` that of its noun among all nouns when the same views show grey clay. `janus` is the share of the
    views from behind that are taken for a front. `iou` and `chamfer` compare with the true object.
    """

    prompt: str
    step: int
    rank_color: int
    taken_for: str
    right_views: float
    rank_textureless: int | None
    clay_taken_for: str | None
    janus: float | None
    iou: float | None
    chamfer: float | None
    mesh: MeshHealth


def judge(run: Run) -> Judgement:
    """Render eight views in colour and eight of clay, ask the evaluator, measure the mesh, and write metrics.json."""
    prompt = run.config.source
    scene, step = load_scene(run)
    evaluator = Evaluator.open(EVALUATOR)
    known = understand(prompt)
    colored, clay = views_of(scene), views_of(_as_clay(scene))
    color = retrieve(evaluator, colored, prompt if known is None else str(known), captions_beside(known))
    names = [f"{article(noun.name)} {noun.name}" for noun in nouns()]
    single = known is not None and known.second is None
    noun = known.first.noun if known is not None else ""
    textureless = retrieve(evaluator, clay, f"{article(noun)} {noun}", names) if single else None
    azimuth = [360 / VIEWS * i for i in range(VIEWS)]
    front = single and named(noun).has_front
    janus = view_consistency(evaluator, colored, azimuth, f"{article(noun)} {noun}").janus if front else None
    surface = largest_components(extract_surface(scene.field.density, scene.box, RESOLUTION), 0.01)
    truth = compare(surface.vertices, surface.faces, *mesh_of(union(*shape(known)))) if known is not None else None
    result = Judgement(
        prompt,
        step,
        color.rank,
        color.found,
        color.right_views,
        textureless.rank if textureless is not None else None,
        textureless.found if textureless is not None else None,
        janus,
        truth.silhouette_iou if truth is not None else None,
        truth.chamfer if truth is not None else None,
        health(surface.vertices, surface.faces),
    )
    with whole_file(run.folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(asdict(result), indent=2), encoding="utf-8")
    pictures = [color_picture(p) for p in (*colored, *clay)]
    write_picture(run.media / "evaluation.png", contact_sheet(pictures, VIEWS))
    return result


def captions_beside(known: Description | None) -> list[str]:
    """What a prompt is picked from: all captions of single objects; for two, also each way of mixing them up."""
    captions = [str(description) for description in single_captions()]
    if known is None or known.second is None or known.relation is None:
        return captions
    first, second, relation = known.first, known.second, known.relation
    other: Relation = "next to" if relation == "on top of" else "on top of"
    painted = (replace(first, color=second.color), replace(second, color=first.color))
    mixed = [Description(first, other, second), Description(painted[0], relation, painted[1])]
    if relation == "on top of":  # "next to" is the same seen from behind
        mixed += [Description(second, relation, first), Description(painted[1], relation, painted[0])]
    return captions + [str(m) for m in mixed]


@torch.no_grad()
def views_of(scene: Scene) -> Tensor:
    """Eight sides (8 64 64 3), the first one the front, before grey."""
    azimuth = torch.arange(VIEWS) * (360 / VIEWS)
    each = torch.ones(VIEWS)
    cameras = standing(azimuth, ELEVATION * each, 2.9 * each, 40 * each, 2 * SIZE)
    grey = replace(scene, background=torch.full((3,), BEHIND))
    found = torch.stack([render_picture(grey, cameras, i).color.clamp(0, 1) for i in range(VIEWS)])
    return torch.nn.functional.avg_pool2d(found.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _as_clay(scene: Scene) -> Scene:
    above = torch.tensor([0.0, 0.0, 0.5])
    return replace(scene, field=Lit(scene.field, above, 0.35, 0.025, GREY))


def table(result: Judgement) -> str:
    """The judgement for reading."""
    rows = [
        f"prompt               {result.prompt}",
        f"colour               place {result.rank_color}, taken for {result.taken_for!r}",
    ]
    if result.rank_textureless is not None:
        rows.append(f"clay                 place {result.rank_textureless}, taken for {result.clay_taken_for!r}")
    if result.janus is not None:
        rows.append(f"second front         in {100 * result.janus:.0f} % of the views from behind")
    if result.iou is not None and result.chamfer is not None:
        rows.append(f"true object          silhouettes overlap {result.iou:.2f}, chamfer distance {result.chamfer:.3f}")
    mesh = result.mesh
    closed = "watertight" if mesh.watertight else "not watertight"
    rows.append(
        f"mesh                 {mesh.faces} triangles in {mesh.components} parts, {closed}, volume {mesh.volume:.3f}"
    )
    return "\n".join(rows)


def judged(folder: Path) -> Judgement:
    """The last judgement of a run, from its metrics.json. InputError where there is none."""
    try:
        data = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return Judgement(**(data | {"mesh": MeshHealth(**data["mesh"])}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder} has no judgement that can be read ({error}); run nerf3d eval on it") from error
