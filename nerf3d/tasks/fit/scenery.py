"""From a recipe and a capture to the space, field and sampler of a run."""

from dataclasses import replace

import torch
from torch import nn

from nerf3d.core import Box, Sampler
from nerf3d.core.paths import focus_point
from nerf3d.core.spaces import Contracted, Space
from nerf3d.data.capture import Capture
from nerf3d.errors import InputError
from nerf3d.fields.hash_grid import HashGrid
from nerf3d.kernels.hash_grid import GridLayout
from nerf3d.render.edges import Spacing
from nerf3d.render.hierarchical import Hierarchical
from nerf3d.render.occupancy import Occupancy
from nerf3d.tasks.fit.recipe import CoarseToFine, Fit

SAME_WAY = 0.95
"""Length of the cameras' mean direction above which they count as looking the same way (within some 18 degrees)."""


def space_of(recipe: Fit, capture: Capture) -> Space:
    """Where the field lives: the object's box, or everything around what the cameras look at."""
    if recipe.space == "box" or (recipe.space == "auto" and capture.box is not None):
        return capture.box if capture.box is not None else focus_box(capture, recipe.focus)
    return Contracted(capture.box if capture.box is not None else focus_box(capture, recipe.focus))


def focus_box(capture: Capture, size: float) -> Box:
    """A cube around the point that the cameras look at; `size` 1 makes it reach to the median camera.

    Cameras that all look the same way meet nowhere; then it lies around the points that structure from motion found.
    """
    cameras = capture.train.cameras
    middle = focus_point(cameras)
    if capture.points is not None and len(capture.points) and float(cameras.forward.mean(0).norm()) > SAME_WAY:
        middle = capture.points.median(0).values
    half = size * float((cameras.center - middle).norm(dim=-1).median())
    if half <= 0:
        raise InputError(
            "all cameras stand at the same point, so there is no depth to be seen; move between photographs"
        )
    return Box(middle - half, middle + half)


def build_sampler(recipe: Fit, space: Space, rng: torch.Generator) -> tuple[Sampler, nn.Module]:
    """The sampler, and a module with what it has to keep: an occupancy grid, or fields that are trained along."""
    config = recipe.sampler
    if isinstance(config, Occupancy):
        if isinstance(space, Contracted) and config.growth == 0:  # or steps of one length would go on to the horizon
            config = replace(config, growth=0.01)
        sampler = config.build(space)
        return sampler, sampler
    box = space if isinstance(space, Box) else space.focus
    half = 0.5 * float(box.size.max())
    if isinstance(config, CoarseToFine):
        coarse = recipe.field.build(space, rng)
        counts = (config.coarse_count, config.fine_count)
        near, far = config.near * half, config.far * half
        spacing: Spacing = "piecewise" if isinstance(space, Contracted) else "linear"
        return Hierarchical(coarse, space, *counts, near=near, far=far, spacing=spacing), coarse
    fields = [_proposal_field(finest, config.log2_table_size).build(space, rng) for finest in config.finest]
    return config.sampling.build(space, tuple(fields)), nn.ModuleList(fields)


def _proposal_field(finest: int, log2_table_size: int) -> HashGrid:
    layout = GridLayout(5, 2, log2_table_size, 16, finest)
    return HashGrid(layout, width=16, density_layers=1, color_layers=0, geometry_features=1)
