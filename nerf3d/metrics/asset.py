"""How good a mesh is: how far from the true surface, and how well its texture is laid on it.

Surfaces are compared where they are: nothing is aligned (see `metrics.shape` for that).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.metrics.shape import on_surface

SAMPLES = 100_000
"""Points on each surface."""
NEAR = 0.01
"""Of the true bounding box' diagonal: what the F-score counts as found."""
POINTLESS = 1e-12
"""Of the whole area: faces with less are degenerate."""
MOST_TEXELS = 4096
"""Along a side: larger textures are looked at in this size."""


@dataclass(frozen=True)
class SurfaceError:
    """How far a surface is from the true one, in its unit.

    `chamfer` is half the sum of the mean distances from either surface to the other, `chamfer_share` the same as a share
    of the true bounding box' diagonal. `normal_consistency` is the mean |cos| between normals at nearest points, over both
    directions: 1 is perfect, and which side is outside does not matter. `f_score` is the harmonic mean of the shares of
    either surface that lie within `threshold` (1 % of the diagonal) of the other.

    Distances are between samples: `finest` is the mean distance between two samples of the true surface itself, so a
    Chamfer distance that is not larger says that there is no difference.
    """

    chamfer: float
    chamfer_share: float
    normal_consistency: float
    f_score: float
    threshold: float
    finest: float


def surface_error(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    true_vertices: Float[Tensor, "w 3"],
    true_faces: Int64[Tensor, "g 3"],
    rng: torch.Generator | None = None,
) -> SurfaceError:
    """A triangle mesh against the true one, both in one frame. Without `rng` the points are those of seed 0.

    Raises InputError for a mesh without area.
    """
    from scipy.spatial import cKDTree

    rng = torch.Generator().manual_seed(0) if rng is None else rng
    x, n = on_surface(vertices, faces, SAMPLES, rng)
    true_x, true_n = on_surface(true_vertices, true_faces, SAMPLES, rng)
    there, nearest = (torch.from_numpy(t) for t in cKDTree(true_x.numpy()).query(x.numpy()))
    back, true_nearest = (torch.from_numpy(t) for t in cKDTree(x.numpy()).query(true_x.numpy()))
    chamfer = 0.5 * float(there.mean() + back.mean())
    used = true_vertices.double()[true_faces].reshape(-1, 3)
    diagonal = float((used.amax(0) - used.amin(0)).norm())
    agree = [(n * true_n[nearest]).sum(1).abs().mean(), (true_n * n[true_nearest]).sum(1).abs().mean()]
    precision, recall = (float((d <= NEAR * diagonal).double().mean()) for d in (there, back))
    area = float(areas(true_vertices, true_faces).sum())
    return SurfaceError(
        chamfer=chamfer,
        chamfer_share=chamfer / diagonal,
        normal_consistency=0.5 * float(agree[0] + agree[1]),
        f_score=2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0,
        threshold=NEAR * diagonal,
        finest=0.5 * math.sqrt(area / SAMPLES),  # the mean distance to the next of points scattered on a plane
    )


