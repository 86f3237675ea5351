"""Pictures and texts in one space: an open_clip model that judges results and is never used to make them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.torchvision_repair import import_torchvision

BATCH = 128


@dataclass(frozen=True)
class Evaluator:
    """A model with two towers. Pictures are (n, height, width, 3) in [0, 1], of any size; texts are plain English.

    `size`, `mean` and `deviation` are what the model wants its pictures to be: pixels on a side, and the statistics that
    are taken out of them.
    """

    model: Any  # open_clip's CLIP: encode_image, encode_text
    tokens: Callable[[list[str]], Tensor]
    size: int
    mean: Float[Tensor, "3"]
    deviation: Float[Tensor, "3"]
    _known: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """Texts that were met before: lists of captions are asked about again and again."""

    @staticmethod
    def open(folder: Path, device: torch.device | str = "cpu") -> "Evaluator":
        """A folder with open_clip_config.json, safetensors and the tokenizer's files, as open_clip's own "local-dir:" reads.

        Raises InputError when open_clip is not installed, or the folder lacks a part or holds pickled weights alone.
        """
        for name in ("open_clip_config.json", "*.safetensors"):
            if not list(folder.glob(name)):
                raise InputError(
                    f"{folder} is no open_clip model: it has no {name}; name a folder that has both parts."
                )
        import_torchvision()
        try:
            import open_clip
        except ImportError as error:
            raise InputError(
                f"Judging pictures by captions needs open_clip ({error}): pip install open_clip_torch"
            ) from error
        try:
            model, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device)
            tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            detail = " ".join(str(error).split())[:300]
            raise InputError(f"{folder} cannot be read as an open_clip model ({detail}); write it anew.") from error
        wanted = model.visual.preprocess_cfg
        size = wanted["size"] if isinstance(wanted["size"], int) else wanted["size"][0]
        return Evaluator(
            model.eval().requires_grad_(False), tokens, size, torch.tensor(wanted["mean"]), torch.tensor(wanted["std"])
        )

    @torch.no_grad()
    def see(self, images: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n c"]:
        """A unit vector for every picture; smaller pictures are enlarged, larger ones averaged down."""
        device = next(self.model.parameters()).device
        return torch.cat([self.watch(batch.to(device)) for batch in images.split(BATCH)]).cpu()

    def watch(self, images: Float[Tensor, "n h w 3"]) -> Float[Tensor, "n c"]:
        """The same with a gradient: for edits, which a text leads. Whoever is led by it must not be judged by it."""
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        x = (x - self.mean.to(x)[:, None, None]) / self.deviation.to(x)[:, None, None]
        return self.model.encode_image(x, normalize=True).float()

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Float[Tensor, "t c"]:
        """A unit vector for every text. Each text is read once and remembered."""
        device = next(self.model.parameters()).device
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        for begin in range(0, len(new), BATCH):
            batch = new[begin : begin + BATCH]
            vectors = self.model.encode_text(self.tokens(batch).to(device), normalize=True).float().cpu()
            self._known.update(zip(batch, vectors, strict=True))
        return torch.stack([self._known[text] for text in texts])

    def similarity(self, images: Float[Tensor, "n h w 3"], texts: Sequence[str]) -> Float[Tensor, "n t"]:
        """Cosines between pictures and texts, in [-1, 1]: only their order over the texts of one picture means much."""
        if not texts:
            raise InputError("There is no text to compare the pictures with: give at least one.")
        return self.see(images) @ self.read(texts).T
