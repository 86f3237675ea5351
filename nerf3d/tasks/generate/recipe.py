"""What generative fields consist of, as plain values: those in configs/gen state what differs from these defaults."""

from dataclasses import dataclass

from nerf3d.core.schedules import Constant, Decay, Schedule
from nerf3d.models.critic import CriticConfig
from nerf3d.models.generator import TriPlaneGeneratorConfig
from nerf3d.models.object_autoencoder import ObjectAutoencoderConfig
from nerf3d.models.picture_encoder import PictureEncoderConfig


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


@dataclass(frozen=True)
class EG3D:
    """Tri-planes from a style generator, against a critic: EG3D in small."""

    generator: TriPlaneGeneratorConfig = TriPlaneGeneratorConfig(
        z=64,
        w=128,
        channels=(128, 128, 64, 64),
        plane_features=16,
        decoder_width=32,
        color_channels=3,
        pose=0,
        noise=False,
    )
    critic: CriticConfig = CriticConfig(channels=(128, 128, 64, 32), picture_channels=4, condition=25)
    reader: PictureEncoderConfig = PictureEncoderConfig(channels=(64, 64, 32, 32), code=64)
    batch: int = 16
    samples: int = 16
    """On each ray, between where it enters the box and where it leaves it."""
    sharp: float = 0.5
    """Until this share of the run pictures are compared at half their size."""
    r1: float = 1.0
    r1_every: int = 8
    read: float = 1.0
    """How much it counts that the code can be read from the picture."""
    smooth: float = 0.01
    smooth_points: int = 512
    smooth_scenes: int = 4
    keep: float = 0.995
    """Of the running mean, in a step."""
    rate: Schedule = Constant(2e-3)
    critic_rate: Schedule = Constant(2e-3)
    warmup: int = 20
    steps: int | None = None
    minutes: float | None = 30.0
    """The run ends at whichever comes first; at least one of the two is needed."""
