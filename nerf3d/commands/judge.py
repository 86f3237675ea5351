"""`nerf3d eval` for a run that was made of a prompt: whether it is what the prompt says, from all sides."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from nerf3d.assets import EVALUATOR
from nerf3d.commands.sides import VIEWS, as_clay, in_color
from nerf3d.data.mesh_file import read_mesh
from nerf3d.data.world.captions import Description, Relation, article, single_captions, understand
from nerf3d.data.world.distance import union
from nerf3d.data.world.model import shape
from nerf3d.data.world.nouns import named, nouns
from nerf3d.errors import InputError
from nerf3d.export.pictures import color_picture, contact_sheet, write_picture
from nerf3d.export.seen import seen_surface
from nerf3d.export.surface import Surface, largest_components
from nerf3d.files import write_json
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.mesh import MeshHealth, health
from nerf3d.metrics.retrieval import retrieve
from nerf3d.metrics.shape import compare, mesh_of
from nerf3d.metrics.views import view_consistency
from nerf3d.runs import Run
from nerf3d.scenes import load_scene

RESOLUTION = 96


@dataclass(frozen=True)
class Judgement:
    """How well a run fits its prompt. Ranks count from 1; None where a figure makes no sense for the prompt, all
    but the mesh's where the prompt is beyond the built-in world or the evaluator is not there.

    `rank_color` is the prompt's place among all captions of the built-in world when eight views in colour are looked at,
    `margin` by how much it is ahead of the best other one, `rank_textureless` its noun's place among all nouns when the
    same views show its surface as grey clay. `janus` is 0 for what has one front, 1 where front and back look alike. `iou`
    and `chamfer` compare with the true object.
    """

    prompt: str
    step: int
    mesh: MeshHealth
    rank_color: int | None = None
    taken_for: str | None = None
    right_views: float | None = None
    margin: float | None = None
    rank_textureless: int | None = None
    clay_taken_for: str | None = None
    janus: float | None = None
    iou: float | None = None
    chamfer: float | None = None


def judge(run: Run) -> Judgement:
    """Render eight views in colour and eight of clay, ask the evaluator, measure the mesh, and write metrics.json."""
    prompt = run.config.source
    scene, step = load_scene(run)
    known = understand(prompt)
    surface = largest_components(seen_surface(scene.field, scene.box, RESOLUTION), 0.01)
    colored, clay = in_color(scene), as_clay(surface)
    result = Judgement(prompt, step, mesh=_health(run, surface))
    if known is not None:
        meshes = (surface.vertices, surface.faces, *mesh_of(union(*shape(known))))
        truth = compare(*meshes)
        result = replace(result, iou=truth.silhouette_iou, chamfer=truth.chamfer)
        if known.second is None and named(known.first.noun).has_front:
            result = replace(result, janus=view_consistency(*meshes, truth).janus)
    if known is not None and EVALUATOR.is_dir():
        evaluator = Evaluator.open(EVALUATOR)
        color = retrieve(evaluator, colored, str(known), captions_beside(known))
        result = replace(
            result,
            rank_color=color.rank,
            taken_for=color.found,
            right_views=color.right_views,
            margin=color.margin,
        )
        if known.second is None:
            result = _shape_told(result, evaluator, known.first.noun, clay)
    write_json(run.folder / "metrics.json", asdict(result))
    pictures = [color_picture(p) for p in (*colored, *clay)]
    write_picture(run.media / "evaluation.png", contact_sheet(pictures, VIEWS))
    return result


def _health(run: Run, surface: Surface) -> MeshHealth:
    """Of the mesh that the run holds, in its world; of the surface that is judged where it holds none."""
    asset = run.folder / "asset.glb"
    if not asset.is_file():
        return health(surface.vertices, surface.faces)
    found = read_mesh(asset)
    return health(found.in_world.float(), found.faces)


def _shape_told(result: Judgement, evaluator: Evaluator, noun: str, clay: Tensor) -> Judgement:
    """What can be said of single objects only: whether their shape tells what they are."""
    bare = f"{article(noun)} {noun}"
    found = retrieve(evaluator, clay, bare, [f"{article(n.name)} {n.name}" for n in nouns()])
    return replace(result, rank_textureless=found.rank, clay_taken_for=found.found)


def captions_beside(known: Description) -> list[str]:
    """What a prompt is picked from: all captions of single objects; for two, also each way of mixing them up."""
    captions = [str(description) for description in single_captions()]
    if known.second is None or known.relation is None:
        return captions
    first, second, relation = known.first, known.second, known.relation
    other: Relation = "next to" if relation == "on top of" else "on top of"
    painted = (replace(first, color=second.color), replace(second, color=first.color))
    mixed = [Description(first, other, second), Description(painted[0], relation, painted[1])]
    if relation == "on top of":  # "next to" is the same seen from behind
        mixed += [Description(second, relation, first), Description(painted[1], relation, painted[0])]
    return captions + [str(m) for m in mixed]


def table(result: Judgement) -> str:
    """The judgement for reading."""
    rows = [f"prompt               {result.prompt}"]
    if result.rank_color is not None:
        rows.append(f"colour               place {result.rank_color}, taken for {result.taken_for!r}")
    else:
        why = "the evaluator knows the objects of the built-in world only" if EVALUATOR.is_dir() else f"no {EVALUATOR}"
        rows.append(f"colour               not judged: {why}")
    if result.rank_textureless is not None:
        rows.append(f"clay                 place {result.rank_textureless}, taken for {result.clay_taken_for!r}")
    if result.janus is not None:
        yes = "yes" if result.janus > 0.5 else "no"
        rows.append(f"second front         {yes} ({result.janus:.2f}; 0: one front, 1: front and back look alike)")
    if result.iou is not None and result.chamfer is not None:
        rows.append(f"true object          silhouettes overlap {result.iou:.2f}, chamfer distance {result.chamfer:.3f}")
    mesh = result.mesh
    closed = "watertight" if mesh.watertight else "not watertight"
    parts = "1 part" if mesh.components == 1 else f"{mesh.components} parts"
    rows.append(f"mesh                 {mesh.faces} triangles in {parts}, {closed}, volume {mesh.volume:.3f}")
    return "\n".join(rows)


def judged(folder: Path) -> Judgement:
    """The last judgement of a run, from its metrics.json. InputError where there is none."""
    try:
        data = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        corners = {side: tuple(data["mesh"][side]) for side in ("low", "high")}
        return Judgement(**(data | {"mesh": MeshHealth(**(data["mesh"] | corners))}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder} has no judgement that can be read ({error}); run nerf3d eval on it") from error
