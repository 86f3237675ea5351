"""What the configuration of a run says that is one object of a generative model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Made:
    """The run's source is the model's run, and its latent.safetensors the code."""

    how: str
    """Where the code came from: a seed, a picture, an instruction."""
