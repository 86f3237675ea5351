"""The 68 landmarks of iBUG's 300-W (Sagonas et al., 2013), in which other talking heads' tools keep faces.

0 to 16 go along the jaw from the person's right ear to the left, 17 to 26 are the brows, 27 to 30 the ridge of the nose and
31 to 35 its base, 36 to 47 the eyes, 48 to 59 the outer lips, 60 to 67 the inner ones. Each is a point of MediaPipe's mesh;
along the jaw and the ridge of the nose, points that divide it about evenly.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.portrait.landmarks import NOSE_BRIDGE, POINTS

COUNT = 68
MESH = (
    *(127, 234, 132, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(NOSE_BRIDGE, 197, 5, 1, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
"""Which point of the mesh each of the 68 is."""
BETWEEN = {
    **{185: (48, 49), 39: (49, 50), 269: (52, 53), 409: (53, 54), 375: (54, 55), 405: (55, 56), 181: (58, 59)},
    **{146: (59, 48), 159: (37, 38), 145: (40, 41), 386: (43, 44), 374: (46, 47)},
}
"""Points of the lips' rim and of the eyelids that the 68 do not have, and the two of them that they lie between."""
_BRIDGE = MESH.index(NOSE_BRIDGE)


def ibug_of(mesh: Float[Tensor, "n 478 3"]) -> Float[Tensor, "n 68 2"]:
    """The 68 landmarks of some faces, in pixels."""
    return mesh[:, list(MESH), :2]


def mesh_of(points: Float[Tensor, "n 68 2"]) -> Float[Tensor, "n 478 3"]:
    """As much of the mesh as the 68 landmarks tell, z 0: enough for the boxes, the mouth and the eyes.

    All points that they say nothing of are put on the bridge of the nose, inside of every box around the face.
    """
    ends = torch.full((POINTS, 2), _BRIDGE)
    for place, index in enumerate(MESH):
        ends[index] = place
    for index, pair in BETWEEN.items():
        ends[index] = torch.tensor(pair)
    flat = points[:, ends].mean(2)
    return torch.cat([flat, torch.zeros_like(flat[..., :1])], -1)
