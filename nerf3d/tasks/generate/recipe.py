"""What generative fields consist of, as plain values: those in configs/gen state what differs from these defaults."""

from dataclasses import dataclass

from nerf3d.core.schedules import Constant, Decay, Schedule
from nerf3d.models.object_autoencoder import ObjectAutoencoderConfig


@dataclass(frozen=True)
class Looks:
    """What of a collection a step looks at."""

    objects: int = 8
    views: int = 4
    """Pictures of each object that the rays are drawn from."""
    rays: int = 384
    """For each object."""
    on_object: float = 0.6
    """The share of the rays that are drawn where the object is; the others fall anywhere in the pictures."""
    samples: int = 24
    """On each ray, between where it enters the box and where it leaves it."""


@dataclass(frozen=True)
class Flow:
    """The latent flow: residual layers of so many numbers."""

    width: int = 256
    blocks: int = 4
    batch: int = 256
    rate: Schedule = Constant(1e-3)


@dataclass(frozen=True)
class DiffAE:
    """A 3D diffusion autoencoder: a picture's code holds the object, and a flow learns what codes are like."""

    model: ObjectAutoencoderConfig = ObjectAutoencoderConfig()
    flow: Flow = Flow()
    looks: Looks = Looks()
    settled: float = 0.85
    """From this share of the run on the autoencoder stays as it is, and the flow learns its codes."""
    code_weight: float = 1e-4
    """Of the codes' mean square: it keeps them from growing without end."""
    opacity_weight: float = 0.5
    rate: Schedule = Decay(2e-3, 2e-4)
    warmup: int = 50
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""
