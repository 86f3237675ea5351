"""A film to check a preparation by: the frames with landmarks and boxes drawn in, and the sound."""

from itertools import product

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nerf3d.data.portrait.landmarks import INNER_LIPS, JAW, LEFT_EYE, OUTER_LIPS, RIGHT_EYE

MESH, FEATURES = (90, 200, 250), (255, 60, 120)
FACE_BOX, LIPS_BOX = (255, 210, 0), (255, 255, 255)
DRAWN = (*RIGHT_EYE, *LEFT_EYE, *OUTER_LIPS, *INNER_LIPS, *JAW)


def drawn(
    frame: UInt8[Tensor, "h w 3"],
    points: Float[Tensor, "478 3"],
    face: Int64[Tensor, "4"],
    lips: Int64[Tensor, "4"],
) -> UInt8[Tensor, "h w 3"]:
    """The frame with the landmarks (eyes, lips and jaw in another colour) and the two boxes."""
    picture = frame.clone()
    height, width = picture.shape[:2]
    for which, color, reach in ((range(len(points)), MESH, 1), (DRAWN, FEATURES, 2)):
        x, y = points[list(which), :2].long().unbind(-1)
        for across, down in product(range(reach), repeat=2):
            picture[(y + down).clamp(0, height - 1), (x + across).clamp(0, width - 1)] = torch.tensor(
                color, dtype=torch.uint8
            )
    for box, color in ((face, FACE_BOX), (lips, LIPS_BOX)):
        left, top, across, down = box.tolist()
        ink = torch.tensor(color, dtype=torch.uint8)
        for row in (top, top + down - 1):
            picture[row, left : left + across] = ink
        for column in (left, left + across - 1):
            picture[top : top + down, column] = ink
    return picture
