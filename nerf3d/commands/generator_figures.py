"""What `nerf3d gen eval` says of a generative model: its figures, and each in words."""

from dataclasses import asdict, dataclass

from nerf3d.commands.evaluate_inception import InceptionFigures
from nerf3d.commands.explained import explained


@dataclass(frozen=True)
class GeneratorEvaluation:
    """Frechet distances are squared, in the space of `features`. `floor`, `kernel_floor`, `reprojection_real`: the same
    of the collection's own pictures. None for what a model or its collection does not have.

    `psnr_input` ... `seconds_per_inversion` are those of held-out objects that were inverted from one picture (see
    `evaluate_inversions`), `edits_right` and `edits_outline` of objects that were asked for another colour (see
    `evaluate_edits`), `tokens_used` and `completion_lost` of models of tokens (see `evaluate_tokens`).
    """

    step: int
    features: str
    objects: int
    distance: float
    floor: float
    distance_untrained: float
    kernel: float
    kernel_floor: float
    precision: float
    recall: float
    diversity_color: float
    diversity_silhouette: float
    empty: int
    probe: float | None
    reprojection: float | None
    reprojection_share: float
    reprojection_real: float | None
    psnr_input: float
    psnr_unseen: float
    depth_error: float | None
    pose_error_degrees: float
    seconds_per_inversion: float
    edits_right: float | None
    edits_outline: float | None
    tokens_used: float | None
    completion_lost: float | None
    inception: InceptionFigures | None


IN_WORDS = {
    "distance": "how far drawn pictures are from the collection's (Frechet); less is better, and depends on `objects`",
    "floor": "two halves of the collection from each other: about the best there is",
    "distance_untrained": "the model before its training",
    "kernel": "the distance by another measure (KID), which depends less on how many there are",
    "kernel_floor": "two halves of the collection from each other",
    "precision": "share of drawn pictures that lie among the collection's; 1 is best",
    "recall": "share of the collection's that lie among drawn ones; 1 is best",
    "diversity_color": "how different drawn objects' colours are, by how different real ones are; 1 is right",
    "diversity_silhouette": "the same of their outlines",
    "probe": "R^2, how well a straight line reads the body's colour in a picture's code; 1 is best",
    "reprojection": "colour error where one view of a drawn object is found again in another; 0 is best",
    "reprojection_share": "share of a view that is found again",
    "reprojection_real": "the colour error of the collection's true objects",
    "psnr_input": "dB, a held-out object found again from one picture: that picture; more is better",
    "psnr_unseen": "dB, the same object from other sides",
    "depth_error": "how far off its depth is, as a share of the box",
    "pose_error_degrees": "degrees by which a camera that was not told is off (median)",
    "seconds_per_inversion": "seconds that finding one took",
    "edits_right": "share of objects, asked for another colour, that the critic who led them takes for it",
    "edits_outline": "how far their outlines overlap before and after; 1 is best",
    "tokens_used": "share of the codebook that is used",
    "completion_lost": "dB that the given half loses where the other is drawn anew",
    "objects": "drawn objects, and as many pictures of the collection, that are compared",
    "empty": "of them that show nothing",
    "step": "steps of training",
}


def table(result: GeneratorEvaluation) -> str:
    """The figures for reading, each with what it means."""
    said = asdict(result)
    found = {name: said[name] for name in IN_WORDS}
    rows = [(name, number(value), IN_WORDS[name]) for name, value in found.items() if value is not None]
    if (scores := result.inception) is not None:
        rows.append(("FID", number(scores.fid), "the distance in Inception's features"))
        rows.append(("FID floor", number(scores.floor), "two halves of the collection from each other"))
        rows.append(("KID", number(scores.kid), "the kernel distance there"))
        rows.append(("IS", number(scores.score), "Inception's score; more is better"))
    lines = explained(rows)
    lines.append(f"Distances, kernels, precision and recall: in the space of {result.features}.")
    missing = [name for name, value in found.items() if value is None]
    if missing:
        lines.append(f"Not there for this model or collection: {', '.join(missing)}.")
    return "\n".join(lines)


def number(value: float | int) -> str:
    """Three digits that mean something, or a whole number.

    >>> [number(v) for v in (0.004123, 1.5961, 28.24, 500)]
    ['0.00412', '1.60', '28.2', '500']
    """
    return f"{value:.0f}" if isinstance(value, int) or abs(value) >= 99.95 else f"{value:#.3g}"
