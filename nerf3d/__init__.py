"""nerf3d: radiance fields from photographs, watched, measured and taken as a mesh."""

__version__ = "0.1.0"
