"""Poses that the pictures agree with: the upper face, a relief with a look of its own, is laid onto every frame.

A detector's landmarks are led by what it knows of faces: of a drawn face they show half of a nod, and they sink as its
mouth opens. Pixels have no such opinion. So poses that were found from landmarks are only where the search begins, and
landmarks hold the head where the skin is too plain to tell (direct alignment, after Lucas and Kanade, 1981). The relief is
the template's, and what it looks like is the median of what it shows in some frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from nerf3d.data.portrait.landmarks import NOSE_WINGS, RIGID
from nerf3d.data.portrait.pose import (
    LANDMARK_FILTER,
    POSE_FILTER,
    Poses,
    landmark_equations,
    posed,
    smoothed,
    smoothed_poses,
    stepped,
)

SIDE = 256
"""Pixels along a side of the pictures that the constants below are made for: larger ones say no more."""
SPACING, BELOW_NOSE = 0.0024, 0.005
"""Of the relief's points, and how far it reaches below the wings of the nose, where speech begins; metres."""
BLUR = 1.0
"""Of the pictures, in pixels (a Gaussian's deviation), so that slopes reach as far as poses are wrong."""
NOISE = 8.0
"""Levels of grey by which any point may differ from frame to frame; lids and brows were seen to differ by more."""
OUTLIER = 2.0
"""Errors beyond this many times the usual one count less (Huber, 1964)."""
PLAIN = 5.0
"""A face whose levels of grey deviate by less from their mean shows nothing to go by."""
LANDMARK_ERROR = 12.0
"""In pixels. Large, for landmarks are wrong all together, and the sum over them takes their errors for independent."""
SAMPLES, LOOKS, ROUNDS = 64, 10, 12
"""Frames whose median is the relief's look, how often it is taken anew, and steps that every frame's pose then makes."""
CHUNK = 50
"""Frames at a time."""

Pose = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Relief:
    """Points in the head's frame, their levels of grey, and how much an error counts there."""

    points: Float[Tensor, "k 3"]
    grey: Float[Tensor, "k"]
    weight: Float[Tensor, "k"]


def align(
    poses: Poses,
    points: Float[Tensor, "n 478 3"],
    times: Float[Tensor, "n"],
    picture: Callable[[int], UInt8[Tensor, "h w"]],
    focal: float,
    center: tuple[float, float],
) -> Poses:
    """Better poses than those found from the landmarks `points`, smooth in time as they are; the same for a plain face.

    `picture` gives the first to the last of the n frames in grey, about `SIDE` pixels wide; the pixels of `points`, `focal`
    and `center` are theirs.
    """
    steady = smoothed(points, times, LANDMARK_FILTER)[:, list(RIGID), :2].double()
    template = poses.template[list(RIGID)].double()
    rotation, translation = poses.head_to_camera.double().split([3, 1], -1)
    translation = translation[..., 0]

    def settled(relief: Relief, stack: Tensor, frames: Tensor, pose: Pose, rounds: int) -> Pose:
        for _ in range(rounds):
            said = landmark_equations(template, steady[frames], *pose, focal, center)
            shown = picture_equations(relief, stack, *pose, focal, center)
            normal, right = (a + b / LANDMARK_ERROR**2 for a, b in zip(shown, said))
            pose = stepped(*pose, normal, right)
        return pose

    some = torch.linspace(0, len(points) - 1, min(SAMPLES, len(points))).round().long()
    stack, pose = _frames(picture, some), (rotation[some], translation[some])
    where = upper_face(poses.template)
    relief = Relief(where, torch.zeros(len(where)), torch.ones(len(where)))
    for _ in range(LOOKS):
        grey = _seen(where, stack[:, :1], *pose, focal, center)[0][:, 0]
        usual = grey.median(0).values
        relief = Relief(where, usual, 1 / (NOISE**2 + (grey - usual).square().mean(0)))
        if float(usual.std()) < PLAIN:
            return poses
        pose = settled(relief, stack, some, pose, 2)
    found = []
    for frames in torch.arange(len(points)).split(CHUNK):
        found.append(settled(relief, _frames(picture, frames), frames, (rotation[frames], translation[frames]), ROUNDS))
    rotation, translation = (torch.cat(part) for part in zip(*found))
    rotation, translation = smoothed_poses(rotation, translation, times, LANDMARK_FILTER, POSE_FILTER)
    return posed(rotation, translation, poses.template.double(), steady, focal, center)


