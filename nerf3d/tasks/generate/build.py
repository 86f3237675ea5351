"""Recipes of generation to what trains and to what is left: the one place that knows all of them."""

import torch
from torch import nn

from nerf3d.core import Box
from nerf3d.data.collections.about import About
from nerf3d.data.collections.collection import Collection
from nerf3d.tasks.generate.adversarial import AdversarialTask, Makers
from nerf3d.tasks.generate.autoencoder import AutoencoderTask, Objects
from nerf3d.tasks.generate.maker import GenerateTask
from nerf3d.tasks.generate.recipe import EG3D, DiffAE

Generate = EG3D | DiffAE


def task_of(recipe: Generate, collection: Collection, box: Box, rng: torch.Generator) -> GenerateTask:
    """What trains by a recipe. `box` holds all objects. Raises InputError where collection and recipe do not fit."""
    if isinstance(recipe, DiffAE):
        return AutoencoderTask(recipe, collection, box, rng)
    return AdversarialTask(recipe, collection, box, rng)


def resolution_of(recipe: Generate) -> int | None:
    """The side of the pictures that a recipe's networks read; None where any will do."""
    if isinstance(recipe, DiffAE):
        return recipe.model.encoder.resolution
    return recipe.critic.resolution


def maker_of(recipe: Generate, about: About, rng: torch.Generator) -> nn.Module:
    """A `Maker` as the recipe's training begins with, to be filled from a checkpoint."""
    if isinstance(recipe, DiffAE):
        return Objects(recipe, about.box, about.kinds, rng)
    return Makers(recipe, about.box, rng)
