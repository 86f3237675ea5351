"""How the head is held in every frame: landmarks -> rigid template -> perspective-n-point, smooth in time.

What comes of it is where `align` begins, which looks at the pictures too.

The head's own frame has x to the viewer's right, y up and z towards the viewer of a frontal face; its origin is between
the temples, and its unit is a metre if the outer corners of the eyes are 9 cm apart, as they about are. The focal
length cannot be seen in such films (the error falls with it without end), so that it is fixed at 2.5 heights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.portrait.landmarks import CHIN, FOREHEAD, LEFT_EYE, RIGHT_EYE, RIGID, TEMPLES

FOCAL = 2.5
"""In heights of the picture."""
EYES_APART = 0.09
LANDMARK_FILTER, POSE_FILTER = (9, 2), (7, 2)
"""Savitzky-Golay: frames in a window, degree of the polynomial."""
OUTLIER = 3.0
"""Errors beyond this many times the median count less (Huber, 1964)."""


@dataclass(frozen=True)
class Poses:
    """`head_to_camera` has OpenCV axes (y down, z forward) on the camera's side. `template` is where landmarks are in the
    head's frame, and `rms` how far the rigid ones' images are from where they were seen, in pixels.
    """

    head_to_camera: Float[Tensor, "n 3 4"]
    template: Float[Tensor, "478 3"]
    rms: float


def smoothed(values: Float[Tensor, "n *b"], runs: Float[Tensor, "n"], filter: tuple[int, int]) -> Float[Tensor, "n *b"]:
    """Savitzky and Golay's filter along time, each run of consecutive frames for itself.

    `runs` says for each frame which film time it has, in frames; a run ends where the next time is not one later. Runs
    shorter than the filter get a shorter one.
    """
    from scipy.signal import savgol_filter

    result = values.clone()
    for run in consecutive(runs):
        window, degree = filter
        count = run.stop - run.start
        window = min(window, count - 1 + count % 2)
        if window > degree:
            piece = savgol_filter(values[run].double().numpy(), window, degree, axis=0, mode="interp")
            result[run] = torch.from_numpy(piece).to(values.dtype)
    return result


def consecutive(times: Float[Tensor, "n"]) -> Iterator[slice]:
    """The runs of frames that follow one another without a gap.

    >>> list(consecutive(torch.tensor([0.0, 1.0, 2.0, 7.0, 8.0])))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    ends = [*(torch.nonzero(times.diff() != 1)[:, 0] + 1).tolist(), len(times)]
    begin = 0
    for end in ends:
        yield slice(begin, end)
        begin = end


def find_poses(
    points: Float[Tensor, "n 478 3"], times: Float[Tensor, "n"], focal: float, center: tuple[float, float]
) -> Poses:
    """The poses of the head in frames whose landmarks are known, at least one.

    `times` are the frames' numbers in the film, `focal` and `center` the camera's in pixels.
    """
    steady = smoothed(points, times, LANDMARK_FILTER).double()
    template = head_template(steady, focal, center)
    rigid = list(RIGID)
    rotation, translation = perspective_n_point(template[rigid], steady[:, rigid, :2], focal, center)
    rotation, translation = smoothed_poses(rotation, translation, times, POSE_FILTER)
    return posed(rotation, translation, template, steady[:, rigid, :2], focal, center)


def posed(
    rotation: Float[Tensor, "n 3 3"],
    translation: Float[Tensor, "n 3"],
    template: Float[Tensor, "478 3"],
    pixels: Float[Tensor, "n k 2"],
    focal: float,
    center: tuple[float, float],
) -> Poses:
    """With how far the rigid points' images are from `pixels`."""
    error = _project(template[list(RIGID)], rotation, translation, focal, center) - pixels
    rms = float(error.square().sum(-1).mean().sqrt())
    return Poses(torch.cat([rotation, translation[..., None]], -1).float(), template.float(), rms)