def areas(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Float[Tensor, "f"]:
    """The triangles' areas, in double precision."""
    return 0.5 * _normals(vertices.double().cpu()[faces.cpu()]).norm(dim=-1)


def degenerate_faces(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> int:
    """How many triangles have less than 1e-12 of the whole area.

    >>> corner = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]])
    >>> degenerate_faces(corner, torch.tensor([[0, 1, 2], [0, 1, 3], [2, 2, 1]]))
    2
    """
    area = areas(vertices, faces)
    return int((area <= POINTLESS * area.sum()).sum())


def _normals(corners: Tensor) -> Tensor:
    return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


@dataclass(frozen=True)
class TextureHealth:
    """How a texture lies on a surface.

    `used` is the share of its texels that lie inside of triangles; `overlap` the share of those that lie inside of more
    than one, which therefore cannot be painted separately. Texture coordinates outside of [0, 1] are not looked at.
    `density` is in texels per unit of length, equal areas of the surface counting alike: the 5th percentile, the median
    and the 95th; None where the file has texture coordinates but no picture.
    """

    used: float
    overlap: float
    density: tuple[float, float, float] | None


def texture_health(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    uv: Float[Tensor, "v 2"],
    size: tuple[int, int] | None,
) -> TextureHealth:
    """Measure the atlas of a mesh whose texture has `size` (height, width); None: as if it had 1024 x 1024."""
    height, width = size or (1024, 1024)
    count = coverage(uv, faces, min(height, MOST_TEXELS), min(width, MOST_TEXELS))
    used = int((count > 0).sum())
    overlap = int((count > 1).sum()) / used if used else 0.0
    density = None if size is None else texel_density(vertices, faces, uv, height, width)
    return TextureHealth(used / count.numel(), overlap, density)


def coverage(uv: Float[Tensor, "v 2"], faces: Int64[Tensor, "f 3"], height: int, width: int) -> Int64[Tensor, "h w"]:
    """Inside of how many triangles the middle of each texel lies; row 0 is where v is 0. Borders are not inside.

    In each row a triangle covers a run of texels, whose begin and end are marked; the sum along the row counts.

    >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> coverage(corner, torch.tensor([[0, 1, 2]]), 3, 3).tolist()
    [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    corners = uv.double().cpu()[faces.cpu()] * torch.tensor([width, height], dtype=torch.float64) - 0.5
    low, high = corners[..., 1].amin(1), corners[..., 1].amax(1)
    hair = 1e-6  # of a texel: triangles with a common edge compute its place with different rounding
    bottom = (low + hair).ceil().clamp(0, height).long()
    top = (high - hair).floor().clamp(-1, height - 1).long()
    rows = (top - bottom + 1).clamp_min(0)
    which = torch.repeat_interleave(torch.arange(len(faces)), rows)
    y = bottom[which] + torch.arange(len(which)) - torch.repeat_interleave(rows.cumsum(0) - rows, rows)
    left = torch.full((len(which),), torch.inf, dtype=torch.float64)
    right = -left
    for k in range(3):
        p, q = corners[which, k], corners[which, (k + 1) % 3]
        rise = q[:, 1] - p[:, 1]
        share = (y - p[:, 1]) / torch.where(rise == 0, 1.0, rise)
        x = p[:, 0] + share * (q[:, 0] - p[:, 0])
        meets = (rise != 0) & (share >= 0) & (share <= 1)
        left = torch.where(meets, torch.minimum(left, x), left)
        right = torch.where(meets, torch.maximum(right, x), right)
    first = (left + hair).ceil().clamp(0, width)
    last = (right - hair).floor().clamp(-1, width - 1)
    some = first <= last
    marks = torch.zeros(height * (width + 1), dtype=torch.int64)
    for place, mark in ((first, 1), (last + 1, -1)):
        at = y[some] * (width + 1) + place[some].long()
        marks.index_add_(0, at, torch.full_like(at, mark))
    return marks.reshape(height, width + 1).cumsum(1)[:, :-1]


def texel_density(
    vertices: Float[Tensor, "v 3"],
    faces: Int64[Tensor, "f 3"],
    uv: Float[Tensor, "v 2"],
    height: int,
    width: int,
) -> tuple[float, float, float]:
    """sqrt(texels / area) over the surface: the 5th percentile, the median and the 95th, each face weighted by its area.

    >>> corner = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0]])
    >>> texel_density(corner, torch.tensor([[0, 1, 2]]), corner[:, :2] / 2, 100, 100)
    (50.0, 50.0, 50.0)
    """
    area = areas(vertices, faces)
    texels = areas(torch.nn.functional.pad(uv.double() * torch.tensor([width, height]), (0, 1)), faces)
    density, order = (texels / area.clamp_min(1e-300)).sqrt().sort()
    upto = area[order].cumsum(0)
    places = torch.searchsorted(upto, torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64) * upto[-1])
    low, middle, high = density[places.clamp_max(len(faces) - 1)].tolist()
    return low, middle, high
