"""The language of the house. The conventions, said once:

- **World**: right-handed, in the scene's own frame and units. Nothing inside the program moves or rescales it: a field
  takes world positions, a mesh leaves in world coordinates, `density` is in 1 / world unit.
- **Camera**: OpenCV axes, x right, y down, z forward. `world_from_camera` maps camera to world.
- **Pixels**: x to the right, y down, the centre of the first pixel at (0.5, 0.5). Pictures are `(height, width, channels)`.
- **Colour**: in [0, 1], in the file's own encoding (sRGB for photographs); nothing converts it to linear light.
- **Depth**: the distance along the ray, whose direction has unit length, not the z coordinate.
- **Samples**: packed, flat arrays over all intervals of all rays; see `core.samples`.
- **Chance**: `rng: torch.Generator | None`; None means no randomness at all (interval centres, no jitter).
"""

from nerf3d.core.cameras import Cameras as Cameras
from nerf3d.core.protocols import Field as Field
from nerf3d.core.protocols import Group as Group
from nerf3d.core.protocols import Guidance as Guidance
from nerf3d.core.protocols import Halving as Halving
from nerf3d.core.protocols import Sampler as Sampler
from nerf3d.core.protocols import Scene as Scene
from nerf3d.core.protocols import Tabular as Tabular
from nerf3d.core.protocols import Task as Task
from nerf3d.core.protocols import Tracking as Tracking
from nerf3d.core.protocols import Update as Update
from nerf3d.core.protocols import Weighed as Weighed
from nerf3d.core.radiance import Radiance as Radiance
from nerf3d.core.radiance import Rendering as Rendering
from nerf3d.core.rays import Rays as Rays
from nerf3d.core.samples import Samples as Samples
from nerf3d.core.spaces import Box as Box