def upper_face(template: Float[Tensor, "478 3"]) -> Float[Tensor, "k 3"]:
    """Points on the face, evenly spread as seen from the front, from the hairline to just below the nose."""
    from scipy.interpolate import LinearNDInterpolator

    low, high = template[:, :2].amin(0), template[:, :2].amax(0)
    low[1] = template[list(NOSE_WINGS), 1].mean() - BELOW_NOSE
    flat = torch.cartesian_prod(*(torch.arange(float(a), float(b), SPACING) for a, b in zip(low, high)))
    depth = LinearNDInterpolator(template[:, :2].numpy(), template[:, 2].numpy())(flat.numpy())
    points = torch.cat([flat, torch.from_numpy(depth)[:, None].float()], -1)
    return points[points[:, 2].isfinite()]


def picture_equations(
    relief: Relief,
    stack: Float[Tensor, "n 3 h w"],
    rotation: Float[Tensor, "n 3 3"],
    translation: Float[Tensor, "n 3"],
    focal: float,
    center: tuple[float, float],
) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
    """As `landmark_equations`, for the errors between what the relief shows in pictures and its look.

    A picture that is brighter or has more contrast is brought to the look's first. `stack` has grey, and its slopes.
    """
    values, local, seen = _seen(relief.points, stack, rotation, translation, focal, center)
    gain, grey = _evened(values[:, 0], relief)
    error = grey - relief.grey
    size = error.abs() * relief.weight.sqrt()
    weight = relief.weight * (OUTLIER / size.clamp_min(1e-6)).clamp_max(1)
    across = values[:, 1:].transpose(1, 2) * gain[..., None] * focal / seen[..., 2:]
    slope = torch.cat([across, -(across * seen[..., :2] / seen[..., 2:]).sum(-1, keepdim=True)], -1)
    jacobian = torch.cat([torch.linalg.cross(local, slope), slope], -1)
    weighted = (jacobian * weight[..., None]).transpose(1, 2)
    return (weighted @ jacobian).double(), (weighted @ error[..., None])[..., 0].double()


def _evened(grey: Float[Tensor, "n k"], relief: Relief) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n k"]]:
    """Gains, and the greys with the mean and the contrast that the relief's has."""
    share = relief.weight / relief.weight.sum()

    def spread(values: Tensor) -> tuple[Tensor, Tensor]:
        mean = (values * share).sum(-1, keepdim=True)
        return mean, ((values - mean).square() * share).sum(-1, keepdim=True).sqrt()

    (mean, contrast), (usual, aim) = spread(grey), spread(relief.grey)
    gain = (aim + PLAIN) / (contrast + PLAIN)
    return gain, (grey - mean) * gain + usual


def _seen(
    points: Tensor, stack: Tensor, rotation: Tensor, translation: Tensor, focal: float, center: tuple[float, float]
) -> tuple[Float[Tensor, "n c k"], Float[Tensor, "n k 3"], Float[Tensor, "n k 3"]]:
    """What pictures show of points; and these turned as the head is, and before the camera."""
    local = points @ rotation.float().transpose(1, 2)
    seen = local + translation.float()[:, None]
    pixel = seen[..., :2] / seen[..., 2:] * focal + seen.new_tensor(center)
    place = 2 * pixel / pixel.new_tensor([stack.shape[3], stack.shape[2]]) - 1
    values = F.grid_sample(stack, place[:, None], padding_mode="border", align_corners=False)
    return values[:, :, 0], local, seen


def _frames(picture: Callable[[int], Tensor], frames: Int64[Tensor, "n"]) -> Float[Tensor, "n 3 h w"]:
    return with_slopes(torch.stack([picture(int(k)) for k in frames]).float(), BLUR)


def with_slopes(frames: Float[Tensor, "n h w"], blur: float) -> Float[Tensor, "n 3 h w"]:
    """Pictures, blurred by so many pixels, and how they change from pixel to pixel to the right and downwards."""
    from scipy.ndimage import gaussian_filter

    grey = torch.from_numpy(gaussian_filter(frames.numpy(), (0.0, blur, blur)))
    down, right = torch.gradient(grey, dim=(1, 2))
    return torch.stack([grey, right, down], 1)
