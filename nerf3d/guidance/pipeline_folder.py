"""A diffusers pipeline on disk: which parts it has, whether they are whole, and one of them at a time in memory.

Only classes that are known here are made, so a stranger's folder cannot choose code to run; weights are safetensors
unless a person has said that they trust this one's pickles.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nerf3d.errors import InputError

INDEX = "model_index.json"
KNOWN = {
    "unet": ("UNet2DConditionModel",),
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast"),
}
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class PipelineFolder:
    """`half`: weights that are also there in half precision are read as such."""

    path: Path
    half: bool = False
    trust_pickle: bool = False

    def index(self) -> dict[str, Any]:
        """What model_index.json says: the class of every part. Raises InputError where it is missing or broken."""
        if not (self.path / INDEX).is_file():
            raise InputError(
                f"{self.path}: there is no {INDEX}, so it is no diffusers pipeline; give the folder that holds one"
            )
        return _mapping(self.path / INDEX)

    def config(self, part: str) -> dict[str, Any]:
        """The config.json of a part. Raises InputError where it is missing or broken."""
        return _mapping(self.path / part / "config.json")

    def kind(self, part: str) -> str | None:
        """The class of a part; None if the pipeline has no such part. InputError for one that is not known here."""
        entry = self.index().get(part)
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] is None:
            return None
        name = str(entry[1])
        known = KNOWN.get(part.rstrip("_23"))
        if known is not None and name not in known:
            raise InputError(
                f"{self.path}: its {part} is a {name}, which nerf3d cannot run; it knows {' and '.join(known)}, so give "
                "another pipeline"
            )
        return name

    def need(self, part: str) -> str:
        """The class of a part that must be there, folder and all. Raises InputError."""
        name = self.kind(part)
        if name is None:
            raise InputError(f"{self.path}: {INDEX} names no {part}; give a whole text-to-image pipeline")
        if not (self.path / part).is_dir():
            raise InputError(
                f"{self.path}: the folder {part!r} is missing; copy the whole pipeline, or download it again"
            )
        return name

    def model(self, part: str, kind: torch.dtype) -> nn.Module:
        """A frozen network of the pipeline on the CPU. Raises InputError, which names the part, where that fails."""
        import diffusers
        import transformers

        name = self.need(part)
        folder = self.path / part
        self._check_weights(folder)
        variant = "fp16" if self.half and list(folder.glob("*.fp16*.safetensors")) else None
        safe = None if self.trust_pickle else True
        try:
            if part.startswith("text_encoder"):
                made, report = getattr(transformers, name).from_pretrained(
                    folder, dtype=kind, variant=variant, use_safetensors=safe, output_loading_info=True
                )
            else:
                made, report = getattr(diffusers, name).from_pretrained(
                    folder,
                    torch_dtype=kind,
                    variant=variant,
                    use_safetensors=safe,
                    output_loading_info=True,
                    low_cpu_mem_usage=find_spec("accelerate") is not None,  # diffusers complains aloud where it is not
                )
        except Exception as error:  # the libraries raise what they please, from OSError to their own
            raise InputError(f"{folder} cannot be loaded ({_first_line(error)}); download it again") from error
        if report["missing_keys"]:
            raise InputError(f"{folder}: weights are missing ({sorted(report['missing_keys'])[0]}); download it again")
        return made.requires_grad_(False).eval()

    def tokenizer(self, part: str) -> Any:
        """A tokenizer of the pipeline. Raises InputError where that fails."""
        import transformers

        name = self.need(part)
        folder = self.path / part
        if not any((folder / file).is_file() for file in VOCABULARIES):
            raise InputError(f"{folder}: there is no vocabulary ({' or '.join(VOCABULARIES)}); download it again")
        try:
            return getattr(transformers, name).from_pretrained(folder)
        except Exception as error:
            raise InputError(
                f"{folder} cannot be loaded ({_first_line(error)}); if it holds a spiece.model, pip install sentencepiece"
            ) from error

    def scheduler(self) -> Any:
        """The pipeline's scheduler, of any class that diffusers has."""
        import diffusers

        name = self.need("scheduler")
        folder = self.path / "scheduler"
        made = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if made is None:
            raise InputError(
                f"{folder} is a {name}, which the diffusers that is installed does not have; upgrade diffusers"
            )
        try:
            return made.from_pretrained(folder)
        except Exception as error:
            raise InputError(f"{folder} cannot be loaded ({_first_line(error)}); download it again") from error

    def _check_weights(self, folder: Path) -> None:
        self.config(folder.name)
        if any(folder.glob("*.safetensors")):
            return
        if not any(folder.glob("*.bin")):
            raise InputError(f"{folder}: there are no weights (*.safetensors); download the pipeline again")
        if not self.trust_pickle:
            raise InputError(
                f"{folder} holds its weights as pickles only, which can run code when they are read; find the model as "
                "safetensors, or say that you trust this one"
            )


def _mapping(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} is missing or cannot be read; download the pipeline again") from error
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON; download the pipeline again") from error
    if not isinstance(found, dict):
        raise InputError(f"{file} is not a mapping; download the pipeline again")
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
