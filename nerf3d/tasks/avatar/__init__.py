"""Talking heads: a portrait film with its sound supervises a head that any sound can move."""

from nerf3d.tasks.avatar.recipe import Avatar as Avatar
from nerf3d.tasks.avatar.task import AvatarTask as AvatarTask