def smoothed_poses(
    rotation: Float[Tensor, "n 3 3"],
    translation: Float[Tensor, "n 3"],
    times: Float[Tensor, "n"],
    *filters: tuple[int, int],
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
    """Each filter in turn along time; rotations as turns from their mean."""
    from scipy.spatial.transform import Rotation

    whole = Rotation.from_matrix(rotation.numpy())
    mean = whole.mean()
    turns = torch.from_numpy((mean.inv() * whole).as_rotvec())
    for filter in filters:
        turns, translation = smoothed(turns, times, filter), smoothed(translation, times, filter)
    return torch.from_numpy((mean * Rotation.from_rotvec(turns.numpy())).as_matrix()), translation


def head_template(
    points: Float[Tensor, "n 478 3"], focal: float, center: tuple[float, float], rounds: int = 10
) -> Float[Tensor, "478 3"]:
    """The mean of all frames' points, after similarity transforms that bring their rigid parts together.

    A detector's depth is in pixels, a length that has the size of a pixel at the distance of `focal` pixels. So a point
    is first brought to (x - cx)(1 + z / focal) from where perspective shows it. Then follow generalised Procrustes
    analysis (Gower, 1975), and a turn and a scale into the head's own frame.
    """
    rigid = list(RIGID)
    flat = (points[..., :2] - points.new_tensor(center)) * (1 + points[..., 2:] / focal)
    points = torch.cat([flat, points[..., 2:]], -1)
    flip = points.new_tensor([1.0, -1.0, -1.0])  # from x right, y down, z away to x right, y up, z towards the viewer
    shapes = points * flip
    shapes = shapes - shapes[:, rigid].mean(1, keepdim=True)
    shapes = shapes / shapes[:, rigid].square().sum((1, 2), keepdim=True).sqrt()
    mean = shapes.mean(0)
    for _ in range(rounds):
        turn = _rotations(shapes[:, rigid], mean[rigid])
        mean = (shapes @ turn.transpose(1, 2)).mean(0)
        mean = mean / mean[rigid].square().sum().sqrt()
    x = _unit(mean[LEFT_EYE[0]] - mean[RIGHT_EYE[0]])
    up = mean[FOREHEAD] - mean[CHIN]
    y = _unit(up - (up @ x) * x)
    axes = torch.stack([x, y, torch.linalg.cross(x, y)])
    scale = EYES_APART / (mean[LEFT_EYE[0]] - mean[RIGHT_EYE[0]]).norm()
    return (mean - mean[list(TEMPLES)].mean(0)) @ axes.T * scale


def perspective_n_point(
    template: Float[Tensor, "k 3"],
    pixels: Float[Tensor, "n k 2"],
    focal: float,
    center: tuple[float, float],
    rounds: int = 15,
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
    """Rotations and translations that bring the template before the camera so that it is seen at the pixels.

    All frames at once: begun from scaled orthography (DeMenthon and Davis, 1995), then Gauss and Newton's steps on the
    error in pixels with Huber's weights, damped by a little. The camera has OpenCV axes.
    """
    rotation, translation = _orthographic(template, pixels, focal, center)
    for _ in range(rounds):
        equations = landmark_equations(template, pixels, rotation, translation, focal, center)
        rotation, translation = stepped(rotation, translation, *equations)
    return rotation, translation


def landmark_equations(
    template: Float[Tensor, "k 3"],
    pixels: Float[Tensor, "n k 2"],
    rotation: Float[Tensor, "n 3 3"],
    translation: Float[Tensor, "n 3"],
    focal: float,
    center: tuple[float, float],
) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
    """Gauss's normal equations (a matrix and a right side) for small steps of poses: turns from the left, then shifts."""
    local = template @ rotation.transpose(1, 2)
    seen = local + translation[:, None]
    error = seen[..., :2] / seen[..., 2:] * focal + pixels.new_tensor(center) - pixels
    size = error.norm(dim=-1)
    weight = (OUTLIER * size.median(1, keepdim=True).values.clamp_min(1e-9) / size.clamp_min(1e-12)).clamp_max(1)
    slope = _slopes(seen, focal)
    jacobian = torch.cat([-slope @ _cross_matrices(local), slope], -1) * weight.sqrt()[..., None, None]
    jacobian = jacobian.flatten(1, 2)
    right = jacobian.transpose(1, 2) @ (error * weight.sqrt()[..., None]).flatten(1)[..., None]
    return jacobian.transpose(1, 2) @ jacobian, right[..., 0]


def stepped(
    rotation: Float[Tensor, "n 3 3"],
    translation: Float[Tensor, "n 3"],
    normal: Float[Tensor, "n 6 6"],
    right: Float[Tensor, "n 6"],
) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
    """Poses after the step that such equations ask for, damped by a little."""
    normal = normal + 1e-9 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2))
    step = -torch.linalg.solve(normal, right)
    return torch.linalg.matrix_exp(_cross_matrices(step[:, :3])) @ rotation, translation + step[:, 3:]


def camera_to_head(head_to_camera: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n 4 4"]:
    """AD-NeRF's transform_matrix: the head stands still, the camera moves, and has OpenGL axes (y up, z backward)."""
    rotation, translation = head_to_camera[:, :, :3], head_to_camera[:, :, 3:]
    back = rotation.transpose(1, 2)
    flip = torch.diag(head_to_camera.new_tensor([1.0, -1.0, -1.0]))
    pose = torch.eye(4).expand(len(back), 4, 4).to(back).clone()
    pose[:, :3] = torch.cat([back @ flip, -back @ translation], -1)
    return pose


def _slopes(local: Float[Tensor, "n k 3"], focal: float) -> Float[Tensor, "n k 2 3"]:
    """How the pixel that shows a point moves with the point, in the camera's frame."""
    x, y, z = local.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([1 / z, zero, -x / z**2], -1), torch.stack([zero, 1 / z, -y / z**2], -1)]
    return focal * torch.stack(rows, -2)


def _orthographic(template: Tensor, pixels: Tensor, focal: float, center: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """A first guess, as if the lens were infinitely long."""
    middle, shape = pixels.mean(1, keepdim=True), template - template.mean(0)
    affine = torch.linalg.lstsq(shape.expand(len(pixels), *shape.shape), pixels - middle).solution.transpose(1, 2)
    scale = affine.norm(dim=-1).mean(1)
    rows = affine / affine.norm(dim=-1, keepdim=True)
    whole = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    rotation = _nearest_rotations(whole)
    z = focal / scale
    xy = (middle[:, 0] - pixels.new_tensor(center)) / scale[:, None]
    translation = torch.cat([xy, z[:, None]], -1) - rotation @ template.mean(0)
    return rotation, translation


def _rotations(shapes: Tensor, target: Tensor) -> Tensor:
    """The rotations that bring each shape onto the target best (Kabsch, 1976)."""
    return _nearest_rotations(target.T @ shapes)


def _nearest_rotations(matrices: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrices)
    sign = torch.linalg.det(left @ right)
    left = torch.cat([left[..., :2], left[..., 2:] * sign[:, None, None]], -1)
    return left @ right


def _project(
    template: Tensor, rotation: Tensor, translation: Tensor, focal: float, center: tuple[float, float]
) -> Tensor:
    local = template @ rotation.transpose(1, 2) + translation[:, None]
    return local[..., :2] / local[..., 2:] * focal + local.new_tensor(center)


def _cross_matrices(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, -2)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()
