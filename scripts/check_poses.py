#!/usr/bin/env python
"""How well the poses that are found for bare photographs agree with known ones.

    scripts/check_poses.py FOLDER_OF_PICTURES TRANSFORMS_JSON

Finds poses afresh (nothing is taken from or left in the cache), lays them over the known ones by the similarity
transform that fits the camera centres best, and prints how many pictures were placed, the median rotation error, and
the median distance of the centres relative to their spread (the root mean square distance from their mean).
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nerf3d.data.colmap_model import read_model
from nerf3d.data.frames import read_frames
from nerf3d.data.pictures import list_pictures
from nerf3d.data.poses import find_poses
from nerf3d.errors import InputError


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(s, R, t) that minimise sum |s R x + t - y|^2: Umeyama 1991, equations 40 to 42."""
    x, y = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((d * sign).sum() / (x**2).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def main(pictures: Path, transforms: Path) -> int:
    known = {Path(frame.listed).name: frame.world_from_camera.double().numpy() for frame in read_frames(transforms)[0]}
    listed = list_pictures(pictures)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = read_model(find_poses(listed, Path(folder) / "poses"))
    seconds = time.perf_counter() - begin
    images = [image for image in model.images if image.name in known]
    found = np.stack([image.world_from_camera for image in images])
    given = np.stack([known[image.name] for image in images])
    scale, rotation, shift = similarity(found[:, :, 3], given[:, :, 3])
    # The angle of A B^T by its chord: accurate for small angles, unlike the arc cosine of the trace.
    chord = np.linalg.norm(rotation @ found[:, :, :3] - given[:, :, :3], axis=(1, 2))
    degrees = np.degrees(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1)))
    apart = np.linalg.norm(scale * found[:, :, 3] @ rotation.T + shift - given[:, :, 3], axis=1)
    spread = np.sqrt(((given[:, :, 3] - given[:, :, 3].mean(0)) ** 2).sum(1).mean())
    print(f"placed          {len(model.images)} of {len(listed)} pictures")
    print(f"rotation error  {np.median(degrees):.3f} degrees median, {degrees.max():.3f} largest")
    print(
        f"centre error    {100 * np.median(apart) / spread:.3f} % of the spread median, "
        f"{100 * apart.max() / spread:.3f} % largest"
    )
    print(f"time            {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
