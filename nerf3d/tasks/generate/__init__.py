"""Generation: a collection of posed pictures of many objects supervises a model that makes fields of codes."""

from nerf3d.tasks.generate.recipe import EG3D as EG3D
from nerf3d.tasks.generate.recipe import DiffAE as DiffAE
