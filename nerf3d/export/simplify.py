"""Fewer triangles for the same shape, and smoother ones."""

from dataclasses import replace

import numpy as np
import torch

from nerf3d.errors import InputError
from nerf3d.export.manifold import apart, without_fins
from nerf3d.export.surface import Surface

FEWEST = 4


def simplify(surface: Surface, faces: int) -> Surface:
    """At most about so many triangles, by quadric error (Garland & Heckbert 1997). A closed surface stays closed: sheets
    that collapse onto each other are taken away, and those that then touch get their own vertices.

    A surface that has no more than that is left alone. Raises InputError for fewer than four triangles.
    """
    import fast_simplification

    if faces < FEWEST:
        raise InputError(f"a mesh of {faces} triangles is no body; ask for {FEWEST} or more")
    if len(surface.faces) <= faces:
        return surface
    vertices, corners = fast_simplification.simplify(
        surface.vertices.numpy(), surface.faces.numpy().astype(np.int32), target_count=faces
    )
    kept = without_fins(torch.from_numpy(corners).long())
    if len(kept) == 0:
        raise InputError(f"nothing is left of the surface at {faces} triangles; ask for more")
    x, kept = apart(torch.from_numpy(vertices).float(), kept)
    return replace(surface, vertices=x, faces=kept)


def smooth(surface: Surface, rounds: int) -> Surface:
    """Taubin's filter (1995): every round moves the vertices half-way to their neighbours' mean and a little more back, so
    that bumps go and the volume stays.
    """
    corners = surface.faces
    edges = torch.cat([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    edges = torch.unique(torch.cat([edges, edges.flip(1)]), dim=0)
    count = torch.bincount(edges[:, 0], minlength=len(surface.vertices)).clamp_min(1).double()
    x = surface.vertices.double()
    for step in (0.5, -0.53) * rounds:
        mean = torch.zeros_like(x).index_add_(0, edges[:, 0], x[edges[:, 1]]) / count[:, None]
        x = x + step * (mean - x)
    return replace(surface, vertices=x.float())
