"""A mesh and its colours, made to look more like what it was made from: the second stage of Magic3D and nerf2mesh.

The field that the mesh came from could explain photographs by fog, and by colours that change with the direction; a mesh
with one colour at each place cannot. So vertices and colours are optimised again as what they are, through pictures of the
mesh itself (`export.draw`). Who judges the pictures is a callable: photographs (`export.photographs`), or anything else that
has a loss. Vertices take the steps of `export.large_steps`; a colour is a running mean of what it should be.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.core import Cameras
from nerf3d.core.schedules import Decay
from nerf3d.export.draw import Paint, draw
from nerf3d.export.large_steps import Cuts, LargeSteps, mean_edge, untangled
from nerf3d.kernels.contours import edges_of

RATE = Decay(0.1, 0.005)
"""Of the mean edge's length: about the most that a vertex moves in a step."""
OVERSAMPLING = 2
BASELINE, MOST = 2.0, 40.0
"""How often a colour counts as seen before the first pictures, and at most; once is as often as on average in a step."""

Progress = Callable[[int, int], None]


@runtime_checkable
class Judge(Protocol):
    """Says from where a mesh is looked at, and how far its pictures are from what they should be."""

    def views(self, rng: torch.Generator) -> Cameras:
        """The cameras of the next step."""
        ...

    def __call__(self, pictures: Float[Tensor, "b h w 4"], progress: float) -> Float[Tensor, ""]:
        """The loss of pictures by those cameras: colours over black (premultiplied) and opacity. Its gradient is the
        pictures' error: half the sum of squared errors, or what is as large as that.
        """
        ...


@dataclass(frozen=True)
class Painted:
    """A mesh with its colours."""

    vertices: Float[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    paint: Paint


Refiner = Callable[[Painted], Painted]


def refine(
    mesh: Painted,
    judge: Judge,
    seconds: float,
    cuts: Cuts,
    rng: torch.Generator,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Painted:
    """The same faces with vertices and colours that the judge likes better, after about so many seconds, or so many steps
    if they are taken sooner.

    Faces that would be turned over, or cut others and did not before, stay behind, see `untangled`.
    """
    edges = edges_of(mesh.faces)
    vertices, colors = LargeSteps(mesh.vertices, edges), _Colors(mesh.paint.color)
    rate = mean_edge(mesh.vertices, edges)
    begin, taken, done = time.perf_counter(), 0, 0.0
    while done < 1:
        x, color = vertices.x.clone().requires_grad_(), colors.value.clone().requires_grad_()
        paint = replace(mesh.paint, color=color)
        cameras = judge.views(rng)
        across, down = (torch.rand(2, generator=rng) - 0.5).tolist()
        pictures = torch.stack(
            [draw(x, mesh.faces, edges, paint, cameras, i, OVERSAMPLING, (across, down)) for i in range(len(cameras))]
        )
        (seen,) = torch.autograd.grad(pictures[..., :3].sum(), color, retain_graph=True)
        gradient, error = torch.autograd.grad(judge(pictures, done), (x, color))
        vertices.step(gradient, RATE(done) * rate)
        colors.step(error, seen)
        taken += 1
        done = max((time.perf_counter() - begin) / seconds, 0.0 if steps is None else taken / steps)
        if progress is not None:
            progress(min(round(1000 * done), 1000), 1000)
    back = untangled(mesh.vertices, vertices.x, mesh.faces, cuts)
    return Painted(back, mesh.faces, replace(mesh.paint, color=colors.value))


class _Colors:
    """Each colour is a running mean of what the pictures say that it should be, over about the last 40 steps that show it.

    With pictures that are linear in the colours, p = A c, that is the simultaneous iterative reconstruction technique
    (Gilbert 1972): c moves by A^T (target - p) / A^T 1, a mean of errors. What no picture shows stays as it is.
    """

    def __init__(self, value: Float[Tensor, "*n 3"]) -> None:
        self.value = value.clone()
        self._times = torch.full_like(value, BASELINE)

    @torch.no_grad()
    def step(self, error: Float[Tensor, "*n 3"], seen: Float[Tensor, "*n 3"]) -> None:
        """`error` is A^T (p - target), `seen` A^T 1."""
        once = seen.sum() / (seen > 0).sum().clamp_min(1)
        self._times = (self._times + seen / once).clamp_max(MOST)
        self.value = (self.value - error / (once * self._times)).clamp(0, 1)
