"""HuBERT and wav2vec 2.0 as ears: the last hidden states of a model that lies in a local folder.

Both have one vector for every 320 samples, each made of 400 of them (Baevski et al., 2020; Hsu et al., 2021). With 40
samples of surroundings on either side these are centred like all other features. Nothing is downloaded.

transformers imports torchvision where that is installed: `guidance.libraries.prepare` makes sure that it can.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from nerf3d.data.sound_features import STEP, FeatureKind
from nerf3d.errors import InputError

FAMILIES = ("hubert", "wav2vec2")
FIELD = 400
"""Samples that one vector is made of."""


class SpeechModel:
    """The last hidden states. Blocks are heard with a second of surroundings; a pause is added to it as it is."""

    margin = 50

    def __init__(self, folder: Path | str) -> None:
        """Raises InputError for a folder without such a model or without its weights as safetensors."""
        folder = Path(folder)
        family = _family(folder)
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise InputError(f"{folder} has no model.safetensors; save the model's weights in that form")
        import transformers

        kind: Any = transformers.HubertModel if family == "hubert" else transformers.Wav2Vec2Model
        try:
            model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{folder} holds no usable {family} model ({str(error).splitlines()[0]}); copy it again"
            ) from None
        self._model = model.eval()
        strides = 1
        for stride in model.config.conv_stride:
            strides *= stride
        if strides != STEP:
            raise InputError(
                f"{folder} makes a vector every {strides} samples, and {STEP} are needed; take another model"
            )
        self._normalises = bool(_settings(folder / "preprocessor_config.json").get("do_normalize", True))
        self.kind = FeatureKind(family, model.config.hidden_size, weights=_digest(weights))

    @torch.no_grad()
    def __call__(self, sound: Float[Tensor, "samples"]) -> Float[Tensor, "steps channels"]:
        steps = len(sound) // STEP
        side = (FIELD - STEP) // 2
        whole = torch.nn.functional.pad(sound[: steps * STEP], (side, side))
        if self._normalises:
            whole = (whole - whole.mean()) / (whole.var(unbiased=False) + 1e-7).sqrt()
        return self._model(whole[None]).last_hidden_state[0]


def _family(folder: Path) -> str:
    family = _settings(folder / "config.json").get("model_type")
    if family not in FAMILIES:
        raise InputError(
            f"{folder} holds no speech model (a config.json with model_type hubert or wav2vec2); name the folder of one"
        )
    return family


def _settings(file: Path) -> dict:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _digest(file: Path) -> str:
    """What tells these weights from others: the beginning of their SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
