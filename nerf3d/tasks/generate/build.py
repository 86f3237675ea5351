"""Recipes of generation to what trains and to what is left: the one place that knows all of them."""

import torch
from torch import nn

from nerf3d.core import Box
from nerf3d.data.collections.about import About
from nerf3d.data.collections.collection import Collection
from nerf3d.models.picture_encoder import PictureEncoderConfig
from nerf3d.tasks.generate.adversarial import AdversarialTask
from nerf3d.tasks.generate.autoencoder import AutoencoderTask, Objects
from nerf3d.tasks.generate.maker import GenerateTask
from nerf3d.tasks.generate.makers import Makers
from nerf3d.tasks.generate.recipe import EG3D, GRAF, VQAR, DiffAE, PiGAN, SSDNeRF
from nerf3d.tasks.generate.ssdnerf import PlaneObjects, SSDNeRFTask
from nerf3d.tasks.generate.tokens import TokenObjects, TokenTask

Generate = EG3D | PiGAN | GRAF | DiffAE | SSDNeRF | VQAR


def task_of(recipe: Generate, collection: Collection, box: Box, rng: torch.Generator) -> GenerateTask:
    """What trains by a recipe. `box` holds all objects. Raises InputError where collection and recipe do not fit."""
    match recipe:
        case DiffAE():
            return AutoencoderTask(recipe, collection, box, rng)
        case SSDNeRF():
            return SSDNeRFTask(recipe, collection, box, rng)
        case VQAR():
            return TokenTask(recipe, collection, box, rng)
        case _:
            return AdversarialTask(recipe, collection, box, rng)


def maker_of(recipe: Generate, about: About, rng: torch.Generator) -> nn.Module:
    """A `Maker` as the recipe's training begins with, to be filled from a checkpoint."""
    match recipe:
        case DiffAE():
            return Objects(recipe, about.box, about.kinds, rng)
        case SSDNeRF():
            return PlaneObjects(recipe, about.box, about.kinds, rng)
        case VQAR():
            return TokenObjects(recipe, about.box, about.kinds, rng)
        case _:
            return Makers(recipe, about.box, rng, about.kinds)


def resolution_of(recipe: Generate) -> int | None:
    """The side of the pictures that a recipe's networks read; None where any will do."""
    match recipe:
        case DiffAE():
            return recipe.model.encoder.resolution
        case VQAR():
            return PictureEncoderConfig(recipe.model.encoder_channels).resolution
        case EG3D() | PiGAN():
            return recipe.critic.resolution
        case _:
            return None
