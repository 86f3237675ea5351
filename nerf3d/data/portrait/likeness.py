"""What an avatar keeps of the film that it was learnt from: how head, eyes and mouth moved, and what was behind.

With it a run can be watched and made to speak without the film, which may have to be deleted for the person's sake.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nerf3d.core import Box, Cameras
from nerf3d.data.portrait.folder import Shots
from nerf3d.data.sound_features import FeatureKind
from nerf3d.errors import InputError


@dataclass(frozen=True)
class Likeness:
    """`shots` are the training frames, `plate` is the background, `box` holds the head in its own frame.

    `focal` and `center` are in pixels of frames of `side` x `side`. `feature` is what the head was taught to hear.
    """

    shots: Shots
    plate: UInt8[Tensor, "h w 3"]
    box: Box
    focal: float
    center: tuple[float, float]
    feature: FeatureKind

    def to(self, device: torch.device | str) -> "Likeness":
        box = Box(self.box.low.to(device), self.box.high.to(device))
        return replace(self, shots=self.shots.to(device), plate=self.plate.to(device), box=box)

    @property
    def side(self) -> int:
        return self.plate.shape[0]

    def cameras(self, camera_to_head: Float[Tensor, "n 4 4"]) -> Cameras:
        """The camera as the head sees it in each of some poses, in the head's frame and with OpenCV axes."""
        pose = camera_to_head[:, :3] * camera_to_head.new_tensor([1.0, -1.0, -1.0, 1.0])
        intrinsics = pose.new_tensor([self.focal, self.focal, *self.center]).expand(len(pose), 4)
        return Cameras(pose, intrinsics, pose.new_zeros(len(pose), 5), self.side, self.side)


def write_likeness(likeness: Likeness, file: Path) -> None:
    """One safetensors file."""
    from safetensors.torch import save

    tensors = {f"shots.{f.name}": getattr(likeness.shots, f.name).contiguous() for f in fields(Shots)}
    tensors |= {"plate": likeness.plate.contiguous(), "low": likeness.box.low, "high": likeness.box.high}
    said = {"focal": likeness.focal, "center": likeness.center, "feature": asdict(likeness.feature)}
    file.write_bytes(save(tensors, {"portrait": json.dumps(said)}))


def read_likeness(file: Path) -> Likeness:
    """Raises InputError for a file that is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            said = json.loads(opened.metadata()["portrait"])
        if "shots.mouth" in tensors and "shots.torso" not in tensors:
            raise InputError(f"{file} is of an older version; fit the head anew from its film, prepared again")
        shots = Shots(*(tensors[f"shots.{f.name}"] for f in fields(Shots)))
        box = Box(tensors["low"], tensors["high"])
        center = (float(said["center"][0]), float(said["center"][1]))
        return Likeness(shots, tensors["plate"], box, float(said["focal"]), center, FeatureKind(**said["feature"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{file} is missing or damaged ({error}); it belongs to the run and cannot be made anew"
        ) from error
