"""Imported before diffusers and transformers, so that they find a torchvision that works, or none."""

from nerf3d.guidance.libraries import prepare

prepare()
