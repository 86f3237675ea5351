"""Text-to-3D: a pretrained text-to-image model judges random views of a field."""

from nerf3d.tasks.text.recipe import Text as Text
from nerf3d.tasks.text.task import TextTask as TextTask
