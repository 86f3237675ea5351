"""What a teacher is told: embedded prompts, and the disk that remembers them so that the encoder can be let go."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.errors import InputError


@dataclass(frozen=True)
class Text:
    """A batch of embedded prompts: one vector a token, and for some teachers one more for the whole prompt."""

    tokens: Float[Tensor, "b t c"]
    pooled: Float[Tensor, "b p"] | None = None

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def __getitem__(self, index: Int64[Tensor, "n"] | slice) -> "Text":
        return Text(self.tokens[index], None if self.pooled is None else self.pooled[index])

    def to(self, device: torch.device | str) -> "Text":
        return Text(self.tokens.to(device), None if self.pooled is None else self.pooled.to(device))

    def mix(self, other: "Text", share: Float[Tensor, "b"]) -> "Text":
        """(1 - share) of this and `share` of the other, prompt by prompt."""
        tokens = torch.lerp(self.tokens, other.tokens, share[:, None, None])
        if self.pooled is None or other.pooled is None:
            return Text(tokens)
        return Text(tokens, torch.lerp(self.pooled, other.pooled, share[:, None]))


def join(*parts: Text) -> Text:
    """Several batches as one."""
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return Text(torch.cat([part.tokens for part in parts]), torch.cat(pooled) if pooled else None)


@runtime_checkable
class TextEncoder(Protocol):
    """Prompts in, embeddings out (on the CPU, in single precision). `identity` differs where embeddings would."""

    @property
    def identity(self) -> str: ...

    def __call__(self, prompts: list[str]) -> Text: ...


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder that is asked about each prompt once: `folder` holds one safetensors file for each."""

    encoder: TextEncoder
    folder: Path

    @property
    def identity(self) -> str:
        return self.encoder.identity

    def __call__(self, prompts: list[str]) -> Text:
        """The embeddings, from the disk where they are there. Raises InputError if the folder cannot be written to."""
        paths = {prompt: self.folder / f"{self._key(prompt)}.safetensors" for prompt in prompts}
        known = {prompt: text for prompt, path in paths.items() if (text := _read(path)) is not None}
        missing = [prompt for prompt in paths if prompt not in known]
        if missing:
            fresh = self.encoder(missing)
            for index, prompt in enumerate(missing):
                known[prompt] = fresh[index : index + 1]
                _write(paths[prompt], known[prompt])
        return join(*(known[prompt] for prompt in prompts))

    def _key(self, prompt: str) -> str:
        return hashlib.sha256(f"{self.identity}\n{prompt}".encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> Text | None:
    """A cached embedding; None where there is none, or one that cannot be read."""
    import safetensors.torch

    try:
        tensors = safetensors.torch.load(path.read_bytes())
        return Text(tensors["tokens"], tensors.get("pooled"))
    except (OSError, KeyError, safetensors.SafetensorError):
        return None


def _write(path: Path, text: Text) -> None:
    import safetensors.torch

    tensors = {"tokens": text.tokens, "pooled": text.pooled}
    data = safetensors.torch.save({name: t.contiguous() for name, t in tensors.items() if t is not None})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot keep embedded prompts there ({error.strerror}); name a folder that can be written to"
        ) from error
