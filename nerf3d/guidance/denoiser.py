"""The one road to every teacher: pictures in, estimates of their noise out.

A teacher is four things: a network, a codec (what it calls a picture), a noise schedule, and what its network predicts.
Stable Diffusion, DeepFloyd IF, flow-matching transformers, the embedded prior and the analytic teachers of the tests
differ in those alone, so the judges know one signature.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.guidance.noise import NoiseSchedule, Prediction
from nerf3d.guidance.text import Text


@runtime_checkable
class Network(Protocol):
    """A raw prediction for noisy latents at a time (as the schedule's `time` counts) and for a prompt each."""

    def __call__(
        self, x_t: Float[Tensor, "b c h w"], time: Float[Tensor, "b"], text: Text
    ) -> Float[Tensor, "b c h w"]: ...


@runtime_checkable
class Codec(Protocol):
    """From pictures in [0, 1] to what the teacher denoises ("latents", pixels among them); gradients flow through."""

    def __call__(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b c h2 w2"]: ...


@dataclass(frozen=True)
class Denoiser:
    """Nothing here forbids gradients: a judge that needs none of the network's asks under `torch.no_grad()`."""

    network: Network
    codec: Codec
    schedule: NoiseSchedule
    prediction: Prediction = "epsilon"

    @property
    def steps(self) -> int:
        return self.schedule.steps

    def alpha_bar(self, t: Int64[Tensor, "b"]) -> Float[Tensor, "b"]:
        return self.schedule.alpha_bar(t)

    def encode(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b c h2 w2"]:
        """Latents of pictures in [0, 1] at the teacher's own size, with a gradient to the pictures."""
        return self.codec(images)

    def add_noise(
        self, latents: Float[Tensor, "b c h w"], noise: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"]
    ) -> Float[Tensor, "b c h w"]:
        return self.schedule.add_noise(latents, noise, t)

    def predict(
        self, latents_t: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"], text: Text
    ) -> Float[Tensor, "b c h w"]:
        """The teacher's estimate of the noise in `latents_t`, whatever its network predicts."""
        predicted = self.network(latents_t, self.schedule.time[t], text)
        return self.schedule.epsilon(predicted, self.prediction, latents_t, t)

    def clean(
        self, latents_t: Float[Tensor, "b c h w"], t: Int64[Tensor, "b"], epsilon: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """The latents without noise that an estimate of the noise amounts to."""
        return self.schedule.clean(latents_t, epsilon, t)
