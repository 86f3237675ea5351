"""Reconstruction: posed photographs supervise a field."""

from nerf3d.tasks.fit.recipe import Fit as Fit
from nerf3d.tasks.fit.task import FitTask as FitTask
