"""The text encoders of a diffusers pipeline: loaded when asked, one after another, and let go before the answer is given.

    one CLIP           Stable Diffusion 1 and 2, the embedded prior    the last layer
    one T5             DeepFloyd IF                                    the last layer; prompts in small letters
    two CLIP           SDXL                                            next to last layers side by side; pooled: the second's
    two CLIP and T5    Stable Diffusion 3                              the same, then T5's tokens; both pooled

Stable Diffusion 3 also comes without its T5, whose tokens are zero then.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.guidance.pipeline_folder import PipelineFolder
from nerf3d.guidance.text import Text

IF_TOKENS = 77
SD3_TOKENS = 256
WINDOW = 2**20


@dataclass(frozen=True)
class PipelineText:
    """A text.TextEncoder. Prompts are encoded one by one, so that no embedding depends on what else was asked for."""

    folder: PipelineFolder
    device: torch.device
    kind: torch.dtype

    @cached_property
    def identity(self) -> str:
        """Of the encoders' files: names, lengths, and the beginning, middle and end of what is in them."""
        digest = hashlib.sha256(f"{self.kind} {self._empty_is_zero}".encode())
        for part in sorted([*self.folder.path.glob("text_encoder*"), *self.folder.path.glob("tokenizer*")]):
            for file in sorted(p for p in part.iterdir() if p.is_file()):
                size = file.stat().st_size
                digest.update(f"{part.name}/{file.name} {size}\n".encode())
                with file.open("rb") as stream:
                    for start in (0, size // 2, size - WINDOW):
                        stream.seek(max(start, 0))
                        digest.update(stream.read(WINDOW))
        return digest.hexdigest()

    def __call__(self, prompts: list[str]) -> Text:
        """Raises InputError for a prompt that is longer than the teacher can read, and for parts that are not there."""
        kinds = [self.folder.kind(part) for part in ("text_encoder", "text_encoder_2", "text_encoder_3")]
        with torch.no_grad():
            if self.folder.kind("transformer") is not None:
                text = self._sd3(prompts, has_t5=kinds[2] is not None)
            elif kinds[1] is not None:
                text = self._sdxl(prompts)
            elif kinds[0] == "T5EncoderModel":
                text = Text(self._t5("", [prompt.lower().strip() for prompt in prompts], IF_TOKENS, masked=True))
            else:
                text = Text(self._clip("", prompts, layer=None)[0])
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return text

    @property
    def _empty_is_zero(self) -> bool:
        return self.folder.index().get("force_zeros_for_empty_prompt", True) is not False

    def _sdxl(self, prompts: list[str]) -> Text:
        first, _ = self._clip("", prompts, layer=-2)
        second, pooled = self._clip("_2", prompts, layer=-2)
        text = Text(torch.cat([first, second], -1), pooled)
        if not self._empty_is_zero:
            return text
        said = torch.tensor([float(prompt != "") for prompt in prompts])
        return Text(text.tokens * said[:, None, None], pooled * said[:, None])

    def _sd3(self, prompts: list[str], has_t5: bool) -> Text:
        first, pooled_first = self._clip("", prompts, layer=-2, cut=has_t5)
        second, pooled_second = self._clip("_2", prompts, layer=-2, cut=has_t5)
        both = torch.cat([first, second], -1)
        width = int(self.folder.config("transformer")["joint_attention_dim"])
        t5 = torch.zeros(len(prompts), SD3_TOKENS, width)
        if has_t5:
            t5 = self._t5("_3", prompts, SD3_TOKENS, masked=False)
        tokens = torch.cat([F.pad(both, (0, width - both.shape[-1])), t5], 1)
        return Text(tokens, torch.cat([pooled_first, pooled_second], -1))

    def _clip(self, number: str, prompts: list[str], layer: int | None, cut: bool = False) -> tuple[Tensor, Tensor]:
        """Tokens of a hidden layer (None: the last, normalised) and the pooled embeddings of a CLIP text encoder."""
        tokenizer = self.folder.tokenizer("tokenizer" + number)
        ids, mask = _tokenize(tokenizer, prompts, tokenizer.model_max_length, cut)
        encoder = self.folder.model("text_encoder" + number, self.kind).to(self.device)
        masked = getattr(encoder.config, "use_attention_mask", None)
        tokens, pooled = [], []
        for one, its_mask in zip(ids.to(self.device).split(1), mask.to(self.device).split(1)):
            out = encoder(one, attention_mask=its_mask if masked else None, output_hidden_states=layer is not None)
            tokens.append(out.last_hidden_state if layer is None else out.hidden_states[layer])
            pooled.append(out.text_embeds if "text_embeds" in out else out.pooler_output)
        return torch.cat(tokens).float().cpu(), torch.cat(pooled).float().cpu()

    def _t5(self, number: str, prompts: list[str], length: int, masked: bool) -> Tensor:
        ids, mask = _tokenize(self.folder.tokenizer("tokenizer" + number), prompts, length, cut=False)
        encoder = self.folder.model("text_encoder" + number, self.kind).to(self.device)
        tokens = [
            encoder(one, attention_mask=its_mask if masked else None).last_hidden_state
            for one, its_mask in zip(ids.to(self.device).split(1), mask.to(self.device).split(1))
        ]
        return torch.cat(tokens).float().cpu()


def _tokenize(tokenizer, prompts: list[str], length: int, cut: bool) -> tuple[Tensor, Tensor]:
    """Padded tokens and their mask. What is too long is refused, for the words for the view stand at the end."""
    longest = max(prompts, key=lambda prompt: len(tokenizer(prompt).input_ids))
    count = len(tokenizer(longest).input_ids)
    if count > length and not cut:
        start = longest if len(longest) <= 40 else longest[:40] + "..."
        raise InputError(
            f"the prompt {start!r} has {count} tokens, and this teacher reads {length} at most; say it in fewer words"
        )
    found = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return found.input_ids, found.attention_mask
