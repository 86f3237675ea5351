"""Inception v3, in whose features sets of pictures are compared in the literature, from a file of weights that is at hand.

FID (Heusel et al. 2017) and KID are `sets.frechet_distance` and `sets.kernel_distance` of `Inception.see`'s features, the
Inception score is `sets.inception_score` of its classes. Published figures are by the weights that TensorFlow was given in
2015; torchvision's own weights, and pictures enlarged in another way, give others. Figures by one file compare with each
other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.torchvision_repair import import_torchvision

SIDE = 299
BATCH = 32


@dataclass(frozen=True)
class Seen:
    """What the network says of pictures: what its last pooling holds, and how likely each class is."""

    features: Float[Tensor, "n 2048"]
    classes: Float[Tensor, "n k"]


@dataclass(frozen=True)
class Inception:
    """torchvision's network with the weights of a file."""

    network: Any

    @staticmethod
    def open(file: Path) -> "Inception":
        """A state dict of torchvision's `inception_v3` as .safetensors.

        Raises InputError for a file that is not one, or without torchvision.
        """
        if not import_torchvision():
            raise InputError("torchvision is needed for Inception: pip install -c constraints.txt torchvision")
        from torchvision.models import inception_v3

        state = _state(file)
        network = inception_v3(weights=None, init_weights=False, num_classes=_classes(file, state))
        missing, unknown = network.load_state_dict(state, strict=False)
        needed = [name for name in missing if not name.startswith("AuxLogits.")]
        if needed or unknown:
            raise InputError(
                f"{file} does not hold the weights of torchvision's inception_v3 ({(needed or unknown)[0]} "
                f"{'is missing' if needed else 'is not one of them'}); give the state dict of that network"
            )
        return Inception(network.eval())

    @torch.no_grad()
    def see(self, images: Float[Tensor, "n h w 3"]) -> Seen:
        """Pictures in [0, 1] of any size, which are enlarged to 299 x 299."""
        pooled: list[Tensor] = []
        hook = self.network.avgpool.register_forward_hook(lambda *call: pooled.append(call[2].flatten(1)))
        try:
            logits = [self.network(_prepared(batch)) for batch in images.split(BATCH)]
        finally:
            hook.remove()
        return Seen(torch.cat(pooled), torch.cat(logits).softmax(1))


def _prepared(images: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 299 299"]:
    x = images.permute(0, 3, 1, 2).float()
    return 2 * F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False) - 1


def _state(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{file} cannot be read as weights ({reason}); give a .safetensors file (safetensors.torch.save_file writes one "
            "of a state dict)"
        ) from error


def _classes(file: Path, state: dict[str, Tensor]) -> int:
    if "fc.weight" not in state:
        raise InputError(
            f"{file} does not hold the weights of torchvision's inception_v3 (fc.weight is missing); give the state dict "
            "of that network"
        )
    return len(state["fc.weight"])
