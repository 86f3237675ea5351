"""Networks of the diffusers library behind the one signature of denoiser.Network.

Each is asked in the precision of its own weights and answers in single precision.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.guidance.text import Text


@dataclass(frozen=True)
class ConditionalUNet:
    """A UNet2DConditionModel: Stable Diffusion 1 and 2, SDXL, DeepFloyd IF's first stage, the embedded prior.

    `size` is the width of the teacher's pictures in pixels, which SDXL is told (as their original size, uncropped).
    Where the network predicts a variance too, as IF's does, that half is left out.
    """

    module: nn.Module
    size: int

    def __call__(self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, "b"], text: Text) -> Float[Tensor, "b c h w"]:
        kind = next(self.module.parameters()).dtype
        added: dict[str, Tensor] | None = None
        if text.pooled is not None:
            size = torch.tensor([self.size, self.size, 0, 0, self.size, self.size], dtype=kind, device=x_t.device)
            added = {"text_embeds": text.pooled.to(kind), "time_ids": size.expand(len(x_t), 6)}
        out = self.module(
            x_t.to(kind), time, encoder_hidden_states=text.tokens.to(kind), added_cond_kwargs=added
        ).sample
        return out[:, : x_t.shape[1]].float()


@dataclass(frozen=True)
class FlowTransformer:
    """An SD3Transformer2DModel, which predicts the flow eps - x."""

    module: nn.Module

    def __call__(self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, "b"], text: Text) -> Float[Tensor, "b c h w"]:
        if text.pooled is None:
            raise InputError(
                "a flow transformer needs pooled embeddings beside the tokens; encode with its own encoders"
            )
        kind = next(self.module.parameters()).dtype
        return self.module(
            hidden_states=x_t.to(kind),
            encoder_hidden_states=text.tokens.to(kind),
            pooled_projections=text.pooled.to(kind),
            timestep=time,
        ).sample.float()


@dataclass(frozen=True)
class Offloaded:
    """A network that is on the device only while it is asked, and without gradients: memory for time."""

    network: ConditionalUNet | FlowTransformer
    device: torch.device

    @torch.no_grad()
    def __call__(self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, "b"], text: Text) -> Float[Tensor, "b c h w"]:
        self.network.module.to(self.device)
        try:
            return self.network(x_t, time, text)
        finally:
            self.network.module.to("cpu")
