"""Generation: a collection of posed pictures of many objects supervises a model that makes fields of codes."""

from nerf3d.tasks.generate.recipe import DiffAE as DiffAE
