"""Where in the world a collection's objects are: the box around what their outlines leave room for."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.core import Box
from nerf3d.data.collections.collection import Collection

CELLS = 48
OBJECTS, VIEWS = 64, 10
"""Of larger collections so many objects, evenly chosen, and of each so many views at most are looked at."""
MARGIN = 0.03
"""Of the box's longest side, added all around: for the objects that were not looked at."""


def tight_box(collection: Collection) -> Box:
    """The box around all objects' visual hulls, inside of the collection's own box.

    Where pictures have no alpha, or outlines leave room for nothing (poses that are wrong), it is the collection's own.
    """
    box = collection.box
    if not collection.has_alpha:
        return box
    axis = (torch.arange(CELLS) + 0.5) / CELLS
    x = box.from_unit(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3))
    some = torch.linspace(0, collection.scenes - 1, min(OBJECTS, collection.scenes)).round().long().tolist()
    filled = torch.zeros(len(x), dtype=torch.bool)
    for scene in some:
        views = torch.nonzero(collection.scene == scene)[:VIEWS, 0]
        if len(views):
            filled |= _hull(collection[views], x)
    if not bool(filled.any()):
        return box
    inside, cell = x[filled], box.size / CELLS
    margin = 0.5 * cell + MARGIN * (inside.amax(0) - inside.amin(0)).amax()
    return Box(torch.maximum(inside.amin(0) - margin, box.low), torch.minimum(inside.amax(0) + margin, box.high))


def _hull(views: Collection, x: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
    """The points that are seen on the object, not beside it, in all of its pictures. What lies beyond a picture may be of
    the object where that is cut off by the picture's border.
    """
    cameras = views.cameras
    alpha = views.pictures[..., 3] > 0
    cut = alpha[:, 0].any(1) | alpha[:, -1].any(1) | alpha[:, :, 0].any(1) | alpha[:, :, -1].any(1)
    inside = torch.ones(len(x), dtype=torch.bool)
    for view in range(len(views)):
        pixel, z = cameras.project(torch.full((len(x),), view), x)
        column, row = pixel.floor().long().unbind(-1)
        shown = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height) & (z > 0)
        at = row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)
        inside &= torch.where(shown, alpha[view][at], cut[view])
    return inside
